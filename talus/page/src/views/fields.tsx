/** A property as its type wants to be seen and changed. A refusal stands below the field that it is about. */

import { useEffect, useId, useState } from "preact/hooks";
import { Icon, ToneMark } from "../parts/icons";
import { NodePicker } from "../parts/node-picker";
import type { Refusal } from "../protocol/refusal";
import type { Json, Property } from "../protocol/types";
import { type Node, nameOf } from "../store/graph";
import { display, optionOf } from "../store/schema";
import type { Workspace } from "../store/workspace";
import type { Actions } from "../tree/actions";

interface Props {
  property: Property;
  node: Node;
  workspace: Workspace;
  actions: Actions;
  editable: boolean;
}

/** What the field hands to its control. */
interface Control {
  id: string;
  property: Property;
  node: Node;
  value: Json;
  editable: boolean;
  described: { "aria-invalid": boolean; "aria-describedby"?: string };
  save: (value: Json) => void;
  complain: (words: string | null) => void;
}

export function PropertyField({ property, node, workspace, actions, editable }: Props) {
  const id = useId();
  const [wrong, setWrong] = useState<string | null>(null);
  const value = node.properties[property.id] ?? null;
  const save = (next: Json) => {
    setWrong(null);
    void actions.setProperty([node.id], property, next, true).then((refusal) => {
      if (refusal) setWrong((refusal as Refusal).words);
    });
  };
  const control: Control = {
    id,
    property,
    node,
    value,
    editable,
    save,
    complain: setWrong,
    described: { "aria-invalid": wrong !== null, ...(wrong === null ? {} : { "aria-describedby": `${id}-wrong` }) },
  };
  return (
    <div class={`property type-${property.type}`}>
      {property.type === "checkbox" ? null : (
        <label class="label" for={id}>
          {property.name}
          {property.required && value === null && <span class="wanted"> · please fill in</span>}
        </label>
      )}
      <Field {...control} workspace={workspace} />
      {wrong !== null && (
        <p class="wrong" id={`${id}-wrong`} role="alert">
          {wrong}
        </p>
      )}
    </div>
  );
}

function Field(props: Control & { workspace: Workspace }) {
  switch (props.property.type) {
    case "checkbox":
      return <Checkbox {...props} />;
    case "select":
      return <Select {...props} />;
    case "date":
      return <DateField {...props} />;
    case "markdown":
      return <Markdown {...props} />;
    case "node_reference":
      return <Reference {...props} />;
    default:
      return <Text {...props} />;
  }
}

