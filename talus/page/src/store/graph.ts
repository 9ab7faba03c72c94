/**
 * The tree of a session, and the five facts that change it.
 *
 * The same literal rules as the server's: a client that applies them holds its
 * graph exactly, order of siblings included. Each step can be taken back, which
 * is how edits that are not confirmed yet stand on top of confirmed ones.
 */

import type { GraphEvent, Json, NodePayload } from "../protocol/types";

export interface Node {
  readonly id: string;
  readonly type: string;
  parent: string | null;
  properties: Record<string, Json>;
  children: string[];
  /** Grows with each change of the node; what is worked out from it can be kept until then. */
  stamp: number;
}

/** What an event states, without its envelope. */
export type Change =
  | { event: "node-created"; node: NodePayload; index?: number }
  | { event: "node-deleted"; node_id: string }
  | { event: "property-changed"; node_id: string; property_id: string; new_value: Json }
  | { event: "node-linked"; parent_id: string | null; child_id: string; index: number }
  | { event: "node-unlinked"; parent_id: string; child_id: string; index?: number };

type TakeBack = () => void;

/** A change that does not fit the graph: a fact was missed, or an edit has lost its ground. */
export class Misfit extends Error {}

let stamps = 0;

export class Graph {
  readonly nodes = new Map<string, Node>();
  readonly roots: string[] = [];

  static of(roots: NodePayload[]): Graph {
    const graph = new Graph();
    // Not recursive by depth alone: wide trees are pushed in one go.
    const left: [NodePayload, string | null][] = roots.map((root) => [root, null]);
    for (let at = 0; at < left.length; at++) {
      const [payload, parent] = left[at] as [NodePayload, string | null];
      const node = nodeOf(payload, parent);
      node.children = payload.children.map((child) => child.id);
      graph.nodes.set(node.id, node);
      for (const child of payload.children) left.push([child, node.id]);
    }
    graph.roots.push(...roots.map((root) => root.id));
    return graph;
  }

  get(id: string): Node | undefined {
    return this.nodes.get(id);
  }

  name(id: string): string {
    return nameOf(this.nodes.get(id));
  }

  /** The ids on the level of `id`, it included. */
  siblings(id: string): string[] {
    const parent = this.node(id).parent;
    return parent === null ? this.roots : this.node(parent).children;
  }

  childrenOf(id: string | null): string[] {
    return id === null ? this.roots : this.node(id).children;
  }

  indexOf(id: string): number {
    return this.siblings(id).indexOf(id);
  }

  /** Its parents, the root first. */
  path(id: string): Node[] {
    const path: Node[] = [];
    for (let node = this.nodes.get(id); node?.parent != null; ) {
      node = this.nodes.get(node.parent);
      if (node) path.unshift(node);
    }
    return path;
  }

  /** Whether `id` is `above`, or stands anywhere below it. */
  within(id: string, above: string): boolean {
    for (let at: string | null = id; at !== null; at = this.nodes.get(at)?.parent ?? null)
      if (at === above) return true;
    return false;
  }

  /** It and all below it, parents before their children, in the order of the tree. */
  subtree(id: string): string[] {
    const found: string[] = [];
    const left = [id];
    for (let at = left.pop(); at !== undefined; at = left.pop()) {
      found.push(at);
      const children = this.node(at).children;
      for (let index = children.length - 1; index >= 0; index--) left.push(children[index] as string);
    }
    return found;
  }

  apply(change: Change | GraphEvent): TakeBack {
    switch (change.event) {
      case "node-created":
        return this.create(change.node, change.index);
      case "node-deleted":
        return this.delete(change.node_id);
      case "property-changed":
        return this.set(change.node_id, change.property_id, change.new_value);
      case "node-linked":
        return this.link(change.parent_id, change.child_id, change.index);
      case "node-unlinked":
        return this.unlink(change.parent_id, change.child_id, change.index);
    }
  }

  private node(id: string): Node {
    const node = this.nodes.get(id);
    if (!node) throw new Misfit(`no node ${id}`);
    return node;
  }

  private create(payload: NodePayload, index: number | undefined): TakeBack {
    if (this.nodes.has(payload.id)) throw new Misfit(`node ${payload.id} is there already`);
    this.nodes.set(payload.id, nodeOf(payload, null));
    // One with a parent hangs nowhere until its link, the next fact, says where.
    const isRoot = payload.parent_id === null;
    if (isRoot) insert(this.roots, payload.id, index);
    return () => {
      this.nodes.delete(payload.id);
      if (isRoot) remove(this.roots, payload.id);
    };
  }

  private delete(id: string): TakeBack {
    const node = this.node(id);
    if (node.children.length) throw new Misfit(`node ${id} still has children`);
    if (node.parent !== null) throw new Misfit(`node ${id} is under ${node.parent} still`);
    const place = remove(this.roots, id);
    this.nodes.delete(id);
    return () => {
      this.nodes.set(id, node);
      if (place >= 0) this.roots.splice(place, 0, id);
    };
  }

  private set(id: string, property: string, value: Json): TakeBack {
    const node = this.node(id);
    const before = node.properties;
    const { [property]: _, ...properties } = before;
    if (value !== null) properties[property] = value;
    node.properties = properties;
    node.stamp = ++stamps;
    return () => {
      node.properties = before;
      node.stamp = ++stamps;
    };
  }

  private link(parentId: string | null, id: string, index: number): TakeBack {
    const node = this.node(id);
    const parent = parentId === null ? null : this.node(parentId);
    if (node.parent !== null) throw new Misfit(`node ${id} is under ${node.parent} still`);
    const rootPlace = remove(this.roots, id);
    insert(parent?.children ?? this.roots, id, index);
    node.parent = parentId;
    touch(node, parent);
    return () => {
      remove(parent?.children ?? this.roots, id);
      if (rootPlace >= 0) this.roots.splice(rootPlace, 0, id);
      node.parent = null;
      touch(node, parent);
    };
  }

  private unlink(parentId: string, id: string, index: number | undefined): TakeBack {
    const node = this.node(id);
    const parent = this.node(parentId);
    const place = remove(parent.children, id);
    if (place < 0) throw new Misfit(`node ${id} is not under ${parentId}`);
    node.parent = null;
    insert(this.roots, id, index);
    touch(node, parent);
    return () => {
      remove(this.roots, id);
      parent.children.splice(place, 0, id);
      node.parent = parentId;
      touch(node, parent);
    };
  }
}

export function nameOf(node: Node | undefined): string {
  const name = node?.properties.name;
  return typeof name === "string" ? name : "";
}

function nodeOf(payload: NodePayload, parent: string | null): Node {
  return {
    id: payload.id,
    type: payload.blueprint_type_id,
    parent,
    properties: payload.properties,
    children: [],
    stamp: ++stamps,
  };
}

function touch(...nodes: (Node | null)[]): void {
  for (const node of nodes) if (node) node.stamp = ++stamps;
}

function insert(list: string[], id: string, index: number | undefined): void {
  if (index === undefined || index >= list.length) list.push(id);
  else list.splice(index, 0, id);
}

/** Takes `id` out; its place, or -1 where it was not. The last place is looked at first: most often it is there. */
function remove(list: string[], id: string): number {
  const place = list.lastIndexOf(id);
  if (place >= 0) list.splice(place, 1);
  return place;
}
