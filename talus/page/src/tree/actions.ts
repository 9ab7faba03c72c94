/** What a person does to the tree: each is one command, and so one step of undo. */

import type { Command, Json, Property, Single } from "../protocol/types";
import { MAX_BATCH } from "../protocol/types";
import { type Graph, nameOf } from "../store/graph";
import { newId } from "../store/ids";
import { allowedTypes, typeOf } from "../store/schema";
import type { Workspace } from "../store/workspace";
import { count, fits, formatOutline, type Item, itemsOf, MEDIA_TYPE, parseOutline, plan, readItems } from "./outline";

export class Actions {
  constructor(private readonly workspace: Workspace) {}

  private get graph(): Graph {
    return this.workspace.project.graph;
  }

  private get template() {
    return this.workspace.project.template.value;
  }

  // -- adding and naming --

  /** Begins a node after `id`, or the first root; below it where it is a template's project, which has one root. */
  addSibling(id: string | null): void {
    const node = id === null ? undefined : this.graph.get(id);
    if (node?.parent === null && this.template) return this.addChild(id);
    if (!node || id === null) this.begin(null, this.graph.roots.length);
    else this.begin(node.parent, this.graph.indexOf(id) + 1, node.type);
  }

  /** Begins the last child of `parent`. */
  addChild(parent: string | null, type?: string): void {
    if (parent !== null && !this.graph.get(parent)) return; // somebody deleted it just now
    const children = this.graph.childrenOf(parent);
    this.begin(parent, children.length, type ?? this.graph.get(children.at(-1) ?? "")?.type);
  }

  /** Makes the node that was typed, and begins the next one below it. */
  finishDraft(name: string, andNext: boolean): void {
    const draft = this.workspace.draft.value;
    this.workspace.draft.value = null;
    if (!draft || !name.trim()) return;
    if (draft.parent !== null && !this.graph.get(draft.parent))
      return this.lost(`“${name.trim()}” was not added`, draft.parent, "what it was to stand below");
    const node_id = newId();
    const index = this.workspace.placeOf(draft);
    void this.workspace.project.run(
      {
        command_type: "CreateNode",
        data: {
          node_id,
          ...(draft.parent === null ? {} : { parent_id: draft.parent }),
          blueprint_type_id: draft.type,
          name: name.trim(),
          index,
        },
      },
      `Add “${name.trim()}”`,
    );
    if (draft.parent !== null) this.workspace.toggle(draft.parent, true);
    this.workspace.select(node_id);
    if (andNext) this.workspace.draft.value = { ...draft, after: node_id, index: index + 1 };
  }

  rename(id: string, name: string): void {
    this.workspace.renaming.value = null;
    const before = this.graph.name(id);
    if (!this.graph.get(id)) return this.lost(`The name “${name.trim()}” was not saved`, id, "the node");
    if (name.trim() === before) return;
    void this.workspace.project.run(
      { command_type: "UpdateProperty", data: { node_id: id, property_id: "name", value: name.trim() } },
      `Rename “${before}” to “${name.trim()}”`,
    );
  }

  // -- properties --

  setProperty(ids: readonly string[], property: Property, value: Json, quiet = false): Promise<unknown> {
    const commands = ids
      .filter((id) => (this.graph.get(id)?.properties[property.id] ?? null) !== value)
      .map(
        (node_id): Single => ({ command_type: "UpdateProperty", data: { node_id, property_id: property.id, value } }),
      );
    return this.run(commands, `Set ${property.name} of ${this.words(ids)}`, quiet);
  }

  // -- moving --

  /** Below the sibling before it, as its last child. */
  indent(): void {
    const ids = this.workspace.chosen();
    const first = ids[0];
    if (first === undefined) return;
    const siblings = this.graph.siblings(first);
    const above = siblings[siblings.indexOf(first) - 1];
    if (above === undefined)
      return this.cannot(
        "Nothing stands before it that it could go under",
        "Move it down first, or drag it onto another one.",
      );
    this.move(ids, above, this.graph.childrenOf(above).length);
  }

  /** After its parent. */
  outdent(): void {
    const ids = this.workspace.chosen();
    const parent = this.graph.get(ids[0] ?? "")?.parent;
    if (parent === undefined || parent === null) return;
    this.move(ids, this.graph.get(parent)?.parent ?? null, this.graph.indexOf(parent) + 1);
  }

