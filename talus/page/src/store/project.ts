/**
 * One project, live: the confirmed graph, the edits that wait on top of it, and who is here.
 *
 * Facts are collected until their commit is whole, and whole commits until the next
 * frame: then what was predicted is taken back, the commits are applied, and what
 * still waits is predicted anew. So `graph` is at any moment what the server said,
 * plus what this person did since, in that order. Source: docs/protocol.md, "Catching up".
 */

import { batch, computed, type Signal, signal } from "@preact/signals";
import { io, type Socket } from "socket.io-client";
import { actor, claims, name, signedOut, token } from "../protocol/identity";
import { Refusal, refusalIn } from "../protocol/refusal";
import { rest } from "../protocol/rest";
import {
  CLOSING_EVENTS,
  type ClientPayload,
  type Closing,
  type Command,
  type ErrorBody,
  GRAPH_EVENTS,
  type GraphEvent,
  type Joined,
  type PresenceState,
  type Role,
  type SessionInfo,
  type Template,
} from "../protocol/types";
import { Graph, Misfit } from "./graph";
import { newId } from "./ids";
import { type Call, Outbox, type Pending, type Scope } from "./outbox";
import { People, type PresenceNotice } from "./people";
import { predict } from "./predict";
import { type Commit, Touches } from "./touches";

/**
 * opening: nothing is shown yet. live: all that is known is here. catching-up: joined, facts are missing.
 * reconnecting: the connection is gone. gone: deleted, or not to be seen. read-only is a role, not a state.
 */
export type Connection = "opening" | "live" | "catching-up" | "reconnecting" | "gone";

export interface Message {
  id: number;
  /** A refusal stays until it was seen to, for an edit is not there that somebody believes is. */
  kind: "refusal" | "info";
  title: string;
  text: string;
  /** Titles of others about which there is the same to say. */
  more: string[];
}

const PRESENCE_MS = 150;
const UNSEEN_MS = 100;
const MOST_BYTES = 900_000; // of a call on the socket; the server takes 1,000,000 with its envelope
const MOST_MESSAGES = 4;

/** Projects that were left with edits that are not saved: these are still sent, or go to whoever opens it again. */
const left = new Map<string, Project>();

export class Project {
  /** Grows whenever something of `graph` may have changed: read it before the graph. */
  readonly revision = signal(0);
  readonly version = signal(0);
  readonly connection: Signal<Connection> = signal("opening");
  readonly info = signal<SessionInfo | null>(null);
  readonly template = signal<Template | null>(null);
  /** Edits that are not known to be saved. */
  readonly unsaved = signal(0);
  /** Why an edit has to wait though the server answers. */
  readonly held = signal<Refusal | null>(null);
  readonly messages = signal<Message[]>([]);
  readonly role = signal<Role>(token.value === null ? "owner" : "viewer"); // until the server has told
  readonly mayEdit = computed(() => this.role.value !== "viewer");
  /** Why the project cannot be shown. */
  readonly failure = signal<Refusal | null>(null);
  readonly networkOff = signal(!navigator.onLine);

  graph = new Graph();
  readonly people = new People();
  readonly touches = new Touches();

  private readonly socket: Socket;
  private readonly outbox: Outbox;
  private epoch: string | null = null; // whose versions these are
  private base = -1; // the version that the graph holds, predictions apart; -1: none yet
  private stale = true; // nothing can be applied to the graph: the whole of it has to come, or is on its way
  private target = 0; // the version that a replay has to reach
  private events: GraphEvent[] = []; // of a commit that is not whole
  private commits: Commit[] = []; // whole, for the next frame
  private frame = 0;
  private unseen: ReturnType<typeof setTimeout> | undefined;
  private takeBacks: (() => void)[] = [];
  private presence: PresenceState = {};
  private presenceTimer: ReturnType<typeof setTimeout> | undefined;
  private fetching = 0;
  private closed = false;
  private messageIds = 0;
  private readonly listeners = new Set<(commits: readonly Commit[]) => void>();
  private readonly unsubscribe: (() => void)[] = [];
  private readonly user = actor();