/** What is typed, read as the property's type; a string says what is wrong with it. */
function read(property: Property, text: string): { value: Json } | string {
  const clean = text.trim();
  if (property.id === "name") return { value: clean };
  if (!clean) return { value: null };
  switch (property.type) {
    case "number":
    case "currency": {
      const value = Number(
        clean
          .replace(/[\s'’_]/g, "")
          .replace(/^(-?\d+),(\d{1,2}|\d{4,})$/, "$1.$2")
          .replace(/,/g, ""),
      );
      return Number.isFinite(value)
        ? { value }
        : "This is not a number. Type digits, with a point before the decimals.";
    }
    case "url":
      if (/^(https?|ftp):\/\/\S+$|^(mailto|tel):\S+$/i.test(clean)) return { value: clean };
      if (/^[\w-]+(\.[\w-]+)+(\/\S*)?$/.test(clean)) return { value: `https://${clean}` };
      return "This is not an address. Paste it whole, from https:// on.";
    default:
      return { value: text };
  }
}

function Text({ id, property, value, editable, described, save, complain }: Control) {
  const [draft, setDraft] = useState<string | null>(null);
  const numeric = property.type === "number" || property.type === "currency";
  const shown =
    value === null
      ? ""
      : typeof value === "string"
        ? value
        : typeof value === "number"
          ? String(value)
          : JSON.stringify(value);
  const end = () => {
    if (draft === null) return;
    const result = draft === shown ? null : read(property, draft);
    if (typeof result === "string") return complain(result);
    setDraft(null);
    complain(null);
    if (result && result.value !== value) save(result.value);
  };
  const strange = value !== null && typeof value === "object";
  return (
    <div class="with-button">
      <input
        id={id}
        class="field"
        type="text"
        inputMode={numeric ? "decimal" : property.type === "url" ? "url" : "text"}
        {...described}
        readOnly={!editable || strange}
        autocomplete="off"
        value={draft ?? shown}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onBlur={end}
        onKeyDown={(event) => {
          if (event.key === "Enter" && !event.isComposing) end();
          else if (event.key === "Escape" && draft !== null) {
            setDraft(null);
            complain(null);
          } else return;
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
  );
}

function DateField({ id, value, editable, described, save, complain }: Control) {
  const shown = typeof value === "string" ? value : "";
  return (
    <input
      id={id}
      class="field"
      type="date"
      {...described}
      disabled={!editable}
      value={shown}
      onChange={(event) => {
        const field = event.currentTarget;
        if (field.validity.badInput) return complain("This day is not in the calendar. Choose another one.");
        if (field.value !== shown) save(field.value || null);
      }}
    />
  );
}

function Checkbox({ id, property, value, editable, described, save }: Control) {
  return (
    <label class="check">
      <input
        id={id}
        type="checkbox"
        {...described}
        disabled={!editable}
        checked={value === true}
        onChange={(event) => save(event.currentTarget.checked)}
      />
      {property.name}
    </label>
  );
}

function Select({ id, property, node, value, editable, described, save }: Control) {
  const option = optionOf(property, node);
  return (
    <div class="select">
      <ToneMark option={option} />
      <select
        id={id}
        class="field"
        {...described}
        disabled={!editable}
        value={typeof value === "string" ? value : ""}
        onChange={(event) => save(event.currentTarget.value || null)}
      >
        <option value="">None</option>
        {property.options?.map((each) => (
          <option key={each.uuid} value={each.uuid}>
            {each.name}
          </option>
        ))}
      </select>
    </div>
  );
}

function Reference({ id, property, value, editable, described, save, workspace }: Control & { workspace: Workspace }) {
  const [choosing, setChoosing] = useState(false);
  const graph = workspace.graph();
  const target = typeof value === "string" ? graph.get(value) : undefined;
  if (choosing)
    return (
      <NodePicker
        label={property.name}
        graph={graph}
        accepts={() => true}
        nothing="There is no node to refer to yet."
        cancel={() => setChoosing(false)}
        pick={(chosen) => {
          setChoosing(false);
          save(chosen);
        }}
      />
    );
  return (
    <div class="with-button">
      <button
        type="button"
        id={id}
        class="field reference"
        {...described}
        disabled={!editable}
        onClick={() => setChoosing(true)}
      >
        {value === null ? (
          <span class="muted">Choose a node</span>
        ) : target ? (
          nameOf(target) || "No name"
        ) : (
          <span class="muted">{display(property, value, graph)}</span>
        )}
      </button>
      {target && (
        <button
          type="button"
          class="button square"
          aria-label={`Go to ${nameOf(target)}`}
          title="Go to it"
          onClick={() => workspace.goTo(target.id)}
        >
          <Icon name="link" />
        </button>
      )}
      {value !== null && editable && (
        <button
          type="button"
          class="button square"
          aria-label={`Clear ${property.name}`}
          title="Clear"
          onClick={() => save(null)}
        >
          <Icon name="close" />
        </button>
      )}
    </div>
  );
}

function Markdown({ id, property, value, editable, described, save }: Control) {
  const [draft, setDraft] = useState<string | null>(null);
  const [writing, setWriting] = useState(false);
  const shown = typeof value === "string" ? value : "";
  const text = draft ?? shown;
  const end = () => {
    if (draft !== null && draft !== shown) save(draft.trim() ? draft : null);
    setDraft(null);
  };
  const preview = !writing && text !== "";
  return (
    <div class="markdown">
      {editable && text !== "" && (
        <button
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
        <Preview id={id} name={property.name} text={text} />
      ) : (
        <textarea
          id={id}
          class="field"
          rows={6}
          {...described}
          readOnly={!editable}
          placeholder={editable ? "Markdown" : ""}
          value={text}
          onInput={(event) => {
            setDraft(event.currentTarget.value);
            setWriting(true);
          }}
          onBlur={end}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
              end();
              setWriting(false);
            } else if (event.key === "Escape") {
              setDraft(null);
              setWriting(false);
            }
          }}
        />
      )}
    </div>
  );
}

/** The text as it is meant; the reader of Markdown is fetched when it is first wanted. */
function Preview({ id, name, text }: { id: string; name: string; text: string }) {
  const [html, setHtml] = useState<string | null>(null);
  useEffect(() => {
    let current = true;
    import("../parts/markdown").then(
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
