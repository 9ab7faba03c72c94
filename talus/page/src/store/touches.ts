/** Who touched which node last, and for a moment what somebody else just did. */

import { signal } from "@preact/signals";
import { rest } from "../protocol/rest";
import type { Closing, Fact, GraphEvent } from "../protocol/types";

export interface Commit {
  closing: Closing;
  events: GraphEvent[];
}

/** A change by somebody else that is shown for a moment. */
export interface Mark {
  actor: string;
  until: number;
}

export interface Touch {
  /** The node. */
  id: string;
  actor: string;
  timestamp: string;
  version: number;
  /** The property that was set, `place`, or `node` for the whole of it. */
  what: string;
}

const MARK_MS = 2_500;
const MOST_MARKED = 2_000; // events of one commit
const PAGE = 500; // versions that are read at once
const MOST_PAGES = 4; // for one look

export class Touches {
  readonly marks = signal<ReadonlyMap<string, Mark>>(new Map());
  /** The version from which on it is known who touched a node last. */
  readonly knownFrom = signal(0);

  private readonly by = new Map<string, Touch>();
  private timer: ReturnType<typeof setTimeout> | undefined;

  /** Who touched a node last, as far as was heard or looked up. */
  get(id: string): Touch | undefined {
    return this.by.get(id);
  }

  /** Another graph is there, of this version: what was known is no more. */
  forget(version: number): void {
    this.by.clear();
    this.knownFrom.value = version;
  }

  /** foreign: somebody else did it just now, which is shown in their colour. */
  note({ closing, events }: Commit, foreign: boolean): void {
    const marked = foreign && events.length <= MOST_MARKED ? new Map(this.marks.value) : null;
    const mark = { actor: closing.actor ?? "anonymous", until: Date.now() + MARK_MS };
    for (const event of events) {
      const touch = touchOf(event);
      if (!touch) continue;
      this.keep(touch);
      marked?.set(touch.id, mark);
    }
    if (!marked) return;
    this.marks.value = marked;
    this.timer ??= setTimeout(() => this.unmark(), MARK_MS);
  }

  /**
   * Reads the journal backwards from where it is known, until the node is found or enough was read.
   *
   * `knownFrom` is then 0 when the journal has been read to its beginning.
   */
  async lookUp(session: string, id: string): Promise<void> {
    for (let page = 0; page < MOST_PAGES && this.knownFrom.value > 0 && !this.by.has(id); page++) {
      const before = this.knownFrom.value;
      const since = Math.max(0, before - PAGE);
      const found: Touch[] = [];
      for (let at: number | null = since; at !== null && at < before; ) {
        const answer: Awaited<ReturnType<typeof rest.events>> = await rest.events(session, at, before - at);
        for (const event of answer.events) {
          const touch = touchOf(event);
          if (touch) found.push(touch);
        }
        at = answer.next_since;
      }
      // Another look was quicker, or the project was fetched anew: this page may not border on what is known.
      if (this.knownFrom.value !== before) continue;
      for (const touch of found) this.keep(touch);
      this.knownFrom.value = since;
    }
  }

  close(): void {
    clearTimeout(this.timer);
  }

  /** The later of two stays; of one commit, the making of a node and not its place, which comes with it. */
  private keep(touch: Touch): void {
    const known = this.by.get(touch.id);
    const later = !known || known.version < touch.version;
    if (later || (known.version === touch.version && known.what !== "node")) this.by.set(touch.id, touch);
  }

  private unmark(): void {
    const now = Date.now();
    this.marks.value = new Map([...this.marks.value].filter(([, mark]) => mark.until > now));
    this.timer = this.marks.value.size ? setTimeout(() => this.unmark(), MARK_MS / 4) : undefined;
  }
}

/** What an event says about who touched which node; null for one that closes a commit. */
function touchOf(event: Fact): Touch | null {
  const told = { actor: event.actor ?? "anonymous", timestamp: event.timestamp, version: event.version };
  switch (event.event) {
    case "node-created":
      return { ...told, id: event.node.id, what: "node" };
    case "node-linked":
    case "node-unlinked":
      return { ...told, id: event.child_id, what: "place" };
    case "property-changed":
      return { ...told, id: event.node_id, what: event.property_id };
    case "node-deleted":
      return { ...told, id: event.node_id, what: "node" };
    default:
      return null;
  }
}
