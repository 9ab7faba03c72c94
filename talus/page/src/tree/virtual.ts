/** Which rows of a long list are to be in the page: all have one height, so it is arithmetic. */

import type { RefObject } from "preact";
import { useCallback, useLayoutEffect, useRef, useState } from "preact/hooks";
import { DRAFT, type Row } from "../store/workspace";

/** Rows beyond each edge, so that a quick scroll finds some. */
const MARGIN = 8;

export interface Span {
  first: number;
  /** The one after the last. */
  end: number;
}

/** The rows that `scroller` shows of `count` rows of `height` pixels; it changes by whole steps, not by pixels. */
export function useSpan(scroller: RefObject<HTMLElement>, count: number, height: number): Span {
  const look = useCallback((): Span => {
    const element = scroller.current;
    const top = element?.scrollTop ?? 0;
    const first = Math.floor(top / height / MARGIN) * MARGIN - MARGIN;
    const end = Math.ceil((top + (element?.clientHeight ?? 800)) / height / MARGIN) * MARGIN + MARGIN;
    return { first: Math.max(0, first), end };
  }, [height]);
  const [span, setSpan] = useState(look);
  useLayoutEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const update = () =>
      setSpan((before) => {
        const next = look();
        return next.first === before.first && next.end === before.end ? before : next;
      });
    update();
    element.addEventListener("scroll", update, { passive: true });
    const watch = new ResizeObserver(update);
    watch.observe(element);
    return () => {
      element.removeEventListener("scroll", update);
      watch.disconnect();
    };
  }, [look]);
  return { first: Math.min(span.first, count), end: Math.min(span.end, count) };
}

/**
 * What is seen stays where it is on the screen when the others add and take rows above it.
 *
 * typing: the row in which something is being typed; it is held even where the list is not scrolled.
 */
export function useStill(
  scroller: RefObject<HTMLElement>,
  rows: readonly Row[],
  height: number,
  typing: string | null,
): void {
  const last = useRef(rows);
  useLayoutEffect(() => {
    const before = last.current;
    last.current = rows;
    const element = scroller.current;
    if (!element || before === rows || (typing === null && element.scrollTop === 0)) return;
    const places = new Map(rows.map((row, place) => [row.id, place]));
    const shiftOf = (place: number) => (places.get(before[place]?.id ?? "") ?? Number.NaN) - place;
    let shift: number | undefined;
    if (typing !== null) {
      // A new row has no place of its own: the one above it has.
      const place = before.findIndex((row) => row.id === typing);
      shift = shiftOf(typing === DRAFT ? place - 1 : place);
    } else {
      const first = Math.ceil(element.scrollTop / height);
      const seen = Math.floor(element.clientHeight / height);
      const shifts = Array.from({ length: seen }, (_, at) => shiftOf(first + at)).filter((each) => !Number.isNaN(each));
      // Two that agree: one alone may have been moved.
      shift = shifts.find((each, at) => each === shifts[at + 1]);
    }
    if (shift) element.scrollTop += shift * height;
  }, [rows]);
}