  constructor(readonly id: string) {
    this.socket = io({
      path: "/socket.io/",
      transports: ["websocket", "polling"],
      reconnectionDelay: 300,
      reconnectionDelayMax: 3_000,
      autoConnect: false,
      auth: (give) => give(token.value !== null ? { token: token.value } : { actor: actor() }),
    });
    this.outbox = new Outbox(
      { send: (pending) => this.send(pending) },
      () => this.count(),
      (pending, refusal, fallen) => this.answered(pending, refusal, fallen),
    );
    const before = left.get(id);
    if (before) {
      this.messages.value = before.messages.value;
      this.messageIds = before.messageIds;
      for (const pending of before.outbox.waiting) this.outbox.add(pending);
      before.end();
    }
    this.listen();
    this.unsubscribe.push(
      name.subscribe(() => this.reintroduce()),
      token.subscribe(() => this.reintroduce()),
    );
    this.socket.connect();
  }

  // -- what a person does --

  /**
   * Shows the edit at once, and sends it. The promise tells how it ended: null, or the refusal.
   *
   * quiet: the caller shows a refusal itself, at the field that it is about.
   */
  run(command: Command, words: string, quiet = false): Promise<Refusal | null> {
    return this.call({ kind: "command", command }, words, quiet);
  }

  undo(scope: Scope): Promise<Refusal | null> {
    return this.call({ kind: "undo", scope }, "Undo");
  }

  redo(scope: Scope): Promise<Refusal | null> {
    return this.call({ kind: "redo", scope }, "Redo");
  }

  /** Lets the others see which node is selected; of many in a short time the last one counts. */
  show(state: PresenceState): void {
    if (JSON.stringify(state) === JSON.stringify(this.presence)) return;
    this.presence = state;
    this.presenceTimer ??= setTimeout(() => this.sendPresence(), PRESENCE_MS);
  }

  say(title: string, text: string, kind: Message["kind"] = "info"): void {
    const messages = [...this.messages.value];
    const at = messages.findIndex((each) => kind === "refusal" && each.kind === kind && each.text === text);
    const same = messages[at];
    if (same) messages[at] = { ...same, more: [...same.more, title] };
    else messages.push({ id: ++this.messageIds, kind, title, text, more: [] });
    if (messages.length > MOST_MESSAGES) {
      const least = messages.findIndex((each) => each.kind === "info"); // of which nobody loses anything
      messages.splice(Math.max(0, least), 1);
    }
    this.messages.value = messages;
  }

  dismiss(id: number): void {
    this.messages.value = this.messages.value.filter((each) => each.id !== id);
  }

