/** Which nodes are looked for, and how that is written in the address. */

import type { Template } from "../protocol/types";
import { type Graph, type Node, nameOf } from "./graph";
import { display, propertiesOf } from "./schema";

export interface Filter {
  /** Words that all have to occur, in the name or in a property. */
  text: string;
  /** Ids of types; none: any. */
  types: readonly string[];
  /** By property id, the options that are wanted; each property has to have one of its own. */
  where: Readonly<Record<string, readonly string[]>>;
}

export const NO_FILTER: Filter = { text: "", types: [], where: {} };

export function isActive(filter: Filter): boolean {
  return filter.text.trim() !== "" || filter.types.length > 0 || Object.keys(filter.where).length > 0;
}

/** `?q=bolt&type=part&where=status:uuid,uuid` */
export function readFilter(search: URLSearchParams): Filter {
  const where: Record<string, string[]> = {};
  for (const each of search.getAll("where")) {
    const colon = each.lastIndexOf(":");
    const options = each
      .slice(colon + 1)
      .split(",")
      .filter(Boolean);
    if (colon > 0 && options.length) where[each.slice(0, colon)] = options;
  }
  return { text: search.get("q") ?? "", types: search.getAll("type").filter(Boolean), where };
}

export function writeFilter(filter: Filter, search: URLSearchParams): void {
  for (const key of ["q", "type", "where"]) search.delete(key);
  if (filter.text.trim()) search.set("q", filter.text.trim());
  for (const type of filter.types) search.append("type", type);
  for (const [property, options] of Object.entries(filter.where))
    search.append("where", `${property}:${options.join(",")}`);
}

const texts = new WeakMap<Node, { stamp: number; text: string }>();

/** All that a person could look for in a node. A reference shows another node's name as of the last change of this one. */
function textOf(node: Node, template: Template | null, graph: Graph): string {
  const known = texts.get(node);
  if (known?.stamp === node.stamp) return known.text;
  const values = propertiesOf(template, node).map((property) => display(property, node.properties[property.id], graph));
  const text = [nameOf(node), ...values].join("\n").toLowerCase();
  texts.set(node, { stamp: node.stamp, text });
  return text;
}

export interface Found {
  matches: ReadonlySet<string>;
  /** The matches and all their parents. */
  shown: ReadonlySet<string>;
}

export function find(graph: Graph, template: Template | null, filter: Filter): Found {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = new Set<string>();
  const shown = new Set<string>();
  for (const node of graph.nodes.values()) {
    if (filter.types.length && !filter.types.includes(node.type)) continue;
    let fits = true;
    for (const [property, options] of Object.entries(filter.where))
      if (!options.includes(String(node.properties[property] ?? ""))) fits = false;
    if (!fits) continue;
    if (words.length) {
      const text = textOf(node, template, graph);
      if (!words.every((word) => text.includes(word))) continue;
    }
    matches.add(node.id);
    for (
      let at: Node | undefined = node;
      at && !shown.has(at.id);
      at = at.parent === null ? undefined : graph.get(at.parent)
    )
      shown.add(at.id);
  }
  return { matches, shown };
}
