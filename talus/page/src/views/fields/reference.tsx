/** Another node of the project. */

import { useRef, useState } from "preact/hooks";
import { Icon } from "../../parts/icons";
import { NodePicker } from "../../parts/node-picker";
import { nameOf } from "../../store/graph";
import { display } from "../../store/schema";
import type { Workspace } from "../../store/workspace";
import { Clear } from "./choice";
import { type Control, useReturn } from "./draft";

export function Reference({
  id,
  property,
  value,
  editable,
  described,
  save,
  workspace,
}: Control & { workspace: Workspace }) {
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
