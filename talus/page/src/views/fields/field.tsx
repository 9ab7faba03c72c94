/** A property as its type wants to be seen and changed. A refusal stands below the field that it is about. */

import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Refusal } from "../../protocol/refusal";
import type { Json, Property } from "../../protocol/types";
import { type Node, nameOf } from "../../store/graph";
import type { Workspace } from "../../store/workspace";
import type { Actions } from "../../tree/actions";
import { Checkbox, Select } from "./choice";
import { DateField } from "./date";
import { type Control, cut } from "./draft";
import { Markdown } from "./markdown";
import { Reference } from "./reference";
import { Text } from "./text";

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
