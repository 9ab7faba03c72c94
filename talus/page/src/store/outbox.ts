/**
 * Calls that the server has not confirmed, oldest first.
 *
 * One is under way at a time: so they arrive in the order in which they were made,
 * and one that has to be sent again never overtakes those it rests on. Each keeps its
 * id, under which the server carries it out once, however often it is sent.
 */

import { type Refusal, refusalIn, strange } from "../protocol/refusal";
import type { Command, CommandAnswer, Single } from "../protocol/types";

/** Whose changes an undo or redo looks at: everybody's, or one's own. */
export type Scope = "session" | "actor";

export type Call = { kind: "command"; command: Command } | { kind: "undo" | "redo"; scope: Scope };

export interface Pending {
  readonly id: string;
  readonly call: Call;
  /** What it is, for a person: "Rename Bonnet". */
  readonly words: string;
  /** Whoever asked for it shows a refusal himself. */
  readonly quiet: boolean;
  /** The version of its commit once the server has answered; its facts may still be on their way. */
  version: number | null;
  settle: (refusal: Refusal | null) => void;
}

export interface Wire {
  /** Sends one call and waits for its answer; rejects when the connection ends before. */
  send(pending: Pending): Promise<unknown>;
}

const RETRY_MS = 1_000;

export class Outbox {
  private readonly calls: Pending[] = [];
  private sending: Pending | null = null;
  private open = false;
  private retry: ReturnType<typeof setTimeout> | undefined;
  /** Why the first one has to wait though the server answers, or null. */
  held: Refusal | null = null;

  /**
   * changed: something was added, answered or held.
   * answered: the server's word about one: a refusal, or null for a commit; and how many fell with it.
   */
  constructor(
    private readonly wire: Wire,
    private readonly changed: () => void,
    private readonly answered: (pending: Pending, refusal: Refusal | null, fallen: number) => void,
  ) {}

  /** Those whose facts have not come, in order. */
  get waiting(): readonly Pending[] {
    return this.calls;
  }

  /** The commands among them that stand when all are carried out: an undo takes back the one before it. */
  get standing(): readonly Command[] {
    const stand: Command[] = [];
    const undone: Command[] = [];
    for (const { call } of this.calls) {
      const command = call.kind === "command" ? call.command : (call.kind === "undo" ? stand : undone).pop();
      if (command) (call.kind === "undo" ? undone : stand).push(command);
      if (call.kind === "command") undone.length = 0;
    }
    return stand;
  }

  add(pending: Pending): void {
    this.calls.push(pending);
    this.changed();
    this.pump();
  }

  /** The room is joined: send what waits, and what may not have arrived. */
  connect(): void {
    this.open = true;
    this.pump();
  }

  disconnect(): void {
    this.open = false;
    this.sending = null;
    this.held = null;
    clearTimeout(this.retry);
    this.retry = undefined;
    this.changed();
  }

  /** All up to `version` has been applied, by commits with these ids: what is among it is confirmed. */
  confirm(version: number, ids: ReadonlySet<string>): void {
    const before = this.calls.length;
    for (let at = this.calls.length - 1; at >= 0; at--) {
      const call = this.calls[at] as Pending;
      if (!ids.has(call.id) && (call.version === null || call.version > version)) continue;
      this.calls.splice(at, 1);
      call.settle(null);
    }
    if (this.calls.length !== before) this.changed();
  }

  private pump(): void {
    if (!this.open || this.sending !== null || this.retry !== undefined) return;
    const next = this.calls.find((call) => call.version === null);
    if (!next) {
      this.held = null; // it had been carried out all the same, and its facts came first
      return this.changed();
    }
    this.sending = next;
    void this.deliver(next);
  }

  private async deliver(pending: Pending): Promise<void> {
    let answer: unknown;
    try {
      answer = await this.wire.send(pending);
    } catch {
      if (this.sending === pending) this.sending = null; // `connect` sends it again
      return;
    }
    if (this.sending !== pending) return; // the connection ended; it is sent again, and answered as a duplicate
    this.sending = null;
    const refusal = isAnswer(answer) ? null : (refusalIn(answer) ?? strange());
    if (refusal?.passing) {
      this.held = refusal;
      this.retry = setTimeout(() => {
        this.retry = undefined;
        this.pump();
      }, RETRY_MS);
      this.changed();
      return;
    }
    this.held = null;
    const fallen = refusal ? this.restingOn(pending) : [];
    if (refusal) {
      for (const each of [pending, ...fallen]) {
        const at = this.calls.indexOf(each);
        if (at >= 0) this.calls.splice(at, 1);
        each.settle(refusal);
      }
    } else {
      pending.version = (answer as CommandAnswer).version;
    }
    this.answered(pending, refusal, fallen.length);
    this.changed();
    this.pump();
  }

  /**
   * Those behind a refused one that make no sense without it: what is done with nodes that it was to
   * make, and its undo, which would take back something else that nobody wanted to lose.
   */
  private restingOn(refused: Pending): Pending[] {
    const { call } = refused;
    const fallen = new Set([refused]);
    const missing = new Set(call.kind === "command" ? idsOf(call.command).made : []);
    const stand: Pending[] = call.kind === "undo" ? [] : [refused];
    const undone: Pending[] = call.kind === "undo" ? [refused] : [];
    for (const each of this.calls.slice(this.calls.indexOf(refused) + 1)) {
      if (each.call.kind === "command") {
        const { named, made } = idsOf(each.call.command);
        if (named.some((id) => missing.has(id))) {
          fallen.add(each);
          for (const id of made) missing.add(id);
        }
        stand.push(each);
        undone.length = 0;
        continue;
      }
      const meant = (each.call.kind === "undo" ? stand : undone).pop();
      if (!meant) continue;
      (each.call.kind === "undo" ? undone : stand).push(meant);
      if (fallen.has(meant)) fallen.add(each);
    }
    fallen.delete(refused);
    return [...fallen];
  }
}

/** The ids that a command names, and those of them that it makes. */
function idsOf(command: Command): { named: string[]; made: string[] } {
  const singles: Single[] = command.command_type === "Batch" ? command.data.commands : [command];
  return {
    named: singles.flatMap(({ data }) => ["parent_id" in data ? data.parent_id : null, data.node_id]).filter(isId),
    made: singles.filter((each) => each.command_type === "CreateNode").map(({ data }) => data.node_id),
  };
}

function isId(id: string | null | undefined): id is string {
  return typeof id === "string";
}

function isAnswer(answer: unknown): boolean {
  return typeof answer === "object" && answer !== null && "version" in answer;
}
