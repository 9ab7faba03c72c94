/** What all controls share: what they are handed, what is being typed, where the focus goes. */

import type { RefObject } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Json, Property } from "../../protocol/types";
import type { Node } from "../../store/graph";

/** What the field hands to its control. */
export interface Control {
  id: string;
  property: Property;
  node: Node;
  value: Json;
  editable: boolean;
  described: { "aria-invalid": boolean; "aria-describedby"?: string };
  /** Tells whether it was taken; typed: what to hand back where it was not, and the field is gone. */
  save: (value: Json, typed?: string) => Promise<boolean>;
  complain: (words: string | null, typed?: string) => void;
}

export function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

interface Draft {
  text: string;
  /** What the field showed when the typing began. */
  over: string;
}

/**
 * What is being typed: it outlives changes by others, a refusal, and the field.
 *
 * read: what to save, or in words why it cannot be saved.
 */
export function useDraft(
  shown: string,
  { value, save, complain }: Control,
  read: (text: string) => { value: Json } | string,
  refused: () => void = () => {},
) {
  const [draft, setDraft] = useState<Draft | null>(null);
  // Beside the state: leaving the page, a field ends twice, by its removal and by the focus that it had.
  const current = useRef<Draft | null>(null);
  const put = (next: Draft | null) => {
    current.current = next;
    setDraft(next);
  };
  const drop = () => {
    put(null);
    complain(null);
  };
  const end = () => {
    const ended = current.current;
    if (ended === null) return;
    const { text, over } = ended;
    // Nothing is typed in the end: what somebody else has put there meanwhile stands.
    if (text === shown || text === over) return drop();
    const result = read(text);
    if (typeof result === "string") return complain(result, text);
    drop();
    if (result.value === value) return;
    void save(result.value, text).then((taken) => {
      if (taken) return;
      put(current.current ?? ended);
      refused();
    });
  };
  const latest = useRef(end);
  latest.current = end;
  useEffect(
    () => () => {
      latest.current();
      current.current = null;
    },
    [],
  );
  return {
    text: draft?.text ?? shown,
    typing: draft !== null,
    /** What somebody else has put there since the typing began. */
    meanwhile: draft !== null && draft.over !== shown ? shown : null,
    type: (text: string) => put({ text, over: current.current?.over ?? shown }),
    drop,
    end,
  };
}

export function Meanwhile({ text }: { text: string | null }) {
  if (text === null) return null;
  return (
    <p class="muted" role="status">
      {text ? `Somebody set it to “${cut(text, 80)}” meanwhile.` : "Somebody cleared it meanwhile."} Escape takes that.
    </p>
  );
}

/** Gives the focus to what stands in the place of the control that had it, and is gone. */
export function useReturn(element: RefObject<HTMLElement>, gone: boolean): void {
  const before = useRef(gone);
  useLayoutEffect(() => {
    if (before.current && !gone && document.activeElement === document.body) element.current?.focus();
    before.current = gone;
  }, [gone]);
}
