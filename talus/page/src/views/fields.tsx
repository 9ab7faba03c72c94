/** A property as its type wants to be seen and changed. A refusal stands below the field that it is about. */

import type { RefObject } from "preact";
import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
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
  /** The node stays one object while it changes: by its stamp the field is drawn again. */
  stamp: number;
  workspace: Workspace;
  actions: Actions;
  editable: boolean;
  /** It has just been added: what comes next is to fill it in. */
  fresh?: boolean;
}

/** What the field hands to its control. */
interface Control {
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

/** The most that a message hands back of what was typed. */
const HANDED_BACK = 1_000;

export function PropertyField({ property, node, workspace, actions, editable, fresh }: Props) {
  const id = useId();
  const [wrong, setWrong] = useState<string | null>(null);
  const here = useRef(true);
  const value = node.properties[property.id] ?? null;
  useLayoutEffect(() => {
    if (fresh) document.getElementById(id)?.focus();
    return () => {
      here.current = false;
    };
  }, []);
  const complain = (words: string | null, typed?: string) => {
    if (here.current) return setWrong(words);
    // Another node is shown by now, or this one was deleted: it has to be said all the same.
    if (words === null) return;
    const back = typed ? ` You had typed: ${cut(typed, HANDED_BACK)}` : "";
    workspace.project.say(`Not saved: ${property.name} of “${nameOf(node) || "No name"}”`, words + back, "refusal");
  };
  const save = async (next: Json, typed?: string) => {
    if (here.current) setWrong(null);
    const refusal = (await actions.setProperty([node.id], property, next, true)) as Refusal | null;
    if (refusal) complain(refusal.words, typed);
    return refusal === null;
  };
  const control: Control = {
    id,
    property,
    node,
    value,
    editable,
    save,
    complain,
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

function cut(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

/** Digits as people group them: 1234.5, 1,234.5, 1.234,5 and 1 234,5; null where it is no number. */
function number(text: string): number | null {
  let clean = text.replace(/[\s'’_]/g, "").replace("−", "-");
  const marks = clean.match(/[.,]/g) ?? [];
  const last = marks.at(-1) ?? "";
  const mixed = marks.some((mark) => mark !== last);
  // One comma is a decimal mark, unless three digits follow it, as in 12,000.
  const decimal = mixed || marks.length === 1 ? last : "";
  if (mixed || marks.length > 1 || (last === "," && /,\d{3}$/.test(clean))) {
    const group = mixed ? (last === "." ? "," : ".") : last;
    const whole = mixed ? clean.slice(0, clean.lastIndexOf(last)) : clean;
    if (!new RegExp(`^[-+]?\\d{1,3}(\\${group}\\d{3})+$`).test(whole)) return null;
    clean = clean.replaceAll(group, "");
  }
  if (decimal === ",") clean = clean.replace(",", ".");
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(clean) ? Number(clean) : null;
}

/** What is typed, read as the property's type; a string says what is wrong with it. */
function read(property: Property, text: string): { value: Json } | string {
  const clean = text.trim();
  if (property.id === "name") return { value: clean };
  if (!clean) return { value: null };
  switch (property.type) {
    case "number":
    case "currency": {
      const value = number(property.type === "currency" ? clean.replace(/\p{Sc}/gu, "") : clean);
      return value !== null && Number.isFinite(value)
        ? { value }
        : "This is not a number. Type digits, with a point before the decimals.";
    }
    case "url":
      if (/^(https?|ftp):\/\/\S+$|^(mailto|tel):\S+$/i.test(clean)) return { value: clean };
      if (/^[^\s/:?#@]+(\.[^\s/:?#@]+)+(:\d+)?([/?#]\S*)?$/.test(clean)) return { value: `https://${clean}` };
      return "This is not an address. Paste it whole, from https:// on.";
    default:
      return { value: text };
  }
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
function useDraft(
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

function Meanwhile({ text }: { text: string | null }) {
  if (text === null) return null;
  return (
    <p class="muted" role="status">
      {text ? `Somebody set it to “${cut(text, 80)}” meanwhile.` : "Somebody cleared it meanwhile."} Escape takes that.
    </p>
  );
}

function Text(control: Control) {
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

/** Keys that change a date part by part: until the field is left, each day between may be none that is meant. */
const NO_DAY = "This is not a day of the calendar. Type its day, month and year, or choose it.";
const DATE_KEYS = /^(\d|Backspace|Delete|ArrowUp|ArrowDown)$/;

function DateField(control: Control) {
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

function Checkbox({ id, property, value, editable, described, save }: Control) {
  return (
    <div class="with-button">
      <label class="check">
        <input
          id={id}
          type="checkbox"
          {...described}
          disabled={!editable}
          checked={value === true}
          onChange={(event) => void save(event.currentTarget.checked)}
        />
        {property.name}
      </label>
      {value !== null && editable && <Clear id={id} property={property} save={save} bare />}
    </div>
  );
}

/** Unsets what a control cannot unset by itself. */
function Clear({ id, property, save, bare }: Pick<Control, "id" | "property" | "save"> & { bare?: boolean }) {
  return (
    <button
      type="button"
      class={bare ? "button bare square" : "button square"}
      aria-label={`Clear ${property.name}`}
      title="Clear"
      onClick={() => {
        document.getElementById(id)?.focus(); // this button is about to go
        void save(null);
      }}
    >
      <Icon name="close" />
    </button>
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
        onChange={(event) => void save(event.currentTarget.value || null)}
      >
        <option value="">None</option>
        {typeof value === "string" && !option && <option value={value}>An option that is gone</option>}
        {property.options?.map((each) => (
          <option key={each.uuid} value={each.uuid}>
            {each.name}
          </option>
        ))}
      </select>
    </div>
  );
}

/** Gives the focus to what stands in the place of the control that had it, and is gone. */
function useReturn(element: RefObject<HTMLElement>, gone: boolean): void {
  const before = useRef(gone);
  useLayoutEffect(() => {
    if (before.current && !gone && document.activeElement === document.body) element.current?.focus();
    before.current = gone;
  }, [gone]);
}

function Reference({ id, property, value, editable, described, save, workspace }: Control & { workspace: Workspace }) {
  const [choosing, setChoosing] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  useReturn(button, choosing);
  const graph = workspace.graph();
  const target = typeof value === "string" ? graph.get(value) : undefined;
  if (choosing && editable)
    return (
      <div
        key="picker"
        onFocusOut={(event) => {
          if (document.hasFocus() && !event.currentTarget.contains(event.relatedTarget as Element | null))
            setChoosing(false);
        }}
      >
        <NodePicker
          label={property.name}
          graph={graph}
          accepts={() => true}
          nothing="There is no node to refer to yet."
          cancel={() => setChoosing(false)}
          pick={(chosen) => {
            setChoosing(false);
            void save(chosen);
          }}
        />
      </div>
    );
  return (
    <div class="with-button" key="field">
      <button
        ref={button}
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
          onClick={() => visit(workspace, target.id)}
        >
          <Icon name="link" />
        </button>
      )}
      {value !== null && editable && <Clear id={id} property={property} save={save} />}
    </div>
  );
}

/** Goes to a node and into the tree: what was pressed is about to go. */
export function visit(workspace: Workspace, id: string): void {
  workspace.goTo(id);
  document.querySelector<HTMLElement>('[role="tree"]')?.focus();
}

function Markdown(control: Control) {
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
