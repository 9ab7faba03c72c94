/** Subtrees as indented text, for other programs, and as they are, for other projects. */

import type { Json, Single, Template } from "../protocol/types";
import { type Graph, nameOf } from "../store/graph";
import { newId } from "../store/ids";
import { allowedTypes, mayHold, takes } from "../store/schema";

/** What the clipboard holds beside plain text; kept between tabs of one browser. */
export const MEDIA_TYPE = "application/x-talus-nodes+json";

export interface Item {
  name: string;
  /** Unknown where it comes from plain text. */
  type?: string;
  properties?: Record<string, Json>;
  children: Item[];
}

const BULLET = /^(?:[-*+•◦▪–]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?|^\[[ xX]\]\s+/;
const TAB = 4;

/** An outline of any program: a line is an item, deeper indentation is a level; bullets and boxes fall away. */
export function parseOutline(text: string): Item[] {
  const top: Item[] = [];
  const above: { indent: number; item: Item }[] = [];
  for (const line of text.split(/\r\n|\r|\n/)) {
    const rest = line.trimStart();
    const name = rest
      .replace(BULLET, "")
      .replace(/\p{Cc}/gu, " ")
      .trim();
    if (!name) continue;
    let indent = 0;
    for (const each of line.slice(0, line.length - rest.length)) indent += each === "\t" ? TAB - (indent % TAB) : 1;
    while (above.length && (above.at(-1)?.indent ?? 0) >= indent) above.pop();
    const item: Item = { name, children: [] };
    (above.at(-1)?.item.children ?? top).push(item);
    above.push({ indent, item });
  }
  return top;
}

export function itemsOf(graph: Graph, ids: readonly string[]): Item[] {
  return ids.flatMap((id) => {
    const node = graph.get(id);
    if (!node) return [];
    return [
      { name: nameOf(node), type: node.type, properties: node.properties, children: itemsOf(graph, node.children) },
    ];
  });
}

export function formatOutline(items: readonly Item[], level = 0): string {
  return items
    .map((item) => `${"\t".repeat(level)}${lineOf(item.name)}\n${formatOutline(item.children, level + 1)}`)
    .join("");
}

/** A name as one line that is read as a line again; without one, what stands below would have nothing above it. */
function lineOf(name: string): string {
  return name.replace(/[\s\p{Cc}]+/gu, " ").trim() || "No name";
}

export function count(items: readonly Item[]): number {
  return items.reduce((sum, item) => sum + 1 + count(item.children), 0);
}

/** What `MEDIA_TYPE` holds; null when it is something else. */
export function readItems(text: string): Item[] | null {
  try {
    const read: unknown = JSON.parse(text);
    return Array.isArray(read) && read.every(isItem) ? read : null;
  } catch {
    return null;
  }
}

function isItem(value: unknown): value is Item {
  if (typeof value !== "object" || value === null) return false;
  const item = value as Partial<Item>;
  return typeof item.name === "string" && Array.isArray(item.children) && item.children.every(isItem);
}

export interface Plan {
  commands: Single[];
  /** The new nodes that stand at the top. */
  top: string[];
  /** How many stand higher than they did, for nothing may stand below what they were under. */
  lifted: number;
  /** How many are of another type than they were. */
  retyped: number;
  /** Properties that the type here does not have, or not with such a value. */
  dropped: number;
}

/**
 * The commands that make `items` below `parent`, from `index` on.
 *
 * Types are kept where the template takes them there; else the first that it allows.
 * Returns null where nothing may stand below `parent`.
 */
export function plan(
  graph: Graph,
  template: Template | null,
  items: readonly Item[],
  parent: string | null,
  index: number,
): Plan | null {
  const choice = allowedTypes(template, graph, parent);
  if (!choice.length) return null;
  const made: Plan = { commands: [], top: [], lifted: 0, retyped: 0, dropped: 0 };
  const typeFor = (item: Item, above: string | null, allowed: readonly string[]): string | undefined => {
    if (item.type !== undefined && (template === null || allowed.includes(item.type))) return item.type;
    if (above !== null && item.children.length) {
      const holding = allowed.find(
        (id) => template?.node_types.find((each) => each.id === id)?.allowed_children?.length,
      );
      if (holding !== undefined) return holding;
    }
    return allowed[0];
  };
  const below = (type: string): string[] =>
    template === null ? [type] : (template.node_types.find((each) => each.id === type)?.allowed_children ?? []);
  const put = (
    each: readonly Item[],
    above: string | null,
    allowed: readonly string[],
    from: number | undefined,
    raised = false,
  ): string[] => {
    let place = from;
    const placed: string[] = [];
    for (const item of each) {
      const type = typeFor(item, above, allowed);
      if (type === undefined) continue;
      if (item.type !== undefined && item.type !== type) made.retyped++;
      const id = newId();
      placed.push(id);
      const properties = fitting(template, type, item.properties ?? {}, made);
      made.commands.push({
        command_type: "CreateNode",
        data: {
          node_id: id,
          ...(above === null ? {} : { parent_id: above }),
          blueprint_type_id: type,
          name: item.name,
          ...(Object.keys(properties).length ? { properties } : {}),
          ...(place === undefined ? {} : { index: place++ }),
        },
      });
      const under = below(type);
      if (item.children.length && !under.length) {
        if (!raised) made.lifted += count(item.children); // those further below included
        const lifted = put(item.children, above, allowed, place, true);
        if (place !== undefined) place += lifted.length;
        placed.push(...lifted);
      } else {
        put(item.children, id, under, undefined, raised);
      }
    }
    return placed;
  };
  made.top = put(
    items,
    parent,
    choice.map((each) => each.id),
    index,
  );
  return made;
}

/** The properties that a node of this type can take; a reference to a node of another project is kept as it is. */
function fitting(
  template: Template | null,
  type: string,
  properties: Record<string, Json>,
  made: Plan,
): Record<string, Json> {
  const kept: Record<string, Json> = {};
  const known = template?.node_types.find((each) => each.id === type)?.properties;
  for (const [id, value] of Object.entries(properties)) {
    if (id === "name") continue;
    const property = known?.find((each) => each.id === id);
    if (template === null || (property && takes(property, value))) kept[id] = value;
    else made.dropped++;
  }
  return kept;
}

/** Whether all of these may be put below `parent`. */
export function fits(graph: Graph, template: Template | null, ids: readonly string[], parent: string | null): boolean {
  return ids.every((id) => {
    const node = graph.get(id);
    return (
      node &&
      (parent === null || !graph.within(parent, id)) &&
      (node.parent === parent || mayHold(template, graph, parent, node.type))
    );
  });
}
