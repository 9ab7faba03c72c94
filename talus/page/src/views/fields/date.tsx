/** A day of the calendar. */

import { useRef } from "preact/hooks";
import { type Control, Meanwhile, useDraft } from "./draft";

/** Keys that change a date part by part: until the field is left, each day between may be none that is meant. */
const NO_DAY = "This is not a day of the calendar. Type its day, month and year, or choose it.";
const DATE_KEYS = /^(\d|Backspace|Delete|ArrowUp|ArrowDown)$/;

export function DateField(control: Control) {
  const { id, value, editable, described, save, complain } = control;
  const field = useRef<HTMLInputElement>(null);
  const keyed = useRef(false);
  const bad = useRef(false); // some parts are there, and they make no day
  const shown = typeof value === "string" ? value : "";
  const draft = useDraft(shown, control, (text) => (bad.current ? NO_DAY : { value: text || null }));
  const end = () => {
    keyed.current = false;
    bad.current = field.current?.validity.badInput ?? bad.current;
    if (bad.current) complain(NO_DAY);
    else if (draft.typing) draft.end();
    else complain(null);
  };
  return (
    <>
      <input
        ref={field}
        id={id}
        class="field"
        type="date"
        max="9999-12-31"
        {...described}
        disabled={!editable}
        value={draft.text}
        onInput={(event) => {
          const text = event.currentTarget.value;
          bad.current = event.currentTarget.validity.badInput;
          if (keyed.current || bad.current) draft.type(text);
          else if (text !== shown) void save(text || null);
        }}
        onBlur={end}
        onKeyDown={(event) => {
          if (DATE_KEYS.test(event.key) && !event.altKey) keyed.current = true;
          if (event.key === "Enter") end();
          else if (event.key === "Escape") {
            event.currentTarget.value = shown; // parts that make no day too
            bad.current = false;
            draft.drop();
          } else return;
          event.preventDefault();
        }}
      />
      <Meanwhile text={draft.meanwhile} />
    </>
  );
}
