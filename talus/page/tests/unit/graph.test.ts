import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Json, NodePayload } from "../../src/protocol/types";
import { type Change, Graph, Misfit } from "../../src/store/graph";

const payload = (id: string, parent: string | null = null, children: NodePayload[] = []): NodePayload => ({
  id,
  blueprint_type_id: "item",
  parent_id: parent,
  name: id,
  properties: { name: id },
  children,
});

/** Everything about a graph but its stamps. */
const picture = (graph: Graph) => ({
  roots: [...graph.roots],
  nodes: [...graph.nodes.values()]
    .map(({ id, type, parent, properties, children }) => ({ id, type, parent, properties, children: [...children] }))
    .sort((a, b) => (a.id < b.id ? -1 : 1)),
});

/** The same tree kept in another way, by lists of its own: children by parent, "" for the roots. */
class Lists {
  readonly below = new Map<string, string[]>([["", []]]);
  readonly properties = new Map<string, Record<string, Json>>();

  of(parent: string | null): string[] {
    return this.below.get(parent ?? "") ?? [];
  }
  parent(id: string): string | null | undefined {
    for (const [parent, ids] of this.below) if (ids.includes(id)) return parent === "" ? null : parent;
    return undefined;
  }
  take(id: string): void {
    for (const [parent, ids] of this.below)
      this.below.set(
        parent,
        ids.filter((each) => each !== id),
      );
  }
  put(parent: string | null, id: string, index: number): void {
    const ids = this.of(parent);
    this.below.set(parent ?? "", [...ids.slice(0, index), id, ...ids.slice(index)]);
  }
  nested(parent: string | null = null): NodePayload[] {
    return this.of(parent).map((id) => ({
      ...payload(id, parent),
      properties: this.properties.get(id) ?? {},
      children: this.nested(id),
    }));
  }
  within(id: string, above: string): boolean {
    for (let at: string | null | undefined = id; at != null; at = this.parent(at)) if (at === above) return true;
    return false;
  }
}

type Wish = { kind: number; a: number; b: number; index: number; value: Json };
const wishes = fc.array(
  fc.record({
    kind: fc.nat(6),
    a: fc.nat(1_000),
    b: fc.nat(1_000),
    index: fc.nat(12),
    value: fc.oneof(fc.constant(null), fc.string(), fc.integer(), fc.boolean()),
  }),
  { minLength: 1, maxLength: 60 },
);

/** The facts of one commit that fits, as a server would state them; what `lists` holds afterwards is the truth. */
function factsFor(lists: Lists, { kind, a, b, index, value }: Wish, fresh: string): Change[] {
  const ids = [...lists.properties.keys()];
  const id = ids[a % ids.length] ?? "";
  const parent = ids.length ? ([null, ...ids][b % (ids.length + 1)] ?? null) : null;
  const place = (of: string | null) => Math.min(index, lists.of(of).length);
  if (kind <= 1 || !ids.length) {
    const under = kind === 0 ? null : parent;
    const node = payload(fresh, under);
    lists.properties.set(fresh, node.properties);
    lists.below.set(fresh, []);
    const at = place(under);
    lists.put(under, fresh, at);
    if (under === null) return [{ event: "node-created", node, ...(index > 9 ? {} : { index: at }) }, ...lastly(at)];
    return [
      { event: "node-created", node },
      { event: "node-linked", parent_id: under, child_id: fresh, index: at },
    ];
  }
  if (kind === 2) {
    const { [`p${b % 3}`]: _, ...rest } = lists.properties.get(id) ?? {};
    lists.properties.set(id, value === null ? rest : { ...rest, [`p${b % 3}`]: value });
    return [{ event: "property-changed", node_id: id, property_id: `p${b % 3}`, new_value: value }];
  }
  if (kind === 3) {
    const facts: Change[] = [];
    const fell = (each: string): void => {
      for (const child of [...lists.of(each)].reverse()) fell(child);
      const from = lists.parent(each);
      lists.take(each);
      lists.below.delete(each);
      lists.properties.delete(each);
      if (from != null) facts.push({ event: "node-unlinked", parent_id: from, child_id: each });
      facts.push({ event: "node-deleted", node_id: each });
    };
    fell(id);
    return facts;
  }
  const from = lists.parent(id) ?? null;
  const to = kind === 4 || (parent !== null && lists.within(parent, id)) ? null : parent;
  lists.take(id);
  const at = place(to);
  lists.put(to, id, at);
  if (from !== null && to === null) return [{ event: "node-unlinked", parent_id: from, child_id: id, index: at }];
  const linked: Change = { event: "node-linked", parent_id: to, child_id: id, index: at };
  return from === null ? [linked] : [{ event: "node-unlinked", parent_id: from, child_id: id }, linked];

  // An index that is not stated means the end.
  function lastly(at: number): Change[] {
    if (index > 9 && at !== lists.of(null).length - 1) {
      lists.take(fresh);
      lists.put(null, fresh, lists.of(null).length);
    }
    return [];
  }
}