  /** Calls back with whole commits, once they are applied. Returns how to stop. */
  onCommits(listener: (commits: readonly Commit[]) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Tries again after `failure`. */
  retry(): void {
    this.failure.value = null;
    this.connection.value = this.base < 0 ? "opening" : "reconnecting";
    this.socket.disconnect().connect();
  }

  /** Nobody looks at it any more. It ends once everything is saved. */
  close(): void {
    if (!this.outbox.waiting.length || this.connection.value === "gone") return this.end();
    left.set(this.id, this);
    this.presence = {};
    this.sendPresence();
  }

  private get isLeft(): boolean {
    return left.get(this.id) === this;
  }

  private end(): void {
    if (this.isLeft) left.delete(this.id);
    this.closed = true;
    for (const stop of this.unsubscribe) stop();
    this.cancelFrame();
    clearTimeout(this.presenceTimer);
    this.touches.close();
    this.outbox.disconnect();
    this.socket.disconnect();
    window.removeEventListener("online", this.networkChanged);
    window.removeEventListener("offline", this.networkChanged);
    window.removeEventListener("beforeunload", this.warn);
  }

  /** The tab is about to be closed, and with it goes what waits. */
  private readonly warn = (event: Event) => {
    if (this.unsaved.peek() > 0) event.preventDefault();
  };

  // -- the connection --

  private listen(): void {
    const { socket } = this;
    socket.on("connect", () => void this.join());
    socket.on("disconnect", (reason) => {
      this.lost();
      // The library comes back by itself from all but this: the server then says why it does not want us.
      if (reason === "io server disconnect") socket.connect();
    });
    socket.on("connect_error", (error: Error & { data?: ErrorBody }) => {
      this.lost();
      if (error.data?.code === "UNAUTHENTICATED") signedOut.value = true;
      else if (error.data) this.fail(new Refusal(error.data));
    });
    socket.on("joined", (joined: Joined) => {
      if (joined.session_id !== this.id) return;
      this.people.joined(joined);
    });
    for (const event of GRAPH_EVENTS) socket.on(event, (fact: GraphEvent) => this.hear(fact));
    for (const event of CLOSING_EVENTS) socket.on(event, (fact: Closing) => this.whole(fact));
    socket.on("session:connected", (notice: PresenceNotice) => this.people.came(notice));
    socket.on("session:disconnected", (notice: PresenceNotice) => this.people.went(notice));
    socket.on("session:presence", (notice: ClientPayload) => this.people.showed(notice));
    socket.on("session:deleted", () =>
      this.fail(new Refusal({ code: "INVALID_SESSION", message: "This project was deleted" })),
    );
    socket.on("error", (body: { code: string; message: string }) => {
      if (body.code === "TOKEN_EXPIRED") signedOut.value = true;
      else if (body.code === "FORBIDDEN") {
        this.fail(new Refusal(body));
        void rest.info(this.id).catch(() => {}); // where it is the token that is taken no more: to the sign-in
      } else this.say("The server refused something", new Refusal(body).words, "refusal");
    });
    window.addEventListener("online", this.networkChanged);
    window.addEventListener("offline", this.networkChanged);
    window.addEventListener("beforeunload", this.warn);
  }

  private readonly networkChanged = () => {
    this.networkOff.value = !navigator.onLine;
    if (navigator.onLine && !this.socket.connected && this.connection.value !== "gone")
      this.socket.disconnect().connect();
  };

  /** A name or a token is told when a connection begins: begin another. */
  private reintroduce(): void {
    if (this.isLeft && token.value !== null && actor() !== this.user) return this.end(); // not in another's name
    if (this.socket.active || this.connection.value === "reconnecting") this.socket.disconnect().connect();
  }

  private async join(): Promise<void> {
    const since = !this.stale && this.epoch !== null ? { since: this.base, epoch: this.epoch } : {};
    const socketId = this.socket.id;
    let answer: unknown;
    try {
      answer = await this.socket.timeout(20_000).emitWithAck("join_session", { session_id: this.id, ...since });
    } catch {
      if (this.socket.connected && this.socket.id === socketId) this.socket.disconnect().connect();
      return;
    }
    if (this.socket.id !== socketId) return;
    const refusal = refusalIn(answer);
    if (refusal) {
      if (refusal.passing) setTimeout(() => this.socket.id === socketId && void this.join(), 1_000);
      else this.fail(refusal);
      return;
    }
    const joined = answer as Joined;
    this.target = joined.version;
    this.sendPresence();
    if (joined.resume === "current" || joined.resume === "replay") {
      this.connection.value = this.base >= this.target ? "live" : "catching-up";
      this.outbox.connect();
      void this.askRole().catch(() => {}); // it may have changed meanwhile
    } else {
      this.connection.value = this.base < 0 ? "opening" : "catching-up";
      await this.fetch();
    }
  }

  /** The whole graph; events that came meanwhile and are older than it fall away. */
  private async fetch(): Promise<void> {
    this.stale = true;
    const turn = ++this.fetching;
    try {
      const [payload, info] = await Promise.all([rest.graph(this.id), rest.info(this.id), this.askRole()]);
      if (this.closed || turn !== this.fetching) return;
      const template = info.template_id === null ? null : await rest.schema(info.template_id).catch(() => null);
      if (this.closed || turn !== this.fetching) return;
      batch(() => {
        if (this.epoch !== null && this.epoch !== payload.epoch) this.restored();
        this.info.value = info;
        this.template.value = template;
        this.graph = Graph.of(payload.roots);
        this.takeBacks = [];
        this.epoch = payload.epoch;
        this.base = payload.version;
        this.stale = false;
        this.touches.forget(payload.version);
        this.flush();
      });
      this.outbox.connect();
    } catch (error) {
      if (this.closed || turn !== this.fetching) return;
      if (error instanceof Refusal && !error.passing) this.fail(error);
      else setTimeout(() => turn === this.fetching && void this.fetch(), 1_000);
    }
  }

  /** Another timeline has begun: nothing that was answered in the old one counts. */
  private restored(): void {
    for (const pending of this.outbox.waiting) pending.version = null;
    this.say(
      "A backup was put back",
      "The project is as it was when that backup was made. Look whether something has to be done again.",
      "refusal",
    );
  }

  private async askRole(): Promise<void> {
    if (token.value === null) return;
    const { members } = await rest.members(this.id);
    const mine = members.find((each) => each.user === actor())?.role;
    // No member, and sees it all the same: an administrator, or a server that takes tokens no more.
    this.role.value = claims(token.value)?.role === "admin" ? "owner" : (mine ?? "owner");
  }

  private lost(): void {
    if (this.closed) return;
    this.outbox.disconnect();
    if (this.frame) this.flush(); // what is whole counts: `since` is to say so
    this.commits = [];
    this.events = []; // cut off in the middle: the whole commit comes again
    this.fetching++; // what is being fetched is of a connection that is gone
    this.people.lost();
    if (this.connection.value !== "gone") this.connection.value = this.base < 0 ? "opening" : "reconnecting";
  }

  private fail({ code, message, details }: Refusal): void {
    const unsaved = this.outbox.waiting.map((pending) => pending.words);
    const told = unsaved.length > 3 ? [...unsaved.slice(0, 3), `${unsaved.length - 3} more`] : unsaved;
    const all = told.length ? `${message}. Not saved: ${told.join("; ")}` : message;
    this.failure.value = new Refusal({ code, message: all, details });
    this.connection.value = "gone";
    if (this.isLeft) return this.end();
    this.outbox.disconnect();
    this.socket.disconnect();
  }

  // -- facts --

  private hear(event: GraphEvent): void {
    if (event.session_id === this.id) this.events.push(event);
  }

  private whole(closing: Closing): void {
    if (closing.session_id !== this.id) return;
    this.commits.push({ closing, events: this.events });
    this.events = [];
    this.soon();
  }

  private soon(): void {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => this.flush());
    // A page that is not seen, or stops being seen now, gets no frame, and should still hear.
    this.unseen = setTimeout(() => this.flush(), UNSEEN_MS);
  }

