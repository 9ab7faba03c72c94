/** Text with Markdown: shown as it is meant, and written as it is. */

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Control, Meanwhile, useDraft, useReturn } from "./draft";

export function Markdown(control: Control) {
  const { id, property, value, editable, described } = control;
  const [writing, setWriting] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const shown = typeof value === "string" ? value : "";
  const draft = useDraft(
    shown,
    control,
    (text) => ({ value: text.trim() ? text : null }),
    () => setWriting(true),
  );
  useReturn(button, writing);
  useLayoutEffect(() => {
    if (writing && document.activeElement === button.current) area.current?.focus();
  }, [writing]);
  const preview = !writing && draft.text !== "";
  return (
    <div class="markdown">
      {editable && draft.text !== "" && (
        <button
          ref={button}
          type="button"
          class="button bare"
          aria-pressed={writing}
          onClick={() => setWriting(!writing)}
          aria-label={`${writing ? "Preview" : "Write"}: ${property.name}`}
        >
          {writing ? "Preview" : "Write"}
        </button>
      )}
      {preview ? (
        <Preview id={id} name={property.name} text={draft.text} />
      ) : (
        <textarea
          ref={area}
          id={id}
          class="field"
          rows={6}
          {...described}
          readOnly={!editable}
          placeholder={editable ? "Markdown" : ""}
          value={draft.text}
          onInput={(event) => {
            draft.type(event.currentTarget.value);
            setWriting(true);
          }}
          onBlur={draft.end}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) draft.end();
            else if (event.key === "Escape") draft.drop();
            else return;
            setWriting(false);
          }}
        />
      )}
      <Meanwhile text={draft.meanwhile} />
    </div>
  );
}

/** The text as it is meant; the reader of Markdown is fetched when it is first wanted. */
function Preview({ id, name, text }: { id: string; name: string; text: string }) {
  const [html, setHtml] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    import("../../parts/markdown").then(
      ({ toHtml }) => current && setHtml(toHtml(text)),
      () => current && setHtml(null),
    );
    return () => {
      current = false;
    };
  }, [text]);
  if (html === null) return <p class="preview plain">{text}</p>;
  // The reader passes no HTML of the text on, and the page's policy runs no script in any.
  return <div id={id} class="preview" role="region" aria-label={name} dangerouslySetInnerHTML={{ __html: html }} />;
}
