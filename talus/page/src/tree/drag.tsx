/** Dragging rows onto and between others, with a mouse or a pen; the page scrolls at its edges. */

import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { DRAFT, type Workspace } from "../store/workspace";
import type { Actions } from "./actions";
import { fits } from "./outline";

const START_PX = 5;
const EDGE_PX = 40;

export interface Drop {
  parent: string | null;
  index: number;
  /** The row that it is about, and which part of it. */
  row: number;
  level: number;
  where: "before" | "onto" | "after";
  allowed: boolean;
}

export interface Dragging {
  drop: Drop | null;
  ids: readonly string[];
  begin: (event: PointerEvent) => void;
}

export function useDragging(
  scroller: RefObject<HTMLElement>,
  workspace: Workspace,
  actions: Actions,
  height: number,
): Dragging {
  const [drop, setDrop] = useState<Drop | null>(null);
  const ids = useRef<readonly string[]>([]);
  const stop = useRef<() => void>(() => {});
  useEffect(() => () => stop.current(), []);

  const begin = (event: PointerEvent) => {
    const row = (event.target as Element).closest<HTMLElement>(".row[data-id]");
    if (!row?.dataset.id || event.button !== 0 || event.pointerType === "touch" || !workspace.editable.value) return;
    if ((event.target as Element).closest("button, input, select")) return;
    const id = row.dataset.id;
    const from = { x: event.clientX, y: event.clientY };
    let now = from;
    let started = false;
    let current: Drop | null = null;
    let frame = 0;

    const look = () => {
      const element = scroller.current;
      if (!element) return;
      const box = element.getBoundingClientRect();
      if (now.y < box.top + EDGE_PX) element.scrollTop -= Math.min(16, (box.top + EDGE_PX - now.y) / 2);
      else if (now.y > box.bottom - EDGE_PX) element.scrollTop += Math.min(16, (now.y - box.bottom + EDGE_PX) / 2);
      const inside = now.x >= box.left && now.x <= box.right && now.y >= box.top && now.y <= box.bottom;
      const next = inside ? dropAt(workspace, ids.current, now.y - box.top + element.scrollTop, height) : null;
      if (JSON.stringify(next) !== JSON.stringify(current)) setDrop(next);
      current = next;
      frame = requestAnimationFrame(look);
    };
    const move = (event: PointerEvent) => {
      now = { x: event.clientX, y: event.clientY };
      if (started || Math.hypot(now.x - from.x, now.y - from.y) < START_PX) return;
      started = true;
      if (!workspace.selection.value.ids.has(id)) workspace.select(id);
      ids.current = workspace.chosen();
      document.body.classList.add("dragging");
      getSelection()?.removeAllRanges();
      look();
    };
    const end = (act: boolean) => {
      removeEventListener("pointermove", move);
      removeEventListener("pointerup", up);
      removeEventListener("pointercancel", cancel);
      removeEventListener("keydown", key, true);
      cancelAnimationFrame(frame);
      document.body.classList.remove("dragging");
      setDrop(null);
      if (!started) return;
      // What the button's release would select is not what was meant.
      addEventListener("click", swallow, { capture: true, once: true });
      setTimeout(() => removeEventListener("click", swallow, true));
      if (act && current) actions.move(ids.current, current.parent, current.index);
    };
    const swallow = (event: Event) => event.stopPropagation();
    const up = () => end(true);
    const cancel = () => end(false);
    const key = (event: KeyboardEvent) => {
      if (event.key !== "Escape" || !started) return;
      event.stopPropagation();
      end(false);
    };
    addEventListener("pointermove", move);
    addEventListener("pointerup", up);
    addEventListener("pointercancel", cancel);
    addEventListener("keydown", key, true);
    stop.current = cancel;
  };
  return { drop, ids: ids.current, begin };
}

function dropAt(workspace: Workspace, ids: readonly string[], y: number, height: number): Drop | null {
  const rows = workspace.rows.value;
  const graph = workspace.graph();
  const at = Math.max(0, Math.min(rows.length - 1, Math.floor(y / height)));
  const row = rows[at];
  if (!row || row.id === DRAFT) return null;
  const part = y / height - at;
  const parent = graph.get(row.id)?.parent ?? null;
  const place = graph.indexOf(row.id);
  let found: Omit<Drop, "allowed">;
  if (part >= 0.25 && part <= 0.75 && ids.includes(row.id)) return null; // a hand that shakes means nothing
  if (part < 0.25) found = { parent, index: place, row: at, level: row.level, where: "before" };
  else if (part <= 0.75)
    found = { parent: row.id, index: graph.childrenOf(row.id).length, row: at, level: row.level, where: "onto" };
  else if (row.open) found = { parent: row.id, index: 0, row: at, level: row.level + 1, where: "after" };
  else found = { parent, index: place + 1, row: at, level: row.level, where: "after" };
  return { ...found, allowed: fits(graph, workspace.project.template.value, ids, found.parent) };
}

/** Where the dragged rows would go. */
export function DropMark({ dragging: { drop, ids }, height }: { dragging: Dragging; height: number }) {
  if (!drop) return null;
  const top = (drop.row + (drop.where === "after" ? 1 : 0)) * height;
  return (
    <div
      class={`drop ${drop.where === "onto" ? "onto" : "between"}${drop.allowed ? "" : " refused"}`}
      style={{ transform: `translateY(${top}px)`, "--level": drop.level - 1 }}
      aria-hidden="true"
    >
      {ids.length > 1 && <span class="drop-count">{ids.length}</span>}
    </div>
  );
}
