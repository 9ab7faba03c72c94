/** The selected node: where it stands, what it is like, who changed it last. */

import { useEffect, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { Icon, TypeIcon } from "../parts/icons";
import { Refusal, unreachable } from "../protocol/refusal";
import type { Property } from "../protocol/types";
import { nameOf } from "../store/graph";
import { ago, propertiesOf, typeOf } from "../store/schema";
import type { Workspace } from "../store/workspace";
import type { Actions } from "../tree/actions";
import { PropertyField } from "./fields/field";
import { visit } from "./fields/reference";

export function Inspector({ workspace, actions }: { workspace: Workspace; actions: Actions }) {
  const [added, setAdded] = useState<string | null>(null);
  const graph = workspace.graph();
  const template = workspace.project.template.value;
  const { ids, active } = workspace.selection.value;
  const node = active === null ? undefined : graph.get(active);
  if (!node) {
    return (
      <div class="panel-empty muted">
        <p>Select a node to see its details here.</p>
      </div>
    );
  }
  const type = typeOf(template, node.type);
  const path = graph.path(node.id);
  const editable = workspace.editable.value;
  const name: Property = { id: "name", name: "Name", type: "text" };
  return (
    <div class="inspector">
      {path.length > 0 && (
        <nav class="path" aria-label="Parents">
          <ol>
            {path.map((above) => (
              <li key={above.id}>
                <button type="button" onClick={() => visit(workspace, above.id)}>
                  {nameOf(above) || "No name"}
                </button>
              </li>
            ))}
          </ol>
        </nav>
      )}
      <h2>
        <TypeIcon type={node.type} />
        {type.name}
        {ids.size > 1 && <span class="muted"> · one of {ids.size} selected</span>}
      </h2>
      {type.description && <p class="muted type-words">{type.description}</p>}
      {[name, ...propertiesOf(template, node)].map((property) => (
        <PropertyField
          key={`${node.id} ${property.id}`}
          property={property}
          node={node}
          stamp={node.stamp}
          workspace={workspace}
          actions={actions}
          editable={editable}
          fresh={added === `${node.id} ${property.id}`}
        />
      ))}
      {template === null && editable && (
        <NewProperty
          key={node.id}
          workspace={workspace}
          actions={actions}
          id={node.id}
          added={(property) => setAdded(`${node.id} ${property}`)}
        />
      )}
      {workspace.past.value === null && <LastChange key={node.id} workspace={workspace} id={node.id} />}
    </div>
  );
}

/** Without a template, a node takes any property. */
function NewProperty({
  workspace,
  actions,
  id,
  added,
}: {
  workspace: Workspace;
  actions: Actions;
  id: string;
  added: (property: string) => void;
}) {
  const [wrong, setWrong] = useState<string | null>(null);
  return (
    <form
      class="new-property"
      onSubmit={(event) => {
        event.preventDefault();
        const form = event.currentTarget;
        const data = new FormData(form);
        const title = String(data.get("property")).trim();
        if (!title) return setWrong("Name the property first.");
        const kind = String(data.get("kind"));
        const property = { id: title, name: title, type: kind === "checkbox" ? "checkbox" : "text" } as const;
        const first = { number: 0, checkbox: false }[kind] ?? "";
        if (Object.hasOwn(workspace.graph().get(id)?.properties ?? {}, title))
          return setWrong("It has that property already: change it above.");
        setWrong(null);
        added(title);
        void actions.setProperty([id], property, first);
        form.reset();
      }}
    >
      <label class="label" for="new-property">
        Another property
      </label>
      <div class="name-line">
        <input id="new-property" class="field" name="property" maxLength={128} autocomplete="off" placeholder="Owner" />
        <select class="field" name="kind" aria-label="Its kind">
          <option value="text">Text</option>
          <option value="number">Number</option>
          <option value="checkbox">Yes or no</option>
        </select>
        <button type="submit" class="button square" aria-label="Add the property">
          <Icon name="add" />
        </button>
      </div>
      {wrong !== null && <p class="wrong">{wrong}</p>}
    </form>
  );
}

function LastChange({ workspace, id }: { workspace: Workspace; id: string }) {
  const { project } = workspace;
  const [looked, setLooked] = useState(false);
  void project.revision.value;
  const known = project.touches.knownFrom.value; // read before the touch: a look-up changes both
  const touch = project.touches.get(id);
  const look = (asked: boolean) => {
    void project.touches
      .lookUp(project.id, id)
      .catch((error) => {
        const { words } = error instanceof Refusal ? error : unreachable();
        if (asked) project.say("The history cannot be read", words, "refusal");
      })
      .then(() => setLooked(true));
  };
  useEffect(() => {
    if (!touch) look(false);
  }, [touch === undefined]);
  if (!touch) {
    if (!looked || known === 0) return null;
    return (
      <p class="last-change muted">
        Not changed since version {known}.{" "}
        <button type="button" class="button bare" onClick={() => look(true)}>
          Look further back
        </button>
      </p>
    );
  }
  const template = project.template.value;
  const node = project.graph.get(id);
  const property = node && propertiesOf(template, node).find((each) => each.id === touch.what);
  const what =
    touch.what === "node" ? "made it" : touch.what === "place" ? "moved it" : `changed ${property?.name ?? touch.what}`;
  return (
    <p class="last-change">
      <Avatar actor={touch.actor} small />
      <span>
        {touch.actor} {what} <span class="muted">{ago(touch.timestamp)}</span>
      </span>
    </p>
  );
}
