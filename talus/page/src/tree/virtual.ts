/** Which rows of a long list are to be in the page: all have one height, so it is arithmetic. */

import type { RefObject } from "preact";
import { useCallback, useLayoutEffect, useState } from "preact/hooks";

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
