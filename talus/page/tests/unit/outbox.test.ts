import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Outbox, type Pending } from "../../src/store/outbox";

/** A server's end of the wire that a test moves by hand. */
class Line {
  readonly sent: string[] = [];
  private ends: { answer: (value: unknown) => void; cut: (error: Error) => void }[] = [];

  send = (pending: Pending): Promise<unknown> =>
    new Promise((answer, cut) => {
      this.sent.push(pending.id);
      this.ends.push({ answer, cut });
    });

  async answer(value: unknown): Promise<void> {
    this.ends.shift()?.answer(value);
    await settled();
  }
  commit(version: number, duplicate = false): Promise<void> {
    return this.answer({ success: true, version, ...(duplicate ? { duplicate } : {}) });
  }
  refuse(code: string): Promise<void> {
    return this.answer({ error: { code, message: code } });
  }
  async cut(): Promise<void> {
    for (const each of this.ends.splice(0)) each.cut(new Error("the connection ended"));
    await settled();
  }
}

const settled = async () => {
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
};

function setting() {
  const line = new Line();
  const heard: string[] = [];
  const ends: string[] = [];
  const changed = vi.fn();
  const outbox = new Outbox({ send: line.send }, changed, (pending, refusal) =>
    heard.push(`${pending.id} ${refusal?.code ?? pending.version}`),
  );
  const add = (...ids: string[]) => {
    for (const id of ids)
      outbox.add({
        id,
        call: { kind: "undo", scope: "session" },
        words: id,
        quiet: false,
        version: null,
        settle: (refusal) => ends.push(`${id} ${refusal?.code ?? "done"}`),
      });
  };
  const waiting = () => outbox.waiting.map((each) => each.id);
  return { line, outbox, add, waiting, heard, ends, changed };
}

const NONE: ReadonlySet<string> = new Set();

