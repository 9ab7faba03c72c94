/** Who is in the room, and which node each of them has selected. */

import { computed, signal } from "@preact/signals";
import type { ClientPayload, Joined } from "../protocol/types";

export interface Person {
  client: string;
  actor: string;
  /** The node that they have selected. */
  node: string | null;
  self: boolean;
}

export type PresenceNotice = ClientPayload & { active_clients: number };

export class People {
  /** The first 100 of those here, oneself among them. */
  readonly list = signal<Person[]>([]);
  /** How many are here, those beyond the first 100 included. */
  readonly present = signal(1);
  /** Where the others are, by node. */
  readonly watching = computed(() => {
    const by = new Map<string, Person[]>();
    for (const person of this.list.value) {
      if (person.self || person.node === null) continue;
      const there = by.get(person.node);
      if (there) there.push(person);
      else by.set(person.node, [person]);
    }
    return by;
  });

  private readonly clients = new Map<string, ClientPayload>();
  private self = "";

  joined(joined: Joined): void {
    this.self = joined.client_id;
    this.clients.clear();
    for (const client of joined.clients) this.clients.set(client.client_id, client);
    this.count(joined.active_clients);
  }

  came(notice: PresenceNotice): void {
    this.clients.set(notice.client_id, { ...notice, state: this.clients.get(notice.client_id)?.state ?? null });
    this.count(notice.active_clients);
  }

  went(notice: PresenceNotice): void {
    this.clients.delete(notice.client_id);
    this.count(notice.active_clients);
  }

  showed(notice: ClientPayload): void {
    this.clients.set(notice.client_id, notice);
    this.count(this.present.value);
  }

  /** The connection is gone, and with it all word of the others. */
  lost(): void {
    this.clients.clear();
    this.count(1);
  }

  private count(present: number): void {
    this.present.value = present;
    this.list.value = [...this.clients.values()].map(({ client_id, actor, state }) => ({
      client: client_id,
      actor,
      node: nodeIn(state),
      self: client_id === this.self,
    }));
  }
}

function nodeIn(state: unknown): string | null {
  if (typeof state !== "object" || state === null || !("node" in state)) return null;
  return typeof state.node === "string" ? state.node : null;
}
