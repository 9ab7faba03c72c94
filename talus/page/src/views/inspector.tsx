/** The selected node: where it stands, what it is like, who changed it last. */

import { useEffect, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { Icon, TypeIcon } from "../parts/icons";
import type { Property } from "../protocol/types";
import { nameOf } from "../store/graph";
import { lastTouch } from "../store/last-touch";
import { ago, propertiesOf, typeOf } from "../store/schema";
import type { Workspace } from "../store/workspace";
import type { Actions } from "../tree/actions";
import { PropertyField } from "./fields";

export function Inspector({ workspace, actions }: { workspace: Workspace; actions: Actions }) {
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
                <button type="button" onClick={() => workspace.goTo(above.id)}>
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
          workspace={workspace}
          actions={actions}
          editable={editable}
        />
      ))}
      {template === null && editable && (
        <NewProperty key={node.id} workspace={workspace} actions={actions} id={node.id} />
      )}
      {workspace.past.value === null && <LastChange key={node.id} workspace={workspace} id={node.id} />}
    </div>
  );
}

/** Without a template, a node takes any property. */
function NewProperty({ workspace, actions, id }: { workspace: Workspace; actions: Actions; id: string }) {
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
        setWrong(
          workspace.graph().get(id)?.properties[title] === undefined
            ? null
            : "It has that property already: change it above.",
        );
        if (workspace.graph().get(id)?.properties[title] === undefined) void actions.setProperty([id], property, first);
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
  const [earlier, setEarlier] = useState<number | null>(null);
  void project.revision.value;
  const touch = project.touches.get(id);
  const look = (from?: number) => {
    let current = true;
    void lastTouch(project, id, from).then((before) => current && setEarlier(before));
    return () => {
      current = false;
    };
  };
  useEffect(() => (touch ? undefined : look()), [touch === undefined]);
  if (!touch) {
    if (earlier === null || earlier === 0) return null;
    return (
      <p class="last-change muted">
        Not changed since version {earlier}.{" "}
        <button type="button" class="button bare" onClick={() => look(earlier)}>
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