  /** One place up (-1) or down (1) among its siblings. */
  shift(by: -1 | 1): void {
    const ids = this.workspace.chosen();
    const first = ids[0];
    const last = ids.at(-1);
    if (first === undefined || last === undefined) return;
    const siblings = this.graph.siblings(first);
    const place = by < 0 ? siblings.indexOf(first) - 1 : siblings.indexOf(last) + 2;
    if (place < 0 || place > siblings.length) return;
    this.move(ids, this.graph.get(first)?.parent ?? null, place);
  }

  /** Puts nodes below `parent`, before the child that stands at `index` today; in the order given. */
  move(ids: readonly string[], parent: string | null, index: number): void {
    const where = parent === null ? "the top" : `“${this.graph.name(parent)}”`;
    if (!fits(this.graph, this.template, ids, parent)) {
      const inside = parent !== null && ids.some((id) => this.graph.within(parent, id));
      return this.cannot(
        `${this.words(ids)} cannot go to ${where}`,
        inside
          ? "Choose a place that is not inside what you move."
          : "The template does not allow that type there: choose another place.",
      );
    }
    const children = [...this.graph.childrenOf(parent)];
    const before = children.slice(index).find((id) => !ids.includes(id));
    const commands: Single[] = [];
    for (const id of ids) {
      const from = children.indexOf(id);
      if (from >= 0) children.splice(from, 1);
      const at = before === undefined ? children.length : children.indexOf(before);
      children.splice(at, 0, id);
      if (from !== at) commands.push({ command_type: "MoveNode", data: { node_id: id, parent_id: parent, index: at } });
    }
    if (parent !== null) this.workspace.toggle(parent, true);
    void this.run(commands, `Move ${this.words(ids)} to ${where}`);
    const { active } = this.workspace.selection.value;
    if (active !== null) this.workspace.show(active);
  }

  // -- deleting --

  remove(): void {
    const ids = this.workspace.chosen();
    if (!ids.length) return;
    const rows = this.workspace.rows.value;
    const gone = new Set(ids.flatMap((id) => this.graph.subtree(id)));
    const place = this.workspace.places.value.get(ids[0] ?? "") ?? 0;
    const next =
      rows.slice(place).find((row) => !gone.has(row.id)) ??
      rows
        .slice(0, place)
        .reverse()
        .find((row) => !gone.has(row.id));
    const words = this.words(ids);
    void this.run(
      ids.map((node_id) => ({ command_type: "DeleteNode", data: { node_id } })),
      `Delete ${words}`,
    );
    this.workspace.select(next?.id ?? null);
    if (gone.size > 1)
      this.workspace.project.say(
        `Deleted ${words}`,
        `${gone.size.toLocaleString()} nodes in all. Ctrl+Z brings them back.`,
      );
  }

  duplicate(): void {
    const ids = this.workspace.chosen();
    const last = ids.at(-1);
    if (last === undefined) return;
    this.insert(
      itemsOf(this.graph, ids),
      this.graph.get(last)?.parent ?? null,
      this.graph.indexOf(last) + 1,
      "Duplicate",
    );
  }

  // -- the clipboard --

  copy(data: DataTransfer): boolean {
    const items = itemsOf(this.workspace.graph(), this.workspace.chosen());
    if (!items.length) return false;
    data.setData("text/plain", formatOutline(items));
    data.setData(MEDIA_TYPE, JSON.stringify(items));
    return true;
  }

  /** Into the selected node where it may hold something; else after it. */
  paste(data: DataTransfer): void {
    const items = readItems(data.getData(MEDIA_TYPE)) ?? parseOutline(data.getData("text/plain"));
    if (!items.length) return this.cannot("There is no text to paste", "Copy some lines first: each becomes a node.");
    const { active } = this.workspace.selection.value;
    const node = active === null ? undefined : this.graph.get(active);
    const types = items.map((item) => item.type).filter((type) => type !== undefined);
    const inside = allowedTypes(this.template, this.graph, node?.id ?? null).map((each) => each.id);
    if (!node || (inside.length && (!this.template || !types.length || types.some((type) => inside.includes(type))))) {
      this.insert(items, node?.id ?? null, this.graph.childrenOf(node?.id ?? null).length, "Paste");
    } else {
      this.insert(items, node.parent, this.graph.indexOf(node.id) + 1, "Paste");
    }
  }

