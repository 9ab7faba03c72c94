import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Command, Json, NodePayload, Single, Template } from "../../src/protocol/types";
import { type Change, Graph, Misfit } from "../../src/store/graph";
import { predict } from "../../src/store/predict";

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
      allowed_children: ["job"],
      properties: [
        {
          id: "status",
          name: "Status",
          type: "select",
          options: [
            { uuid: OPEN, name: "Open" },
            { uuid: DONE, name: "Done" },
          ],
        },
        { id: "note", name: "Note", type: "text" },
      ],
    },
    { id: "plain", name: "Plain", properties: [] },
  ],
};

const node = (id: string, parent_id: string | null, children: NodePayload[] = []): NodePayload => ({
  id,
  blueprint_type_id: "plain",
  parent_id,
  name: id,
  properties: { name: id },
  children,
});
const grown = () =>
  Graph.of([node("a", null, [node("b", "a", [node("c", "b")]), node("d", "a"), node("e", "a")]), node("f", null)]);

const picture = (graph: Graph) => ({
  roots: [...graph.roots],
  nodes: [...graph.nodes.values()]
    .map(({ id, type, parent, properties, children }) => ({ id, type, parent, properties, children: [...children] }))
    .sort((a, b) => (a.id < b.id ? -1 : 1)),
});

class Refused extends Error {}

/** Section 3 of the contract: the facts of a command, each index as the server states it, or a refusal. */
function facts(graph: Graph, command: Single): Change[] {
  const need = (id: string) => {
    const found = graph.get(id);
    if (!found) throw new Refused();
    return found;
  };
  const { command_type, data } = command;
  if (command_type === "CreateNode") {
    if (graph.get(data.node_id)) throw new Refused();
    const defaults: Record<string, Json> =
      data.blueprint_type_id === "job" && data.properties?.status === undefined ? { status: OPEN } : {};
    const given = Object.entries(data.properties ?? {}).filter(([, value]) => value !== null);
    const properties = {
      ...defaults,
      ...Object.fromEntries(given),
      ...(data.name === undefined ? {} : { name: data.name }),
    };
    const parent_id = data.parent_id ?? null;
    const made = { ...node(data.node_id, parent_id), blueprint_type_id: data.blueprint_type_id, properties };
    if (parent_id === null)
      return [
        { event: "node-created", node: made, index: Math.min(data.index ?? graph.roots.length, graph.roots.length) },
      ];
    const index = Math.min(data.index ?? 1e9, need(parent_id).children.length);
    return [
      { event: "node-created", node: made },
      { event: "node-linked", parent_id, child_id: data.node_id, index },
    ];
  }
  const subject = need(data.node_id);
  if (command_type === "UpdateProperty")
    return [{ event: "property-changed", node_id: data.node_id, property_id: data.property_id, new_value: data.value }];
  if (command_type === "DeleteNode") {
    const gone: Change[] = [];
    const fall = (id: string) => {
      for (const child of need(id).children) fall(child);
      const { parent } = need(id);
      if (parent !== null) gone.push({ event: "node-unlinked", parent_id: parent, child_id: id });
      gone.push({ event: "node-deleted", node_id: id });
    };
    fall(data.node_id);
    return gone;
  }
  const to = data.parent_id;
  if (to !== null && (need(to).id === subject.id || graph.path(to).includes(subject))) throw new Refused();
  const others = graph.childrenOf(to).filter((id) => id !== subject.id).length;
  const index = Math.min(data.index ?? others, others);
  if (subject.parent !== null && to === null)
    return [{ event: "node-unlinked", parent_id: subject.parent, child_id: subject.id, index }];
  const linked: Change = { event: "node-linked", parent_id: to, child_id: subject.id, index };
  if (subject.parent === null) return [linked];
  return [{ event: "node-unlinked", parent_id: subject.parent, child_id: subject.id }, linked];
}

const known = fc.constantFrom("a", "b", "c", "d", "e", "f", "n0", "n1", "gone");
const place = fc.option(fc.nat(6), { nil: undefined });
const value = fc.constantFrom<Json>(null, OPEN, DONE, "words", 3);
const given = <T extends object>(data: T): T =>
  Object.fromEntries(Object.entries(data).filter(([, each]) => each !== undefined)) as T;
