/**
 * The project as a tree: only the rows that are seen are in the page.
 *
 * The focus stays on the tree and names its row (aria-activedescendant), so a row may
 * come and go. Source of the keys and roles: WAI-ARIA, pattern "Tree View".
 */

import { useEffect, useRef, useState } from "preact/hooks";
import { below, type Place } from "../parts/menu";
import { NO_FILTER } from "../store/filter";
import { nameOf } from "../store/graph";
import { DRAFT, type Workspace } from "../store/workspace";
import type { Actions } from "./actions";
import { DraftRow } from "./draft";
import { DropMark, useDragging } from "./drag";
import { KEYS, keyFor, type Target } from "./keys";
import { NodeMenu, StatusMenu } from "./menus";
import { MoveDialog } from "./move";
import { type RowOwner, rowId, TreeRow } from "./row";
import { SelectionBar } from "./selection";
import { useSpan, useStill } from "./virtual";

const TYPE_AHEAD_MS = 700;
const HELD = new Set(["Shift", "Control", "Alt", "Meta"]);
const NOTHING = new Map<string, never>();

interface Props {
  workspace: Workspace;
  actions: Actions;
  search: () => void;
  help: () => void;
}

type Opened = { kind: "node" | "status"; at: Place } | null;

export function Tree({ workspace, actions, search, help }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const typed = useRef({ text: "", at: 0 });
  const leaving = useRef(false);
  const [menu, setMenu] = useState<Opened>(null);
  const [moving, setMoving] = useState(false);
  const height = useRowHeight();
  const rows = workspace.rows.value;
  const graph = workspace.graph();
  const { ids, active } = workspace.selection.value;
  const { first, end } = useSpan(scroller, rows.length, height);
  const dragging = useDragging(scroller, workspace, actions, height);
  useStill(scroller, rows, height, workspace.draft.value ? DRAFT : workspace.renaming.value);

  useEffect(() => {
    const wish = workspace.reveal.value;
    const place = wish ? workspace.places.value.get(wish.id) : undefined;
    const element = scroller.current;
    if (place === undefined || !element) return;
    const top = place * height;
    if (top < element.scrollTop) element.scrollTop = top - height;
    else if (top + height > element.scrollTop + element.clientHeight)
      element.scrollTop = top + 2 * height - element.clientHeight;
  }, [workspace.reveal.value]);

  const past = workspace.past.value !== null;
  // The selected node was deleted, or its branch closed by a filter: go on from what stands nearest.
  const lastPlace = useRef(0);
  const place = active === null ? undefined : workspace.places.value.get(active);
  useEffect(() => {
    if (place !== undefined) lastPlace.current = place;
    else if (active !== null && !past && !graph.get(active)) {
      const next = [...ids].find((id) => graph.get(id)) ?? rows[Math.min(lastPlace.current, rows.length - 1)]?.id;
      if (next !== undefined && ids.has(next)) workspace.selection.value = { ids, active: next, anchor: next };
      else workspace.select(next === undefined || next === DRAFT ? null : next);
    }
  });

  // What was deleted is selected no more: else the rest could be changed together no longer.
  useEffect(() => {
    const left = past ? [] : [...ids].filter((id) => graph.get(id));
    if (left.length && left.length < ids.size)
      workspace.selection.value = { ...workspace.selection.peek(), ids: new Set(left) };
  }, [workspace.project.revision.value, ids]);

  // Who opens a project can use its keys at once; Tab still goes on through the page.
  useEffect(() => {
    if (document.activeElement !== document.body) return;
    focus();
    leaving.current = true;
  }, []);

  const element = (id: string | null) => (id === null ? null : document.getElementById(rowId(id)));
  const openAt = (kind: "node" | "status", id = active) => {
    const row = element(id);
    row?.scrollIntoView({ block: "nearest" });
    if (row) setMenu({ kind, at: below(row.querySelector(kind === "status" ? ".status" : ".name") ?? row) });
  };
  const target: Target = {
    workspace,
    actions,
    page: Math.max(1, Math.floor((scroller.current?.clientHeight ?? 400) / height) - 1),
    openMenu: () => openAt("node"),
    openStatus: () => openAt("status"),
    search,
    help,
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== event.currentTarget || HELD.has(event.key)) return;
    if (event.key === "Escape") {
      leaving.current = true;
      if (ids.size > 1) workspace.select(active);
      else if (workspace.found.value) workspace.filter.value = NO_FILTER;
      return;
    }
    if (event.key === "Tab" && (leaving.current || !workspace.editable.value)) return;
    leaving.current = false;
    const key = keyFor(KEYS, event);
    if (key) {
      typed.current = { text: "", at: 0 };
      event.preventDefault();
      event.stopPropagation();
      if (key.harmless || workspace.editable.value || key.on.includes("Shift+F10")) key.act(target);
      return;
    }
    if (event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && !"/?".includes(event.key)) {
      const now = event.timeStamp;
      const last = typed.current;
      const text = (now - last.at < TYPE_AHEAD_MS ? last.text : "") + event.key.toLowerCase();
      typed.current = { text, at: now };
      const search = (text: string, from: number) =>
        [...rows.slice(from), ...rows.slice(0, from)].find((row) =>
          nameOf(graph.get(row.id)).toLowerCase().startsWith(text),
        );
      const after = (place ?? -1) + 1;
      const letter = text.charAt(0);
      const next =
        search(text, text.length > 1 ? Math.max(0, after - 1) : after) ??
        // One letter again and again goes on to the next that begins so.
        (text === letter.repeat(text.length) ? search(letter, after) : undefined);
      if (next) {
        workspace.select(next.id);
        workspace.show(next.id);
      }
      event.preventDefault();
      event.stopPropagation();
    }
  };

  const clipboard = (event: ClipboardEvent) => {
    if ((event.target as Element).closest("input, select") || !event.clipboardData) return;
    event.preventDefault();
    if (event.type === "paste") {
      if (workspace.editable.value) actions.paste(event.clipboardData);
    } else if (actions.copy(event.clipboardData) && event.type === "cut" && workspace.editable.value) {
      actions.remove();
    }
  };

  const focus = () => scroller.current?.focus({ preventScroll: true });
  const renaming = workspace.renaming.value;
  // The row that is being typed is always in the page and has a place of its own there: when an element is
  // moved, it loses the focus.
  const typing = workspace.places.value.get(workspace.draft.value ? DRAFT : (renaming ?? ""));
  const shown: number[] = [];
  for (let at = first; at < end; at++) if (at !== typing) shown.push(at);
  if (place !== undefined && (place < first || place >= end) && place !== typing) shown.push(place);
  const template = workspace.project.template.value;
  const editable = workspace.editable.value;
  const marks = past ? NOTHING : workspace.project.touches.marks.value;
  const watching = past ? NOTHING : workspace.project.people.watching.value;
  // One object for all rows and all times: a row is drawn again when what it shows has changed, and only then.
  const owner = useRef<RowOwner>({ workspace, actions, openMenu: () => {}, openStatus: () => {}, done: focus }).current;
  owner.openMenu = (at) => setMenu({ kind: "node", at });
  owner.openStatus = (id) => openAt("status", id);

  const draw = (at: number) => {
    const row = rows[at];
    if (!row) return null;
    const top = at * height;
    if (row.id === DRAFT)
      return <DraftRow key={DRAFT} row={row} top={top} workspace={workspace} actions={actions} done={focus} />;
    const node = graph.get(row.id);
    if (!node) return null;
    return (
      <TreeRow
        key={row.id}
        row={row}
        node={node}
        stamp={node.stamp}
        top={top}
        template={template}
        selected={ids.has(row.id)}
        active={row.id === active}
        renaming={renaming === row.id}
        dim={workspace.found.value !== null && !workspace.found.value.matches.has(row.id)}
        mark={marks.get(row.id)}
        people={watching.get(row.id)}
        editable={editable}
        owner={owner}
      />
    );
  };

  return (
    <>
      <div
        class="tree"
        role="tree"
        aria-label={workspace.past.value ? `The project at version ${workspace.past.value.version}` : "Project"}
        aria-multiselectable="true"
        aria-describedby="tree-hint"
        aria-activedescendant={place !== undefined && active !== null ? rowId(active) : undefined}
        tabIndex={0}
        ref={scroller}
        onKeyDown={onKeyDown}
        onFocus={() => {
          leaving.current = false;
        }}
        onCopy={clipboard}
        onCut={clipboard}
        onPaste={clipboard}
        onPointerDown={(event) => {
          leaving.current = false;
          dragging.begin(event);
        }}
        onMouseDown={(event) => {
          // The buttons of a row leave the focus to the tree, where the keys are.
          if (!(event.target as Element).closest("button")) return;
          event.preventDefault();
          focus();
        }}
      >
        <div class="tree-rows" role="none" style={{ height: `${rows.length * height}px` }}>
          {shown.map(draw)}
          {typing !== undefined && draw(typing)}
        </div>
        <DropMark dragging={dragging} height={height} />
      </div>
      <p id="tree-hint" class="hidden">
        Arrows move, Enter renames, Insert adds. Tab indents; Escape and then Tab leaves the tree. Question mark lists
        all keys.
      </p>
      {menu?.kind === "node" && (
        <NodeMenu
          at={menu.at}
          workspace={workspace}
          actions={actions}
          close={() => setMenu(null)}
          openStatus={() => openAt("status")}
          openMove={() => setMoving(true)}
        />
      )}
      {menu?.kind === "status" && (
        <StatusMenu at={menu.at} workspace={workspace} actions={actions} close={() => setMenu(null)} />
      )}
      <SelectionBar workspace={workspace} actions={actions} openMove={() => setMoving(true)} done={focus} />
      {moving && <MoveDialog workspace={workspace} actions={actions} close={() => setMoving(false)} />}
    </>
  );
}

/** The height of a row, as styles/tokens.css has it for this pointer. */
function useRowHeight(): number {
  const read = () => Number.parseInt(getComputedStyle(document.documentElement).getPropertyValue("--row"), 10) || 32;
  const [height, setHeight] = useState(read);
  useEffect(() => {
    const coarse = matchMedia("(pointer: coarse)");
    const update = () => setHeight(read());
    coarse.addEventListener("change", update);
    return () => coarse.removeEventListener("change", update);
  }, []);
  return height;
}