  private cancelFrame(): void {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.unseen);
    this.frame = 0;
  }

  private flush(): void {
    this.cancelFrame();
    if (this.stale) return; // the graph is on its way, and they wait for it
    const due = this.commits.filter((commit) => commit.closing.version > this.base);
    this.commits = [];
    const ids = new Set(due.map(({ closing }) => closing.by ?? closing.command_id));
    const mine = new Set(this.outbox.waiting.map((pending) => pending.id));
    this.takeBack();
    try {
      for (const { closing, events } of due) {
        if (closing.version !== this.base + 1) throw new Misfit(`version ${closing.version} after ${this.base}`);
        for (const event of events) this.graph.apply(event);
        this.base = closing.version;
      }
    } catch (error) {
      // This client and the server do not agree: what the server has is right.
      console.error("Misfit", error);
      this.stale = true;
      this.target = due.at(-1)?.closing.version ?? this.target;
      this.connection.value = "catching-up";
      if (this.socket.connected) void this.fetch();
      return;
    }
    batch(() => {
      for (const commit of due) {
        const { closing } = commit;
        this.touches.note(commit, closing.replayed !== true && !mine.has(closing.by ?? closing.command_id));
      }
      this.outbox.confirm(this.base, ids);
      this.foresee();
      this.version.value = this.base;
      if (this.connection.value === "opening" || (this.connection.value === "catching-up" && this.base >= this.target))
        this.connection.value = this.socket.connected ? "live" : "reconnecting";
      this.revision.value++;
    });
    if (due.length) for (const listener of this.listeners) listener(due);
  }

  private takeBack(): void {
    for (let at = this.takeBacks.length - 1; at >= 0; at--) this.takeBacks[at]?.();
    this.takeBacks = [];
  }

  private foresee(): void {
    for (const command of this.outbox.standing) this.foreseeOne(command);
  }

  private foreseeOne(command: Command): void {
    try {
      this.takeBacks.push(predict(this.graph, this.template.value, command));
    } catch (error) {
      if (!(error instanceof Misfit)) throw error; // the server's answer will tell
    }
  }

  // -- calls --

  private call(call: Call, words: string, quiet = false): Promise<Refusal | null> {
    return new Promise((settle) => {
      this.outbox.add({ id: newId(), call, words, quiet, version: null, settle });
      if (call.kind === "command") this.foreseeOne(call.command);
      else {
        this.takeBack();
        this.foresee();
      }
      this.revision.value++;
    });
  }

  private complain(words: string, refusal: Refusal): void {
    if (refusal.code === "NOTHING_TO_UNDO" || refusal.code === "NOTHING_TO_REDO")
      this.say(refusal.message, refusal.advice);
    else this.say(`Not done: ${words}`, refusal.words, "refusal");
  }

  private send({ id, call }: Pending): Promise<unknown> {
    const common = { session_id: this.id, command_id: id };
    if (call.kind === "command") {
      const body = { ...common, ...call.command };
      if (new Blob([JSON.stringify(body)]).size > MOST_BYTES) return this.post(body);
      return this.emit("execute_command", body);
    }
    return this.emit(`${call.kind}_command`, call.scope === "actor" ? { ...common, scope: "actor" } : common);
  }

  /** What is too large for the socket, which would end over it, goes the other way. */
  private async post(body: Parameters<typeof rest.execute>[0]): Promise<unknown> {
    try {
      return await rest.execute(body);
    } catch (error) {
      if (error instanceof Refusal) return { error: { code: error.code, message: error.message } };
      throw error;
    }
  }

  private emit(event: string, payload: unknown): Promise<unknown> {
    return new Promise((answered, cut) => {
      // What cannot leave now must not leave later by itself, for the outbox sends it again.
      if (!this.socket.connected) return cut(new Error("not connected"));
      const ended = () => cut(new Error("the connection ended"));
      this.socket.once("disconnect", ended);
      this.socket.emit(event, payload, (answer: unknown) => {
        this.socket.off("disconnect", ended);
        answered(answer);
      });
    });
  }

  private answered({ version, words, quiet }: Pending, refusal: Refusal | null, fallen: number): void {
    // A refused edit goes from the screen; one that was committed long ago is no longer waited for.
    if (refusal || (version ?? 0) <= this.base) this.soon();
    if (refusal?.code === "FORBIDDEN") void this.askRole().catch(() => {});
    if (!refusal || quiet) return;
    const more = fallen === 1 ? ", and one edit that rests on it" : `, and ${fallen} edits that rest on it`;
    this.complain(fallen ? words + more : words, refusal);
  }

  private count(): void {
    this.unsaved.value = this.outbox.waiting.length;
    this.held.value = this.outbox.held;
    if (this.isLeft && !this.outbox.waiting.length) this.end();
  }

  private sendPresence(): void {
    clearTimeout(this.presenceTimer);
    this.presenceTimer = undefined;
    if (this.socket.connected)
      this.socket.emit("update_presence", { session_id: this.id, state: this.presence }, () => {});
  }
}
