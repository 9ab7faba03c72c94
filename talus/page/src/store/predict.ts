/**
 * What the server will most likely make of a command: the same facts, worked out here.
 *
 * A prediction that is wrong costs nothing but a flicker, for the server's facts
 * replace it. One that does not fit throws a `Misfit`; the server's answer then tells.
 */

import type { Command, Json, Single, Template } from "../protocol/types";
import { type Change, type Graph, Misfit } from "./graph";

/** Applies the command to the graph and returns how to take all of it back. */
export function predict(graph: Graph, template: Template | null, command: Command): () => void {
  const singles = command.command_type === "Batch" ? command.data.commands : [command];
  const takeBacks: (() => void)[] = [];
  const back = () => {
    for (let at = takeBacks.length - 1; at >= 0; at--) takeBacks[at]?.();
  };
  try {
    for (const single of singles)
      for (const change of changesOf(graph, template, single)) takeBacks.push(graph.apply(change));
  } catch (error) {
    back();
    throw error;
  }
  return back;
}

/** A generator: each change is worked out on the graph that the one before has left. */
function* changesOf(graph: Graph, template: Template | null, command: Single): Generator<Change> {
  switch (command.command_type) {
    case "CreateNode": {
      const { node_id, parent_id = null, blueprint_type_id, name, properties = {}, index } = command.data;
      if (parent_id !== null && !graph.get(parent_id)) throw new Misfit(`no parent ${parent_id}`);
      const all = { ...firstOptions(template, blueprint_type_id), ...properties };
      for (const id of Object.keys(all)) if (all[id] === null) delete all[id];
      if (name !== undefined) all.name = name;
      const node = { id: node_id, blueprint_type_id, parent_id, name: name ?? "", properties: all, children: [] };
      const place = index === undefined ? {} : { index };
      yield { event: "node-created", node, ...(parent_id === null ? place : {}) };
      if (parent_id !== null)
        yield {
          event: "node-linked",
          parent_id,
          child_id: node_id,
          index: index ?? graph.childrenOf(parent_id).length,
        };
      return;
    }
    case "DeleteNode": {
      if (!graph.get(command.data.node_id)) throw new Misfit(`no node ${command.data.node_id}`);
      for (const id of graph.subtree(command.data.node_id).reverse()) {
        const parent = graph.get(id)?.parent ?? null;
        if (parent !== null) yield { event: "node-unlinked", parent_id: parent, child_id: id };
        yield { event: "node-deleted", node_id: id };
      }
      return;
    }
    case "UpdateProperty": {
      const { node_id, property_id, value } = command.data;
      yield { event: "property-changed", node_id, property_id, new_value: value };
      return;
    }
    case "MoveNode": {
      const { node_id, parent_id, index } = command.data;
      const node = graph.get(node_id);
      if (!node || (parent_id !== null && !graph.get(parent_id)))
        throw new Misfit(`no node ${node_id} or ${parent_id}`);
      if (parent_id !== null && graph.within(parent_id, node_id)) throw new Misfit(`${node_id} cannot go below itself`);
      if (node.parent !== null) yield { event: "node-unlinked", parent_id: node.parent, child_id: node_id };
      const rest = graph.childrenOf(parent_id).length - (parent_id === null ? 1 : 0);
      yield { event: "node-linked", parent_id, child_id: node_id, index: Math.min(index ?? rest, rest) };
    }
  }
}

function firstOptions(template: Template | null, type: string): Record<string, Json> {
  const chosen: Record<string, Json> = {};
  for (const property of template?.node_types.find((each) => each.id === type)?.properties ?? [])
    if (property.type === "select" && property.options?.[0]) chosen[property.id] = property.options[0].uuid;
  return chosen;
}
