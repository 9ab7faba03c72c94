/**
 * What one person looks at in a project: what is open and selected, what is looked
 * for, which moment is shown. Every view of the project reads and writes it; none of
 * it reaches the server but the selection, which the others see.
 */

import { computed, effect, signal } from "@preact/signals";
import { store, stored } from "../protocol/identity";
import type { CommitLine } from "../protocol/types";
import { type Filter, type Found, find, isActive, NO_FILTER, readFilter, writeFilter } from "./filter";
import type { Graph } from "./graph";
import type { Scope } from "./outbox";
import type { Project } from "./project";
import type { Commit } from "./touches";

export interface Selection {
  ids: ReadonlySet<string>;
  /** The one that the keyboard acts on, and the inspector shows. */
  active: string | null;
  /** Where a range begins. */
  anchor: string | null;
}

/** A node that is being typed, and not made yet. */
export interface Draft {
  parent: string | null;
  /** The sibling that it stands behind; null: it is the first. */
  after: string | null;
  /** Its place, for when that sibling is gone. */
  index: number;
  type: string;
}

export interface Row {
  /** A node's id; of the draft, `DRAFT`. */
  id: string;
  /** 1 for a root. */
  level: number;
  /** Its place among those shown on its level, from 1, and how many there are. */
  position: number;
  count: number;
  /** Of a node without children: null. */
  open: boolean | null;
}

export const DRAFT = "draft";

/** Between two changes of the address: Safari takes 100 in 30 seconds, and throws at the next. */
const ADDRESS_MS = 350;

/** The most branches that open by themselves at once. */
const UNFOLDED = 20;

export interface Past {
  version: number;
  graph: Graph;
  commit: CommitLine | null;
}

export type Panel = "details" | "history" | null;

export class Workspace {
  readonly past = signal<Past | null>(null);
  readonly open = signal<ReadonlySet<string>>(new Set());
  readonly selection = signal<Selection>({ ids: new Set(), active: null, anchor: null });
  readonly renaming = signal<string | null>(null);
  readonly draft = signal<Draft | null>(null);
  readonly filter = signal<Filter>(NO_FILTER);
  readonly panel = signal<Panel>("details");
  /** Whose changes undo and redo look at. */
  readonly scope = signal<Scope>((stored("talus.scope") as Scope | null) ?? "actor");
  /** Views ask the tree to bring a row into view; the number makes each wish a new one. */
  readonly reveal = signal<{ id: string; wish: number } | null>(null);

  readonly editable = computed(
    () =>
      this.past.value === null &&
      this.project.mayEdit.value &&
      !["opening", "gone"].includes(this.project.connection.value),
  );
  readonly found = computed<Found | null>(() =>
    isActive(this.filter.value) ? find(this.graph(), this.project.template.value, this.filter.value) : null,
  );
  readonly rows = computed<Row[]>(() => this.flatten());
  /** The place of each row, by id. */
  readonly places = computed(() => new Map(this.rows.value.map((row, place) => [row.id, place])));

  private wishes = 0;
  private addressed = 0; // when the address was written last
  private addressTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly stops: (() => void)[] = [];

  constructor(readonly project: Project) {
    this.readAddress();
    this.stops.push(
      effect(() => project.show({ node: this.selection.value.active })),
      effect(() => this.addressSoon()),
      effect(() => store("talus.scope", this.scope.value)),
      project.onCommits((commits) => this.unfold(commits)),
    );
    const stopOpening = effect(() => {
      if (project.revision.value > 0) {
        queueMicrotask(() => {
          stopOpening();
          this.begin();
        });
      }
    });
    this.stops.push(stopOpening);
  }

  close(): void {
    for (const stop of this.stops) stop();
    clearTimeout(this.addressTimer);
  }

  /** The graph that is looked at: today's, or that of the chosen moment. Reading it is reading a signal. */
  graph(): Graph {
    const past = this.past.value;
    void this.project.revision.value;
    return past?.graph ?? this.project.graph;
  }

  // -- opening and closing branches --

  toggle(id: string, open = !this.open.value.has(id)): void {
    if (this.open.value.has(id) === open) return;
    const next = new Set(this.open.value);
    if (open) next.add(id);
    else next.delete(id);
    this.open.value = next;
  }

  openAll(ids: Iterable<string>): void {
    this.open.value = new Set([...this.open.value, ...ids]);
  }

  closeAll(): void {
    this.open.value = new Set();
  }

  /** Everything with children. */
  openEverything(): void {
    this.open.value = new Set(
      [...this.graph().nodes.values()].filter((node) => node.children.length).map((node) => node.id),
    );
  }

  // -- selecting --

  select(id: string | null): void {
    this.selection.value = { ids: new Set(id === null ? [] : [id]), active: id, anchor: id };
  }

  /** Adds one, or takes it away. */
  toggleSelected(id: string): void {
    const ids = new Set(this.selection.value.ids);
    if (!ids.delete(id)) ids.add(id);
    this.selection.value = { ids, active: id, anchor: id };
  }

  /** From where the range began to here. */
  selectTo(id: string): void {
    const { anchor } = this.selection.value;
    const from = this.places.value.get(anchor ?? id) ?? 0;
    const to = this.places.value.get(id) ?? 0;
    const ids = this.rows.value.slice(Math.min(from, to), Math.max(from, to) + 1).map((row) => row.id);
    this.selection.value = { ids: new Set(ids.filter((each) => each !== DRAFT)), active: id, anchor: anchor ?? id };
  }

