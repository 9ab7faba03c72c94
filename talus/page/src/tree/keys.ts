/** The keys of the tree. `?` shows this list, and it is the one that is used: a key is told as it works. */

import { DRAFT, type Workspace } from "../store/workspace";
import type { Actions } from "./actions";

export interface Key {
  /** As `pressed` names it; several do the same. */
  on: readonly string[];
  /** As people read it. */
  shown: string;
  what: string;
  group: "Move about" | "Change" | "Select" | "Page";
  /** Also while the past is shown, or a viewer looks. */
  harmless?: true;
  act: (to: Target) => void;
}

export interface Target {
  workspace: Workspace;
  actions: Actions;
  /** Rows that fit on the screen. */
  page: number;
  openMenu: () => void;
  openStatus: () => void;
  search: () => void;
  help: () => void;
}

/** A key press by name: "Ctrl+Shift+Z", with Ctrl for the Command key of a Mac. */
export function pressed(event: KeyboardEvent): string {
  // A keyboard of another script has no Latin letters: with Ctrl, the place of the key counts there.
  const foreign = (event.ctrlKey || event.metaKey) && event.key > "~" && event.code.startsWith("Key");
  const named = foreign ? event.code.slice(3) : event.key;
  const key = named.length === 1 ? (named === " " ? "Space" : named.toUpperCase()) : named;
  // Which signs need Shift is the keyboard's affair: "/" is Shift+7 on a German one.
  const sign = key.length === 1 && key.toLowerCase() === key;
  const held = [
    (event.ctrlKey || event.metaKey) && "Ctrl",
    event.altKey && "Alt",
    event.shiftKey && !sign && "Shift",
    key,
  ];
  return held.filter(Boolean).join("+");
}

function step(to: Target, by: number, extend = false): void {
  const { rows, places, selection } = to.workspace;
  const at = places.value.get(selection.value.active ?? "") ?? -1;
  for (let next = Math.max(0, Math.min(rows.value.length - 1, at + by)); ; next += Math.sign(by)) {
    const row = rows.value[next];
    if (!row) return;
    if (row.id === DRAFT) continue;
    if (extend) to.workspace.selectTo(row.id);
    else to.workspace.select(row.id);
    to.workspace.show(row.id);
    return;
  }
}

function inward({ workspace }: Target): void {
  const id = workspace.selection.value.active;
  const row = id === null ? undefined : workspace.rows.value[workspace.places.value.get(id) ?? -1];
  if (!row || row.open === null) return;
  if (!row.open) return workspace.toggle(row.id, true);
  const next = workspace.rows.value[(workspace.places.value.get(row.id) ?? 0) + 1];
  if (next && next.id !== DRAFT) {
    workspace.select(next.id);
    workspace.show(next.id);
  }
}

function outward({ workspace }: Target): void {
  const id = workspace.selection.value.active;
  if (id === null) return;
  if (workspace.open.value.has(id) && workspace.graph().get(id)?.children.length) return workspace.toggle(id, false);
  const parent = workspace.graph().get(id)?.parent;
  if (parent) {
    workspace.select(parent);
    workspace.show(parent);
  }
}

