/** What a template says about types, places and values; and what holds where there is none. */

import type { Json, NodeType, Option, Property, Template } from "../protocol/types";
import { type Graph, type Node, nameOf } from "./graph";

/** The type of a node that is added where no template says another. */
export const PLAIN_TYPE = "item";

export function typeOf(template: Template | null, id: string): NodeType {
  return (
    template?.node_types.find((each) => each.id === id) ?? {
      id,
      name: id.charAt(0).toUpperCase() + id.slice(1),
      properties: [],
    }
  );
}

/** The types that may stand below `parent`, or among the roots; the most likely one first. */
export function allowedTypes(template: Template | null, graph: Graph, parent: string | null): NodeType[] {
  if (!template) {
    const used = new Set<string>([PLAIN_TYPE]);
    if (parent !== null)
      for (const child of graph.get(parent)?.children.slice(0, 50) ?? [])
        used.add(graph.get(child)?.type ?? PLAIN_TYPE);
    return [...used].map((id) => typeOf(null, id));
  }
  if (parent === null) return template.node_types;
  const allowed = typeOf(template, graph.get(parent)?.type ?? "").allowed_children ?? [];
  return template.node_types.filter((each) => allowed.includes(each.id));
}

export function mayHold(template: Template | null, graph: Graph, parent: string | null, type: string): boolean {
  return template === null || parent === null || allowedTypes(template, graph, parent).some((each) => each.id === type);
}

/** The properties of a node, its name apart: those of its type, or, without a template, those that it has. */
export function propertiesOf(template: Template | null, node: Node): Property[] {
  const known = template?.node_types.find((each) => each.id === node.type);
  if (known) return known.properties.filter((each) => each.id !== "name");
  return Object.keys(node.properties)
    .filter((id) => id !== "name")
    .map((id) => ({
      id,
      name: id.replaceAll("_", " ").replace(/^./, (first) => first.toUpperCase()),
      type: guess(node.properties[id]),
    }));
}

/** Whether a value is of the kind that a property has; one that is not would be refused, and all that is sent with it. */
export function takes(property: Property, value: Json): boolean {
  switch (property.type) {
    case "select":
      return property.options?.some((each) => each.uuid === value) ?? false;
    case "checkbox":
      return typeof value === "boolean";
    case "number":
    case "currency":
      return typeof value === "number";
    case "date":
      return typeof value === "string" && /^\d{4}-\d\d-\d\d$/.test(value);
    case "node_reference":
      return typeof value === "string" && /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/.test(value);
    case "url":
      return typeof value === "string" && /^(https?|ftp|mailto|tel):\S+$/i.test(value);
    default:
      return typeof value === "string";
  }
}

function guess(value: Json | undefined): Property["type"] {
  if (typeof value === "boolean") return "checkbox";
  if (typeof value === "number") return "number";
  return typeof value === "string" && value.includes("\n") ? "markdown" : "text";
}

/** The property that says how far a node is: a select whose options have marks. */
export function statusOf(template: Template | null, type: string): Property | null {
  const selects = typeOf(template, type).properties.filter((each) => each.type === "select");
  return selects.find((each) => each.options?.some((option) => option.indicator_id)) ?? null;
}

export function optionOf(property: Property | null, node: Node): Option | null {
  if (!property) return null;
  return property.options?.find((each) => each.uuid === node.properties[property.id]) ?? null;
}

/** The colour of an option, a name of styles/tokens.css. */
export type Tone = "idle" | "busy" | "done" | "stop" | "plain";

export function toneOf(option: Option | null): Tone {
  switch (option?.indicator_id) {
    case "empty":
      return "idle";
    case "half":
      return "busy";
    case "done":
      return "done";
    case "blocked":
      return "stop";
    default:
      return "plain";
  }
}

// Made once: a search reads every value of the project, and toLocaleString makes a new one each time.
const NUMBER = new Intl.NumberFormat();
const MONEY = new Intl.NumberFormat(undefined, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** A value as people read it. */
export function display(property: Property, value: Json | undefined, graph: Graph): string {
  if (value === undefined || value === null) return "";
  switch (property.type) {
    case "select":
      return property.options?.find((each) => each.uuid === value)?.name ?? String(value);
    case "checkbox":
      return value === true ? "Yes" : "No";
    case "node_reference":
      return typeof value === "string" ? nameOf(graph.get(value)) || "a node that is gone" : "";
    case "date":
      return typeof value === "string" ? day(value) : "";
    case "number":
      return typeof value === "number" ? NUMBER.format(value) : String(value);
    case "currency":
      return typeof value === "number" ? MONEY.format(value) : "";
    default:
      return typeof value === "string" ? value : JSON.stringify(value);
  }
}

/** A commit in the words of the template: the server's summary has the ids of types and properties. */
export function inWords(template: Template | null, summary: string): string {
  return summary
    .replace(/^(Set|Cleared) (.+?) of (?=["(])/, (same, verb, id) => {
      const properties = template?.node_types.flatMap((type) => type.properties) ?? [];
      const name = properties.find((each) => each.id === id)?.name;
      return name === undefined ? same : `${verb} “${name}” of `;
    })
    .replace(
      /^(Created|Deleted) (.+?) (?=["(])/,
      (_, verb, id) => `${verb} ${typeOf(template, id).name.toLowerCase()} `,
    );
}

/** A day of the calendar, short; the year where it is another one. */
export function day(text: string): string {
  const date = new Date(`${text}T00:00:00`);
  if (Number.isNaN(date.getTime())) return text;
  return (date.getFullYear() === new Date().getFullYear() ? DAY : DAY_AND_YEAR).format(date);
}

/** "just now", "5 min ago", "yesterday": how long ago a time of the server was. */
export function ago(timestamp: string, now = Date.now()): string {
  const seconds = Math.max(0, (now - Date.parse(timestamp)) / 1_000);
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (seconds < 45) return "just now";
  if (seconds < 2_700) return words.format(-Math.round(seconds / 60), "minute");
  if (seconds < 79_200) return words.format(-Math.round(seconds / 3_600), "hour");
  if (seconds < 2_160_000) return words.format(-Math.round(seconds / 86_400), "day");
  return DAY_AND_YEAR.format(new Date(timestamp));
}