const single: fc.Arbitrary<Single> = fc.oneof(
  fc
    .record({
      node_id: fc.constantFrom("n0", "n1", "n2", "a"),
      parent_id: fc.option(known, { nil: undefined }),
      blueprint_type_id: fc.constantFrom("job", "plain"),
      name: fc.option(fc.string(), { nil: undefined }),
      properties: fc.option(fc.dictionary(fc.constantFrom("status", "note", "name"), value), { nil: undefined }),
      index: place,
    })
    .map((data) => ({ command_type: "CreateNode", data: given(data) }) as Single),
  fc.record({ node_id: known }).map((data): Single => ({ command_type: "DeleteNode", data })),
  fc
    .record({ node_id: known, property_id: fc.constantFrom("name", "note"), value })
    .map((data): Single => ({ command_type: "UpdateProperty", data })),
  fc
    .record({ node_id: known, parent_id: fc.option(known), index: place })
    .map((data) => ({ command_type: "MoveNode", data: given(data) }) as Single),
);
const command: fc.Arbitrary<Command> = fc.oneof(
  single,
  fc.array(single, { minLength: 1, maxLength: 8 }).map(
    (commands): Command => ({
      command_type: "Batch",
      data: { commands },
    }),
  ),
);

describe("a prediction", () => {
  it("is what the server's facts give, and is taken back whole; what would be refused leaves the graph as it was", () => {
    const seen = { done: 0, refused: 0 };
    fc.assert(
      fc.property(fc.array(command, { minLength: 1, maxLength: 6 }), (commands) => {
        const server = grown();
        const page = grown();
        for (const each of commands) {
          const before = picture(page);
          const backs: (() => void)[] = [];
          try {
            for (const one of each.command_type === "Batch" ? each.data.commands : [each])
              for (const fact of facts(server, one)) backs.push(server.apply(fact));
          } catch (error) {
            if (!(error instanceof Refused)) throw error;
            seen.refused++;
            for (const back of backs.reverse()) back();
            expect(() => predict(page, template, each)).toThrow(Misfit);
            expect(picture(page)).toEqual(before);
            continue;
          }
          seen.done++;
          const back = predict(page, template, each);
          expect(picture(page)).toEqual(picture(server));
          back();
          expect(picture(page)).toEqual(before);
          predict(page, template, each);
        }
      }),
      { numRuns: 1_000 },
    );
    // Both happen often enough to say something.
    expect(Math.min(seen.done, seen.refused)).toBeGreaterThan(300);
  });

  it("gives a select that is not named its first option, and none that is named as null", () => {
    const graph = grown();
    const make = (node_id: string, properties: Record<string, Json>) =>
      predict(graph, template, {
        command_type: "CreateNode",
        data: { node_id, parent_id: "a", blueprint_type_id: "job", name: "N", properties },
      });
    make("x", {});
    make("y", { status: DONE });
    make("z", { status: null });
    expect(["x", "y", "z"].map((id) => graph.get(id)?.properties)).toEqual([
      { name: "N", status: OPEN },
      { name: "N", status: DONE },
      { name: "N" },
    ]);
    predict(graph, null, { command_type: "CreateNode", data: { node_id: "w", blueprint_type_id: "job", name: "N" } });
    expect(graph.get("w")?.properties).toEqual({ name: "N" });
  });

  it("clamps an index at the end", () => {
    const graph = grown();
    predict(graph, null, { command_type: "MoveNode", data: { node_id: "b", parent_id: "a", index: 99 } });
    predict(graph, null, {
      command_type: "CreateNode",
      data: { node_id: "x", parent_id: "a", blueprint_type_id: "plain", index: 99 },
    });
    expect(graph.get("a")?.children).toEqual(["d", "e", "b", "x"]);
    predict(graph, null, { command_type: "MoveNode", data: { node_id: "a", parent_id: null, index: 99 } });
    expect(graph.roots).toEqual(["f", "a"]);
  });

  it("of a batch stands on what the batch has made so far, and goes with all of it when the last one misfits", () => {
    const graph = grown();
    const before = picture(graph);
    const create: Single = { command_type: "CreateNode", data: { node_id: "x", blueprint_type_id: "plain" } };
    const below: Single = { command_type: "MoveNode", data: { node_id: "d", parent_id: "x" } };
    const wrong: Single = { command_type: "MoveNode", data: { node_id: "x", parent_id: "d" } };
    expect(() => predict(graph, null, { command_type: "Batch", data: { commands: [create, below, wrong] } })).toThrow(
      Misfit,
    );
    expect(picture(graph)).toEqual(before);
    predict(graph, null, { command_type: "Batch", data: { commands: [create, below] } });
    expect(graph.get("x")?.children).toEqual(["d"]);
  });
});