export const KEYS: readonly Key[] = [
  {
    on: ["ArrowUp"],
    shown: "↑",
    what: "The row above",
    group: "Move about",
    harmless: true,
    act: (to) => step(to, -1),
  },
  {
    on: ["ArrowDown"],
    shown: "↓",
    what: "The row below",
    group: "Move about",
    harmless: true,
    act: (to) => step(to, 1),
  },
  {
    on: ["ArrowRight"],
    shown: "→",
    what: "Open, then the first child",
    group: "Move about",
    harmless: true,
    act: inward,
  },
  { on: ["ArrowLeft"], shown: "←", what: "Close, then the parent", group: "Move about", harmless: true, act: outward },
  {
    on: ["Home"],
    shown: "Home",
    what: "The first row",
    group: "Move about",
    harmless: true,
    act: (to) => step(to, -1e9),
  },
  { on: ["End"], shown: "End", what: "The last row", group: "Move about", harmless: true, act: (to) => step(to, 1e9) },
  {
    on: ["PageUp"],
    shown: "Page up",
    what: "A screen up",
    group: "Move about",
    harmless: true,
    act: (to) => step(to, -to.page),
  },
  {
    on: ["PageDown"],
    shown: "Page down",
    what: "A screen down",
    group: "Move about",
    harmless: true,
    act: (to) => step(to, to.page),
  },
  {
    on: ["*"],
    shown: "*",
    what: "Open all branches",
    group: "Move about",
    harmless: true,
    act: ({ workspace }) => workspace.openEverything(),
  },
  {
    on: ["Enter", "F2"],
    shown: "Enter",
    what: "Rename",
    group: "Change",
    act: ({ workspace }) => {
      workspace.renaming.value = workspace.selection.value.active;
    },
  },
  {
    on: ["Insert", "Ctrl+Enter"],
    shown: "Insert",
    what: "Add a sibling (also Ctrl+Enter)",
    group: "Change",
    act: ({ workspace, actions }) => actions.addSibling(workspace.selection.value.active),
  },
  {
    on: ["Shift+Insert", "Ctrl+Shift+Enter"],
    shown: "Shift+Insert",
    what: "Add a child (also Ctrl+Shift+Enter)",
    group: "Change",
    act: ({ workspace, actions }) => actions.addChild(workspace.selection.value.active),
  },
  {
    on: ["Tab"],
    shown: "Tab",
    what: "Indent: below the row above",
    group: "Change",
    act: ({ actions }) => actions.indent(),
  },
  {
    on: ["Shift+Tab"],
    shown: "Shift+Tab",
    what: "Outdent: behind its parent",
    group: "Change",
    act: ({ actions }) => actions.outdent(),
  },
  { on: ["Alt+ArrowUp"], shown: "Alt+↑", what: "Move up", group: "Change", act: ({ actions }) => actions.shift(-1) },
  { on: ["Alt+ArrowDown"], shown: "Alt+↓", what: "Move down", group: "Change", act: ({ actions }) => actions.shift(1) },
  { on: ["Alt+ArrowRight"], shown: "Alt+→", what: "Indent", group: "Change", act: ({ actions }) => actions.indent() },
  { on: ["Alt+ArrowLeft"], shown: "Alt+←", what: "Outdent", group: "Change", act: ({ actions }) => actions.outdent() },
  { on: ["Ctrl+."], shown: "Ctrl+.", what: "Set the status", group: "Change", act: (to) => to.openStatus() },
  { on: ["Ctrl+D"], shown: "Ctrl+D", what: "Duplicate", group: "Change", act: ({ actions }) => actions.duplicate() },
  {
    on: ["Delete", "Backspace"],
    shown: "Delete",
    what: "Delete, with all below",
    group: "Change",
    act: ({ actions }) => actions.remove(),
  },
  {
    on: ["Shift+ArrowUp"],
    shown: "Shift+↑ ↓",
    what: "Select more or fewer",
    group: "Select",
    harmless: true,
    act: (to) => step(to, -1, true),
  },
  { on: ["Shift+ArrowDown"], shown: "", what: "", group: "Select", harmless: true, act: (to) => step(to, 1, true) },
  { on: ["Shift+Home"], shown: "", what: "", group: "Select", harmless: true, act: (to) => step(to, -1e9, true) },
  { on: ["Shift+End"], shown: "", what: "", group: "Select", harmless: true, act: (to) => step(to, 1e9, true) },
  {
    on: ["Ctrl+Space"],
    shown: "Ctrl+Space",
    what: "Select one more, or one less",
    group: "Select",
    harmless: true,
    act: ({ workspace }) =>
      workspace.selection.value.active !== null && workspace.toggleSelected(workspace.selection.value.active),
  },
  {
    on: ["Ctrl+A"],
    shown: "Ctrl+A",
    what: "Select all rows",
    group: "Select",
    harmless: true,
    act: ({ workspace }) => {
      const ids = workspace.rows.value.map((row) => row.id).filter((id) => id !== DRAFT);
      workspace.selection.value = { ...workspace.selection.value, ids: new Set(ids) };
    },
  },
  {
    on: ["ContextMenu", "Shift+F10"],
    shown: "Shift+F10",
    what: "All that can be done with it",
    group: "Select",
    act: (to) => to.openMenu(),
  },
];

/** Keys that work anywhere on the page, unless something is being typed. */
export const PAGE_KEYS: readonly Key[] = [
  { on: ["Ctrl+Z"], shown: "Ctrl+Z", what: "Undo", group: "Page", act: ({ actions }) => actions.undo() },
  {
    on: ["Ctrl+Shift+Z", "Ctrl+Y"],
    shown: "Ctrl+Shift+Z",
    what: "Redo",
    group: "Page",
    act: ({ actions }) => actions.redo(),
  },
  { on: ["/", "Ctrl+F"], shown: "/", what: "Search", group: "Page", harmless: true, act: (to) => to.search() },
  { on: ["?"], shown: "?", what: "All keys", group: "Page", harmless: true, act: (to) => to.help() },
];

/** Told by `?`, done by the browser or by the element that has the focus. */
export const OTHER_KEYS: readonly Pick<Key, "shown" | "what" | "group">[] = [
  { shown: "a … z", what: "The next row that begins so", group: "Move about" },
  { shown: "Ctrl+C, X, V", what: "Copy, cut and paste, as an outline", group: "Change" },
  { shown: "Escape, then Tab", what: "Leave the tree", group: "Page" },
  { shown: "F6", what: "The next part of the page", group: "Page" },
];

export function keyFor(keys: readonly Key[], event: KeyboardEvent): Key | undefined {
  const name = pressed(event);
  return keys.find((key) => key.on.includes(name));
}
