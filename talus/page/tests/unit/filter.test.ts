import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json, NodePayload, Template } from "../../src/protocol/types";
import { type Filter, find, isActive, NO_FILTER, readFilter, writeFilter } from "../../src/store/filter";
import { Graph } from "../../src/store/graph";

const id = fc.string({ minLength: 1, maxLength: 12 });
const filters: fc.Arbitrary<Filter> = fc.record({
  text: fc.string().map((text) => text.trim()),
  types: fc.uniqueArray(id),
  where: fc.dictionary(
    id.filter((each) => !["__proto__", "constructor", "prototype"].includes(each)),
    fc.uniqueArray(fc.uuid(), { minLength: 1, maxLength: 3 }),
    { noNullPrototype: true },
  ),
});

describe("a filter in the address", () => {
  it("is read again as it was written, and leaves the rest of the address alone", () => {
    fc.assert(
      fc.property(filters, filters, (first, filter) => {
        const search = new URLSearchParams("node=1&view=history");
        writeFilter(first, search);
        writeFilter(filter, search);
        expect(readFilter(new URLSearchParams(search.toString()))).toEqual(filter);
        writeFilter(NO_FILTER, search);
        expect(search.toString()).toBe("node=1&view=history");
      }),
      { numRuns: 500 },
    );
  });

  it("is as people may see it in a link", () => {
    const search = new URLSearchParams();
    writeFilter({ text: " front axle ", types: ["part", "job"], where: { status: ["u1", "u2"] } }, search);
    expect(search.toString()).toBe("q=front+axle&type=part&type=job&where=status%3Au1%2Cu2");
  });

  it("is none where the address says none, or nothing that makes sense", () => {
    for (const text of ["", "q=&type=&where=", "where=status", "where=:u1", "where=status:", "q=+++"])
      expect(isActive(readFilter(new URLSearchParams(text))), text).toBe(false);
    expect([NO_FILTER, { ...NO_FILTER, text: "a" }, { ...NO_FILTER, types: ["a"] }].map(isActive)).toEqual([
      false,
      true,
      true,
    ]);
  });
});

const OPEN = "750c253a-d5d8-44b1-b75e-0615fa7701f6";
const DONE = "d901bb3b-fe0c-4f3b-85b4-39a7e664a055";
const template: Template = {
  template_id: "t",
  name: "T",
  description: "",
  node_types: [
    {
      id: "job",
      name: "Job",
      properties: [
        {
          id: "status",
          name: "Status",
          type: "select",
          options: [
            { uuid: OPEN, name: "Not begun" },
            { uuid: DONE, name: "Finished" },
          ],
        },
        { id: "after", name: "After", type: "node_reference" },
        { id: "note", name: "Note", type: "markdown" },
      ],
    },
    { id: "part", name: "Part", properties: [{ id: "status", name: "Status", type: "text" }] },
  ],
};
const node = (
  name: string,
  type: string,
  properties: Record<string, Json> = {},
  children: NodePayload[] = [],
  parent_id: string | null = null,
): NodePayload => ({
  id: name,
  blueprint_type_id: type,
  parent_id,
  name,
  properties: { name, ...properties },
  children: children.map((child) => ({ ...child, parent_id: name })),
});
const grown = () =>
  Graph.of([
    node("Car", "job", { status: OPEN }, [
      node("Front Axle", "job", { status: DONE, note: "Torque: 90 Nm" }, [node("Bolt", "part", { status: "lost" })]),
      node("Brakes", "job", { status: OPEN, after: "Front Axle" }),
    ]),
    node("Garage", "part"),
  ]);
const matches = (filter: Partial<Filter>, graph = grown(), by: Template | null = template) =>
  [...find(graph, by, { ...NO_FILTER, ...filter }).matches].sort();

describe("a search", () => {
  it("finds all words in any order, in names and in properties as people read them", () => {
    expect(matches({ text: "AXLE front" })).toEqual(["Brakes", "Front Axle"]); // Brakes refers to it
    expect(matches({ text: "front torque" })).toEqual(["Front Axle"]);
    expect(matches({ text: "not begun" })).toEqual(["Brakes", "Car"]);
    expect(matches({ text: "lost" })).toEqual(["Bolt"]);
    expect(matches({ text: OPEN })).toEqual([]); // nobody reads a uuid
    expect(matches({ text: "axle nowhere" })).toEqual([]);
    expect(matches({ text: "lost" }, grown(), null)).toEqual(["Bolt"]);
  });

  it("goes by type and by option, and everything that is asked has to hold", () => {
    expect(matches({ types: ["part"] })).toEqual(["Bolt", "Garage"]);
    expect(matches({ types: ["part", "job"] })).toHaveLength(5);
    expect(matches({ where: { status: [OPEN] } })).toEqual(["Brakes", "Car"]);
    expect(matches({ where: { status: [OPEN, DONE] } })).toEqual(["Brakes", "Car", "Front Axle"]);
    expect(matches({ where: { status: [OPEN] }, text: "axle" })).toEqual(["Brakes"]);
    expect(matches({ where: { status: [OPEN], note: ["x"] } })).toEqual([]);
    expect(matches({ where: { note: ["x"], status: [OPEN] } })).toEqual([]);
    expect(matches({ types: ["part"], text: "axle" })).toEqual([]);
  });

  it("shows the matches in their branches, and no other branch", () => {
    const found = find(grown(), template, { ...NO_FILTER, text: "bolt" });
    expect([...found.matches]).toEqual(["Bolt"]);
    expect([...found.shown].sort()).toEqual(["Bolt", "Car", "Front Axle"]);
  });

  it("sees a change at once, and its taking back", () => {
    const graph = grown();
    expect(matches({ text: "shim" }, graph)).toEqual([]);
    const back = graph.apply({ event: "property-changed", node_id: "Bolt", property_id: "name", new_value: "Shim" });
    expect(matches({ text: "shim" }, graph)).toEqual(["Bolt"]);
    expect(matches({ text: "bolt" }, graph)).toEqual([]);
    back();
    expect(matches({ text: "shim" }, graph)).toEqual([]);
    expect(matches({ text: "bolt" }, graph)).toEqual(["Bolt"]);
  });
});