  /** The selected nodes that are there, in the order of the tree, without those below another selected one. */
  chosen(): string[] {
    const graph = this.graph();
    const { ids } = this.selection.value;
    const top = [...ids].filter((id) => graph.get(id) && !graph.path(id).some((above) => ids.has(above.id)));
    const place = (id: string) => this.places.value.get(id) ?? Number.MAX_SAFE_INTEGER;
    return top.sort((a, b) => place(a) - place(b));
  }

  /** Selects a node wherever it is: opens its parents, drops a filter that hides it, scrolls to it. */
  goTo(id: string): void {
    if (!this.graph().get(id)) return;
    if (this.found.value && !this.found.value.shown.has(id)) this.filter.value = NO_FILTER;
    this.openAll(
      this.graph()
        .path(id)
        .map((node) => node.id),
    );
    this.select(id);
    this.show(id);
  }

  /** Scrolls a row into view. */
  show(id: string): void {
    this.reveal.value = { id, wish: ++this.wishes };
  }

  /** Where the new node would stand now: behind the same sibling, whatever the others did before it. */
  placeOf({ parent, after, index }: Draft): number {
    const siblings = this.graph().childrenOf(parent);
    const place = after === null ? 0 : siblings.indexOf(after) + 1;
    return after === null || place > 0 ? place : Math.min(index, siblings.length);
  }

  // -- the address --

  /** The page's address with this node in it. */
  linkTo(id: string | null): string {
    const url = new URL(location.href);
    url.search = id === null ? "" : `?node=${id}`;
    return url.href;
  }

  private readAddress(): void {
    const search = new URLSearchParams(location.search);
    this.filter.value = readFilter(search);
    if (search.get("view") === "history") this.panel.value = "history";
  }

  /** At once after a pause; of many in a short time, first and last. */
  private addressSoon(): void {
    void [this.filter.value, this.panel.value, this.selection.value];
    clearTimeout(this.addressTimer);
    const wait = this.addressed + ADDRESS_MS - performance.now();
    if (wait <= 0) this.writeAddress();
    else this.addressTimer = setTimeout(() => this.writeAddress(), wait);
  }

  private writeAddress(): void {
    const url = new URL(location.href);
    const before = url.href;
    writeFilter(this.filter.peek(), url.searchParams);
    if (this.panel.peek() === "history") url.searchParams.set("view", "history");
    else url.searchParams.delete("view");
    const { active } = this.selection.peek();
    if (active !== null) url.searchParams.set("node", active);
    else if (this.project.revision.peek() > 0) url.searchParams.delete("node");
    if (url.href === before) return;
    this.addressed = performance.now();
    history.replaceState(null, "", url);
  }

  /** The graph has come: open what a newcomer wants to see, or the node that the address names. */
  private begin(): void {
    const graph = this.project.graph;
    const wanted = new URLSearchParams(location.search).get("node");
    const open = new Set<string>();
    // As many levels as leave a page that can be taken in: the roots always, more while they are few.
    let level = [...graph.roots];
    for (let seen = level.length; level.length; ) {
      const next = level.flatMap((id) => graph.get(id)?.children ?? []);
      seen += next.length;
      if (seen > 200) break;
      for (const id of level) if (graph.get(id)?.children.length) open.add(id);
      level = next;
    }
    for (const id of graph.roots) open.add(id);
    this.open.value = open;
    if (wanted !== null && graph.get(wanted)) this.goTo(wanted);
    else {
      if (wanted !== null)
        this.project.say(
          "The link leads to a node that is gone",
          "Somebody deleted it: the history shows when, and can undo that.",
        );
      this.select(graph.roots[0] ?? null);
    }
  }

  /** What somebody puts below a node that had nothing is shown, unless it is a flood. */
  private unfold(commits: readonly Commit[]): void {
    const fresh: string[] = [];
    for (const { events } of commits)
      for (const event of events) {
        if (event.event !== "node-linked" || event.parent_id === null) continue;
        if (this.project.graph.get(event.parent_id)?.children[0] === event.child_id) fresh.push(event.parent_id);
      }
    if (fresh.length && fresh.length <= UNFOLDED) this.openAll(fresh);
  }

  // -- rows --

  private flatten(): Row[] {
    const graph = this.graph();
    const open = this.open.value;
    const found = this.found.value;
    const draft = this.draft.value;
    const rows: Row[] = [];
    const walk = (ids: readonly string[], parent: string | null, level: number) => {
      const here = found ? ids.filter((id) => found.shown.has(id)) : ids;
      const hasDraft = draft?.parent === parent;
      const count = here.length + (hasDraft ? 1 : 0);
      const draftAt = hasDraft ? (found ? here.length : this.placeOf(draft)) : -1;
      let position = 0;
      for (let at = 0; at <= here.length; at++) {
        if (at === draftAt) rows.push({ id: DRAFT, level, position: ++position, count, open: null });
        const id = here[at];
        const node = id === undefined ? undefined : graph.get(id);
        if (id === undefined || !node) continue;
        const isParent = node.children.length > 0 || draft?.parent === id;
        const isOpen =
          isParent &&
          (open.has(id) ||
            draft?.parent === id ||
            (found !== null && node.children.some((child) => found.shown.has(child))));
        rows.push({ id, level, position: ++position, count, open: isParent ? isOpen : null });
        if (isOpen) walk(node.children, id, level + 1);
      }
    };
    walk(graph.roots, null, 1);
    return rows;
  }
}
