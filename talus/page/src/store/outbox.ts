/**
 * Calls that the server has not confirmed, oldest first.
 *
 * One is under way at a time: so they arrive in the order in which they were made,
 * and one that has to be sent again never overtakes those it rests on. Each keeps its
 * id, under which the server carries it out once, however often it is sent.
 */

import { type Refusal, refusalIn, unreachable } from "../protocol/refusal";
import type { Command, CommandAnswer } from "../protocol/types";

/** Whose changes an undo or redo looks at: everybody's, or one's own. */
export type Scope = "session" | "actor";

export type Call = { kind: "command"; command: Command } | { kind: "undo" | "redo"; scope: Scope };

export interface Pending {
  readonly id: string;
  readonly call: Call;
  /** What it is, for a person: "Rename Bonnet". */
  readonly words: string;
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
   * answered: the server's word about one: a refusal, or null for a commit.
   */
  constructor(
    private readonly wire: Wire,
    private readonly changed: () => void,
    private readonly answered: (pending: Pending, refusal: Refusal | null) => void,
  ) {}

  /** Those whose facts have not come, in order. */
  get waiting(): readonly Pending[] {
    return this.calls;
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
    if (!next) return;
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
    const refusal = refusalIn(answer) ?? (isAnswer(answer) ? null : unreachable());
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
    if (refusal) {
      const at = this.calls.indexOf(pending);
      if (at >= 0) this.calls.splice(at, 1);
      pending.settle(refusal);
    } else {
      pending.version = (answer as CommandAnswer).version;
    }
    this.answered(pending, refusal);
    this.changed();
    this.pump();
  }
}

function isAnswer(answer: unknown): boolean {
  return typeof answer === "object" && answer !== null && "version" in answer;
}