describe("the five facts", () => {
  it("hold the server's graph exactly, and each is taken back to where it was", () => {
    fc.assert(
      fc.property(wishes, (all) => {
        const graph = new Graph();
        const lists = new Lists();
        const before: ReturnType<typeof picture>[] = [];
        const backs: (() => void)[] = [];
        for (const [at, wish] of all.entries())
          for (const fact of factsFor(lists, wish, `n${at}`)) {
            before.push(picture(graph));
            backs.push(graph.apply(fact));
          }
        expect(picture(graph)).toEqual(picture(Graph.of(lists.nested())));
        while (backs.length) {
          backs.pop()?.();
          expect(picture(graph)).toEqual(before.pop());
        }
        expect(graph.nodes.size + graph.roots.length).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  it("tell the views which nodes to draw again, when they are applied and when they are taken back", () => {
    const graph = Graph.of([payload("a", null, [payload("b", "a")]), payload("c")]);
    const facts: [Change, string[]][] = [
      [{ event: "property-changed", node_id: "b", property_id: "x", new_value: 1 }, ["b"]],
      [{ event: "node-unlinked", parent_id: "a", child_id: "b" }, ["a", "b"]],
      [{ event: "node-linked", parent_id: "c", child_id: "b", index: 0 }, ["b", "c"]],
    ];
    for (const [fact, touched] of facts) {
      const stamps = () => Object.fromEntries([...graph.nodes.values()].map((node) => [node.id, node.stamp]));
      const changed = (before: Record<string, number>) => {
        const now = stamps();
        return Object.keys(now)
          .filter((id) => now[id] !== before[id])
          .sort();
      };
      const first = stamps();
      const back = graph.apply(fact);
      expect(changed(first)).toEqual(touched);
      const second = stamps();
      back();
      expect(changed(second)).toEqual(touched);
      expect(changed(first)).toEqual(touched);
      graph.apply(fact);
    }
  });
});

describe("the literal rules of the contract", () => {
  const roots = () =>
    Graph.of([payload("a"), payload("b"), payload("c", null, [payload("d", "c"), payload("e", "c")])]);

  it("give a root its index among the roots, or the end", () => {
    const graph = roots();
    graph.apply({ event: "node-created", node: payload("x"), index: 1 });
    graph.apply({ event: "node-created", node: payload("y") });
    expect(graph.roots).toEqual(["a", "x", "b", "c", "y"]);
    graph.apply({ event: "node-unlinked", parent_id: "c", child_id: "d", index: 0 });
    graph.apply({ event: "node-unlinked", parent_id: "c", child_id: "e" });
    expect(graph.roots).toEqual(["d", "a", "x", "b", "c", "y", "e"]);
    expect([graph.get("d")?.parent, graph.get("c")?.children]).toEqual([null, []]);
  });

  it("hang a node that has a parent nowhere until its link says where", () => {
    const graph = roots();
    graph.apply({ event: "node-created", node: payload("x", "c") });
    expect(graph.roots).toEqual(["a", "b", "c"]);
    expect(graph.get("c")?.children).toEqual(["d", "e"]);
    graph.apply({ event: "node-linked", parent_id: "c", child_id: "x", index: 1 });
    expect(graph.get("c")?.children).toEqual(["d", "x", "e"]);
    expect(graph.get("x")?.parent).toBe("c");
  });

  it("count an index once the node is out of its old place", () => {
    const graph = roots();
    graph.apply({ event: "node-linked", parent_id: null, child_id: "a", index: 1 });
    expect(graph.roots).toEqual(["b", "a", "c"]);
    graph.apply({ event: "node-linked", parent_id: null, child_id: "a", index: 2 });
    expect(graph.roots).toEqual(["b", "c", "a"]);
    graph.apply({ event: "node-linked", parent_id: "c", child_id: "b", index: 2 });
    expect([graph.roots, graph.get("c")?.children]).toEqual([
      ["c", "a"],
      ["d", "e", "b"],
    ]);
    graph.apply({ event: "node-unlinked", parent_id: "c", child_id: "d" });
    graph.apply({ event: "node-linked", parent_id: "c", child_id: "d", index: 1 });
    expect([graph.roots, graph.get("c")?.children]).toEqual([
      ["c", "a"],
      ["e", "d", "b"],
    ]);
  });

  it("unset a property that becomes null, and keep the name with the others", () => {
    const graph = roots();
    graph.apply({ event: "property-changed", node_id: "a", property_id: "size", new_value: false });
    expect(graph.get("a")?.properties).toEqual({ name: "a", size: false });
    graph.apply({ event: "property-changed", node_id: "a", property_id: "size", new_value: null });
    graph.apply({ event: "property-changed", node_id: "a", property_id: "name", new_value: null });
    expect(graph.get("a")?.properties).toEqual({});
    expect(graph.name("a")).toBe("");
  });

  it("tell a fact that does not fit, and change nothing then", () => {
    const misfits: Change[] = [
      { event: "node-created", node: payload("a") },
      { event: "node-deleted", node_id: "c" }, // with children
      { event: "node-deleted", node_id: "d" }, // under a parent
      { event: "node-deleted", node_id: "x" },
      { event: "property-changed", node_id: "x", property_id: "name", new_value: "" },
      { event: "node-linked", parent_id: "x", child_id: "a", index: 0 },
      { event: "node-linked", parent_id: "a", child_id: "x", index: 0 },
      { event: "node-linked", parent_id: "a", child_id: "d", index: 0 }, // under another one
      { event: "node-unlinked", parent_id: "a", child_id: "d" },
      { event: "node-unlinked", parent_id: "a", child_id: "b" },
      { event: "node-unlinked", parent_id: "x", child_id: "d" },
    ];
    for (const fact of misfits) {
      const graph = roots();
      const before = picture(graph);
      expect(() => graph.apply(fact), JSON.stringify(fact)).toThrow(Misfit);
      expect(picture(graph)).toEqual(before);
    }
  });
});

describe("a graph", () => {
  it("tells path, place and branch of a node", () => {
    const graph = Graph.of([
      payload("a", null, [payload("b", "a", [payload("c", "b"), payload("d", "b")]), payload("e", "a")]),
    ]);
    expect(graph.path("d").map((node) => node.id)).toEqual(["a", "b"]);
    expect([graph.indexOf("d"), graph.siblings("d"), graph.siblings("a")]).toEqual([1, ["c", "d"], ["a"]]);
    expect(graph.subtree("a")).toEqual(["a", "b", "c", "d", "e"]);
    expect([graph.within("d", "a"), graph.within("d", "d"), graph.within("d", "e")]).toEqual([true, true, false]);
  });

  it("is read however deep and wide it is", () => {
    let deep = payload("n0");
    for (let at = 1; at < 256; at++) deep = payload(`n${at}`, null, [{ ...deep, parent_id: `n${at}` }]);
    const wide = payload(
      "wide",
      null,
      Array.from({ length: 20_000 }, (_, at) => payload(`w${at}`, "wide")),
    );
    const graph = Graph.of([deep, wide]);
    expect(graph.nodes.size).toBe(20_257);
    expect(graph.path("n0")).toHaveLength(255);
    expect(graph.subtree("wide").at(-1)).toBe("w19999");
  });
});