  /** Several lines for the row that is being typed: each becomes a node there. One line is a name: false. */
  pasteLines(data: DataTransfer): boolean {
    const draft = this.workspace.draft.value;
    const items = readItems(data.getData(MEDIA_TYPE)) ?? parseOutline(data.getData("text/plain"));
    if (!draft || count(items) < 2) return false;
    this.workspace.draft.value = null;
    this.insert(items, draft.parent, this.workspace.placeOf(draft), "Paste");
    return true;
  }

  private insert(items: readonly Item[], parent: string | null, index: number, verb: string): void {
    const total = count(items);
    if (total > MAX_BATCH)
      return this.cannot(
        `${total.toLocaleString()} nodes are too many for one step`,
        `Do it in parts of up to ${MAX_BATCH.toLocaleString()}.`,
      );
    const made = plan(this.graph, this.template, items, parent, index);
    if (!made)
      return this.cannot("Nothing can stand there", "Select another node: the template allows none below this one.");
    if (parent !== null) this.workspace.toggle(parent, true);
    const words = total === 1 ? `“${items[0]?.name}”` : `${total.toLocaleString()} nodes`;
    void this.run(made.commands, `${verb} ${words}`);
    this.workspace.selection.value = {
      ids: new Set(made.top),
      active: made.top[0] ?? null,
      anchor: made.top[0] ?? null,
    };
    if (made.top[0] !== undefined) this.workspace.show(made.top[0]);
    if (made.lifted)
      this.workspace.project.say(
        `${verb}: ${made.lifted} of them stand a level higher`,
        "The template allows nothing below what they were under.",
      );
    else if (made.retyped)
      this.workspace.project.say(
        `${verb}: ${made.retyped} of them became another type`,
        "The template does not allow their own type there.",
      );
    else if (made.dropped)
      this.workspace.project.say(
        `${verb}: ${made.dropped} properties were left out`,
        "The template here does not have them.",
      );
  }

  // -- undo --

  undo(): void {
    void this.workspace.project.undo(this.workspace.scope.value);
  }

  redo(): void {
    void this.workspace.project.redo(this.workspace.scope.value);
  }

  // -- words --

  private begin(parent: string | null, index: number, like?: string): void {
    const allowed = allowedTypes(this.template, this.graph, parent);
    const type = allowed.find((each) => each.id === like) ?? allowed[0];
    if (!type) {
      const name = typeOf(this.template, this.graph.get(parent ?? "")?.type ?? "").name;
      return this.cannot(
        `Nothing can stand below: ${name}`,
        "The template allows no children there. Insert adds a sibling instead.",
      );
    }
    this.workspace.renaming.value = null;
    const after = this.graph.childrenOf(parent)[index - 1] ?? null;
    this.workspace.draft.value = { parent, after, index, type: type.id };
  }

  private run(commands: readonly Single[], words: string, quiet = false): Promise<unknown> {
    const [first] = commands;
    if (first === undefined) return Promise.resolve(null);
    if (commands.length > MAX_BATCH) {
      this.cannot("Too many nodes for one step", `Select up to ${MAX_BATCH.toLocaleString()}.`);
      return Promise.resolve(null);
    }
    const command: Command =
      commands.length === 1 ? first : { command_type: "Batch", data: { commands: [...commands] } };
    return this.workspace.project.run(command, words, quiet);
  }

  private words(ids: readonly string[]): string {
    if (ids.length !== 1) return `${ids.length.toLocaleString()} nodes`;
    return `“${nameOf(this.graph.get(ids[0] ?? "")) || "(no name)"}”`;
  }

  /** What was typed has lost its node. */
  private lost(title: string, id: string, what: string): void {
    const who = this.workspace.project.touches.get(id)?.actor ?? "Somebody";
    this.cannot(title, `${who} deleted ${what} meanwhile. The history shows when, and can undo that.`);
  }

  private cannot(title: string, text: string): void {
    this.workspace.project.say(title, text, "refusal");
  }
}
