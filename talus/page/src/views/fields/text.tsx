/** Text, numbers, money and addresses. */

import { Icon } from "../../parts/icons";
import { type Control, Meanwhile, useDraft } from "./draft";
import { read } from "./read";

export function Text(control: Control) {
  const { id, property, value, editable, described } = control;
  const numeric = property.type === "number" || property.type === "currency";
  const shown =
    value === null
      ? ""
      : typeof value === "string"
        ? value
        : typeof value === "number"
          ? String(value)
          : JSON.stringify(value);
  const draft = useDraft(shown, control, (text) => read(property, text));
  const strange = value !== null && typeof value === "object";
  return (
    <>
      <div class="with-button">
        <input
          id={id}
          class="field"
          type="text"
          inputMode={numeric ? "decimal" : property.type === "url" ? "url" : "text"}
          {...described}
          readOnly={!editable || strange}
          autocomplete="off"
          value={draft.text}
          onInput={(event) => draft.type(event.currentTarget.value)}
          onBlur={draft.end}
          onKeyDown={(event) => {
            if (event.key === "Enter" && !event.isComposing) draft.end();
            else if (event.key === "Escape" && draft.typing) draft.drop();
            else return;
            event.preventDefault();
          }}
        />
        {property.type === "url" && typeof value === "string" && /^(https?|ftp|mailto|tel):/i.test(value) && (
          <a
            class="button square"
            href={value}
            target="_blank"
            rel="noopener noreferrer"
            aria-label={`Open ${property.name}`}
            title="Open"
          >
            <Icon name="link" />
          </a>
        )}
      </div>
      <Meanwhile text={draft.meanwhile} />
    </>
  );
}