describe("the outbox", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("keeps what is done before the room is joined, and sends it then", async () => {
    const { line, outbox, add, waiting } = setting();
    add("a", "b");
    expect([line.sent, waiting()]).toEqual([[], ["a", "b"]]);
    outbox.connect();
    expect(line.sent).toEqual(["a"]);
  });

  it("has one under way at a time, in the order in which they were made", async () => {
    const { line, outbox, add, heard } = setting();
    outbox.connect();
    add("a", "b", "c");
    expect(line.sent).toEqual(["a"]);
    await line.commit(1);
    expect(line.sent).toEqual(["a", "b"]);
    await line.commit(2);
    await line.commit(3);
    expect(line.sent).toEqual(["a", "b", "c"]);
    expect(heard).toEqual(["a 1", "b 2", "c 3"]);
  });

  it("lets one go when its facts have come, by its id or by the version that was answered", async () => {
    const { line, outbox, add, waiting, ends } = setting();
    outbox.connect();
    add("a", "b", "c");
    await line.commit(7); // the answer before the facts
    expect(waiting()).toEqual(["a", "b", "c"]);
    outbox.confirm(6, NONE);
    expect(waiting()).toEqual(["a", "b", "c"]);
    outbox.confirm(7, NONE); // as when a graph of that version was fetched
    expect(waiting()).toEqual(["b", "c"]);
    outbox.confirm(8, new Set(["b"])); // the facts before the answer
    expect(waiting()).toEqual(["c"]);
    await line.commit(8);
    expect(line.sent).toEqual(["a", "b", "c"]);
    expect(ends).toEqual(["a done", "b done"]);
  });

  it("leaves alone what is not answered, however high the version has grown", async () => {
    const { outbox, add, waiting, ends } = setting();
    outbox.connect();
    add("a");
    outbox.confirm(1_000, new Set(["somebody else's"]));
    expect([waiting(), ends]).toEqual([["a"], []]);
  });

  it("sends again what may not have arrived when the connection ended, before what follows it", async () => {
    const { line, outbox, add, waiting, ends } = setting();
    outbox.connect();
    add("a", "b");
    outbox.disconnect();
    await line.cut();
    add("c");
    expect(line.sent).toEqual(["a"]);
    outbox.connect();
    expect(line.sent).toEqual(["a", "a"]);
    await line.commit(1, true); // it had arrived: answered from the record
    expect(line.sent).toEqual(["a", "a", "b"]);
    outbox.confirm(1, NONE);
    expect([waiting(), ends]).toEqual([["b", "c"], ["a done"]]);
  });

  it("does not wait for the end of the old connection to be told, once there is a new one", () => {
    const { line, outbox, add } = setting();
    outbox.connect();
    add("a");
    outbox.disconnect();
    outbox.connect();
    expect(line.sent).toEqual(["a", "a"]);
  });

  it("does not send again what is answered, for its facts come with the catching up", async () => {
    const { line, outbox, add, waiting } = setting();
    outbox.connect();
    add("a", "b");
    await line.commit(1);
    outbox.disconnect();
    await line.cut();
    outbox.connect();
    expect(line.sent).toEqual(["a", "b", "b"]);
    expect(waiting()).toEqual(["a", "b"]);
  });

  it("tries a passing refusal again after a second, with the same id, and tells meanwhile why it waits", async () => {
    const passing = ["BUSY", "RATE_LIMITED", "SHUTTING_DOWN", "STORAGE_FULL", "STORAGE_FAILED", "STORAGE_UNCERTAIN"];
    for (const code of [...passing, "UNREACHABLE"]) {
      const { line, outbox, add, waiting, ends, heard, changed } = setting();
      outbox.connect();
      add("a", "b");
      changed.mockClear();
      await line.refuse(code);
      expect(changed).toHaveBeenCalled();
      expect(outbox.held?.code).toBe(code);
      expect([waiting(), ends, heard]).toEqual([["a", "b"], [], []]);
      add("c"); // does not overtake, and does not hurry
      await vi.advanceTimersByTimeAsync(999);
      expect(line.sent).toEqual(["a"]);
      await vi.advanceTimersByTimeAsync(1);
      expect(line.sent).toEqual(["a", "a"]);
      await line.commit(1);
      expect(outbox.held).toBeNull();
      expect(line.sent).toEqual(["a", "a", "b"]);
    }
  });

  it("does not try again while the connection is away, and at once when it is back", async () => {
    const { line, outbox, add } = setting();
    outbox.connect();
    add("a");
    await line.refuse("BUSY");
    outbox.disconnect();
    expect(outbox.held).toBeNull();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(line.sent).toEqual(["a"]);
    outbox.connect();
    await line.refuse("BUSY");
    outbox.disconnect();
    outbox.connect();
    expect(line.sent).toEqual(["a", "a", "a"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("drops the one that is refused, tells it, and goes on with the next", async () => {
    const { line, outbox, add, waiting, ends, heard } = setting();
    outbox.connect();
    add("a", "b", "c");
    await line.commit(1);
    await line.refuse("CHILD_NOT_ALLOWED");
    expect(line.sent).toEqual(["a", "b", "c"]);
    expect(waiting()).toEqual(["a", "c"]);
    await line.commit(2);
    outbox.confirm(2, NONE);
    expect(heard).toEqual(["a 1", "b CHILD_NOT_ALLOWED", "c 2"]);
    expect(ends).toEqual(["b CHILD_NOT_ALLOWED", "c done", "a done"]);
    expect(waiting()).toEqual([]);
  });

  it("takes an answer that is none for a refusal, and not for a commit", async () => {
    const { line, outbox, add, ends } = setting();
    outbox.connect();
    add("a", "b", "c");
    await line.answer(undefined);
    await line.answer({ success: true });
    await line.answer({ error: {} });
    expect(ends).toEqual(["a INTERNAL", "b INTERNAL", "c INTERNAL"]);
    expect(outbox.held).toBeNull();
  });
});
