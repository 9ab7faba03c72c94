import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { CreateNode, Json, Template } from "../../src/protocol/types";
import { Graph } from "../../src/store/graph";
import { predict } from "../../src/store/predict";
import { count, fits, formatOutline, type Item, itemsOf, parseOutline, plan, readItems } from "../../src/tree/outline";

const BULLETS = ["", "- ", "* ", "+ ", "• ", "– ", "1. ", "12) ", "[ ] ", "[x] ", "- [ ] ", "* [X] "];
const word = fc.string({ minLength: 1, maxLength: 8, unit: fc.constantFrom(..."abc XYZ é漢🚗.:-") });
/** A name that stands on a line as it is, without spaces at its ends and without what looks like a bullet. */
const name = word.map((text) => `N${text}`.replace(/\s+/g, " ").trim());
const { items } = fc.letrec<{ items: Item[] }>((tie) => ({
  items: fc.array(
    fc.record({
      name,
      children: fc.oneof({ depthSize: "small" }, fc.constant([]), tie("items")),
    }) as fc.Arbitrary<Item>,
    { maxLength: 4 },
  ),
}));

describe("an outline of any program", () => {
  it("is read again as it was written, whatever stands for a level, a bullet and the end of a line", () => {
    fc.assert(
      fc.property(
        items,
        fc.constantFrom("\t", "  ", "    ", " "),
        fc.constantFrom("\n", "\r\n", "\r"),
        fc.array(fc.constantFrom(...BULLETS), { minLength: 1, maxLength: 5 }),
        (all, level, end, bullets) => {
          expect(parseOutline(formatOutline(all))).toEqual(all);
          const foreign = formatOutline(all)
            .split("\n")
            .map((line, at) => {
              const depth = /^\t*/.exec(line)?.[0].length ?? 0;
              return level.repeat(depth) + (line ? (bullets[at % bullets.length] ?? "") : "") + line.slice(depth);
            })
            .join(end + (level === " " ? end : ""));
          expect(parseOutline(foreign)).toEqual(all);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("takes tabs or spaces for levels, and no bullets", () => {
    const read = parseOutline("- Hull\r\n\t* Planks\n\t\t1. Oak\n\n  [x] Caulk\n• Sails\n");
    expect(formatOutline(read)).toBe("Hull\n\tPlanks\n\t\tOak\n\tCaulk\nSails\n");
    expect(count(read)).toBe(5);
  });

  it("keeps numbers and dashes that belong to a name", () => {
    const names = ["302 V8", "3.5 litre", "-40 °C test", "1966. And after", "x - y", "[sic] label", "*loud*"];
    expect(parseOutline(names.join("\n")).map((item) => item.name)).toEqual(names);
  });

  it("keeps every branch where it is, though names be missing or of several lines", () => {
    const child: Item = { name: "child", children: [] };
    const odd: Item[] = [
      { name: "first", children: [] },
      { name: "", children: [child] },
      { name: "two\nlines\tand  spaces ", children: [child] },
    ];
    expect(formatOutline(odd)).toBe("first\nNo name\n\tchild\ntwo lines and spaces\n\tchild\n");
  });

  it("gives an item less deep than those before to the nearest one above it", () => {
    const read = parseOutline("a\n      b\n   c\n d\ne");
    expect(formatOutline(read)).toBe("a\n\tb\n\tc\n\td\ne\n");
  });

  it("is nothing where there are no words", () => {
    for (const text of ["", "\n \n\t\n", "- \n* \n1. "]) expect(parseOutline(text)).toEqual([]);
  });
});

describe("the clipboard of the page", () => {
  it("takes what the page put there, and nothing else", () => {
    fc.assert(fc.property(items, (all) => void expect(readItems(JSON.stringify(all))).toEqual(all)));
    for (const text of [
      "",
      "Hull",
      "{}",
      "[1]",
      '[{"name":"a"}]',
      '[{"name":"a","children":[{"name":1,"children":[]}]}]',
    ])
      expect(readItems(text)).toBeNull();
  });
});

const OPEN = "750c253a-d5d8-44b1-b75e-0615fa7701f6";
const template: Template = {
  template_id: "t",
  name: "T",
  description: "",
  node_types: [
    { id: "project", name: "Project", allowed_children: ["phase", "note"], properties: [] },
    {
      id: "phase",
      name: "Phase",
      allowed_children: ["job", "note"],
      properties: [{ id: "status", name: "Status", type: "select", options: [{ uuid: OPEN, name: "Open" }] }],
    },
    {
      id: "job",
      name: "Job",
      allowed_children: [],
      properties: [
        { id: "hours", name: "Hours", type: "number" },
        { id: "price", name: "Price", type: "currency" },
        { id: "done", name: "Done", type: "checkbox" },
        { id: "due", name: "Due", type: "date" },
        { id: "seller", name: "Seller", type: "url" },
        { id: "after", name: "After", type: "node_reference" },
        { id: "words", name: "Words", type: "text" },
        { id: "more", name: "More", type: "markdown" },
      ],
    },
    { id: "note", name: "Note", properties: [] },
  ],
};
const node = (id: string, blueprint_type_id: string, parent_id: string | null) => ({
  id,
  blueprint_type_id,
  parent_id,
  name: id,
  properties: { name: id, ...(blueprint_type_id === "phase" ? { status: OPEN } : {}) },
  children: [],
});
const grown = () =>
  Graph.of([
    {
      ...node("P", "project", null),
      children: [node("F", "phase", "P"), node("G", "phase", "P"), node("N", "note", "P")],
    },
  ]);

/** The tree that the commands make below `parent`, each node as "name:type". */
function made(text: string | Item[], parent: string | null, index: number, by: Template | null = template) {
  const graph = grown();
  const read = typeof text === "string" ? parseOutline(text) : text;
  const planned = plan(graph, by, read, parent, index);
  if (!planned) return null;
  for (const command of planned.commands) predict(graph, by, command);
  const told = (id: string): string => {
    const each = graph.get(id);
    const below = each?.children.map(told) ?? [];
    return `${graph.name(id)}:${each?.type}${below.length ? `(${below.join(" ")})` : ""}`;
  };
  return { planned, graph, below: graph.childrenOf(parent).map(told), total: count(read) };
}

describe("a plan of what is pasted", () => {
  it("stands in order at its index, and is one node for each line", () => {
    const at = made("a\n\tb\n\tc\nd", "P", 1);
    expect(at?.below).toEqual(["F:phase", "a:phase(b:job c:job)", "d:phase", "G:phase", "N:note"]);
    expect(at?.planned.top.map((id) => at.graph.name(id))).toEqual(["a", "d"]);
    expect([at?.planned.commands.length, at?.planned.lifted, at?.planned.dropped]).toEqual([4, 0, 0]);
  });

  it("keeps a type where the template allows it, and takes one that holds children for what has some", () => {
    const typed: Item[] = [
      { name: "x", type: "phase", children: [{ name: "y", type: "job", children: [] }] },
      { name: "z", type: "job", children: [] }, // no job below a project
    ];
    expect(made(typed, "P", 0)?.below.slice(0, 2)).toEqual(["x:phase(y:job)", "z:phase"]);
  });

  it("takes, of plain text, for what has children below it the first type that may have some", () => {
    const notesFirst = { ...template, node_types: [...template.node_types].reverse() };
    expect(made("a\n\tb\nc", "P", 0, notesFirst)?.below.slice(0, 2)).toEqual(["a:phase(b:job)", "c:note"]);
  });

  it("makes roots of the first type, and knows no types without a template", () => {
    expect(made("a\n\tb", null, 0)?.below[0]).toBe("a:project(b:phase)");
    expect(made([{ name: "a", type: "own", children: [{ name: "b", children: [] }] }], "F", 0, null)?.below).toEqual([
      "a:own(b:own)",
    ]);
  });

  it("lifts what may not stand so deep to the nearest place that takes it, in order, and counts it once", () => {
    const at = made("a\n\tb\n\t\tc\n\td\ne", "F", 0);
    expect(at?.below).toEqual(["a:job", "b:job", "c:job", "d:job", "e:job"]);
    expect(at?.planned.lifted).toBe(3);
    const deep = made("p\n\ta\n\t\tb\n\t\t\tc\n\tz", "P", 3);
    expect(deep?.below.slice(3)).toEqual(["p:phase(a:job b:job c:job z:job)"]);
    expect(deep?.planned.lifted).toBe(2);
  });

  it("loses no line and keeps their order, whatever is pasted wherever something may stand", () => {
    fc.assert(
      fc.property(items, fc.constantFrom("P", "F", null), fc.nat(3), (all, parent, index) => {
        const before = grown().childrenOf(parent);
        const at = Math.min(index, before.length);
        const done = made(all, parent, at);
        if (!done) throw new Error("nothing was planned");
        const names = (each: readonly Item[]): string[] => each.flatMap((item) => [item.name, ...names(item.children)]);
        const now = done.graph.childrenOf(parent);
        const fresh = now.slice(at, now.length - (before.length - at));
        expect(fresh).toEqual(done.planned.top);
        expect(fresh.flatMap((id) => done.graph.subtree(id)).map((id) => done.graph.name(id))).toEqual(names(all));
        expect([...now.slice(0, at), ...now.slice(at + fresh.length)]).toEqual(before);
        expect(done.planned.lifted).toBeLessThan(Math.max(1, done.total));
      }),
    );
  });

  it("is null where nothing may stand", () => {
    expect(made("a", "N", 0)).toBeNull();
  });

  it("drops properties that the type does not have, or not with such a value, and counts them", () => {
    const good: Record<string, Json> = {
      hours: 3,
      price: 1.5,
      done: false,
      due: "2026-02-28",
      seller: "https://example.org/a",
      after: OPEN,
      words: "",
      more: "# x",
    };
    const bad: Record<string, Json> = {
      hours: "3",
      price: true,
      done: 0,
      due: "tomorrow",
      seller: "shop",
      after: "the other",
      words: 5,
      more: ["x"],
      colour: "red",
    };
    const job = (properties: Record<string, Json>): Item => ({ name: "j", type: "job", properties, children: [] });
    const propertiesOf = (at: ReturnType<typeof made>) =>
      (at?.planned.commands[0] as CreateNode | undefined)?.data.properties;
    const kept = made([job({ ...good, name: "not twice" })], "F", 0);
    expect([propertiesOf(kept), kept?.planned.dropped]).toEqual([good, 0]);
    const lost = made([job(bad)], "F", 0);
    expect([propertiesOf(lost), lost?.planned.dropped]).toEqual([undefined, 9]);
    const status = (uuid: string): Item => ({ name: "f", type: "phase", properties: { status: uuid }, children: [] });
    expect(propertiesOf(made([status(OPEN)], "P", 0))).toEqual({ status: OPEN });
    expect(made([status("of another template")], "P", 0)?.planned.dropped).toBe(1);
    expect(propertiesOf(made([job(bad)], "F", 0, null))).toEqual(bad);
  });

  it("of a copied branch makes the same branch anew", () => {
    const graph = grown();
    const planned = plan(graph, template, itemsOf(graph, ["P"]), null, 1);
    for (const command of planned?.commands ?? []) predict(graph, template, command);
    expect(itemsOf(graph, [graph.roots[1] ?? ""])).toEqual(itemsOf(graph, ["P"]));
    expect(new Set(graph.nodes.keys()).size).toBe(8);
  });
});

describe("a place for what is moved", () => {
  it("is one that the template allows, and never inside what is moved", () => {
    const graph = grown();
    expect(fits(graph, template, ["N"], "F")).toBe(true);
    expect(fits(graph, template, ["N", "G"], "F")).toBe(false); // no phase below a phase
    expect(fits(graph, template, ["P"], "F")).toBe(false);
    expect(fits(graph, null, ["P"], "F")).toBe(false);
    expect(fits(graph, null, ["G"], "F")).toBe(true);
    expect(fits(graph, template, ["F", "N"], null)).toBe(true);
    expect(fits(graph, template, ["gone"], "F")).toBe(false);
  });
});
