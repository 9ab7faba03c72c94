import { Component } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { Icon, ToneMark, TypeIcon } from "../parts/icons";
import type { Place } from "../parts/menu";
import type { Template } from "../protocol/types";
import { colorOf } from "../store/colors";
import { type Node, nameOf } from "../store/graph";
import type { Person } from "../store/people";
import { day, optionOf, statusOf, typeOf } from "../store/schema";
import type { Mark } from "../store/touches";
import type { Row, Workspace } from "../store/workspace";
import type { Actions } from "./actions";

/** What all rows share, and what they ask of the tree. */
export interface RowOwner {
  readonly workspace: Workspace;
  readonly actions: Actions;
  openMenu: (at: Place) => void;
  openStatus: (id: string) => void;
  /** Gives the focus back to the tree. */
  done: () => void;
}

interface Props {
  row: Row;
  node: Node;
  stamp: number;
  top: number;
  template: Template | null;
  selected: boolean;
  active: boolean;
  renaming: boolean;
  /** It is shown for what stands below it, and does not match itself. */
  dim: boolean;
  mark: Mark | undefined;
  people: Person[] | undefined;
  editable: boolean;
  owner: RowOwner;
}

export function rowId(id: string): string {
  return `row-${id}`;
}

export class TreeRow extends Component<Props> {
  override shouldComponentUpdate(next: Props): boolean {
    const { row, ...now } = this.props;
    const { row: nextRow, ...then } = next;
    const changed = (Object.keys(then) as (keyof typeof then)[]).some((key) => then[key] !== now[key]);
    return changed || (Object.keys(nextRow) as (keyof Row)[]).some((key) => nextRow[key] !== row[key]);
  }

  override render({ row, node, top, template, selected, active, renaming, dim, mark, people, editable, owner }: Props) {
    const { workspace } = owner;
    const status = statusOf(template, node.type);
    const option = optionOf(status, node);
    const due = dueOf(template, node);
    const name = nameOf(node);
    const classes = [
      "row",
      selected && "selected",
      active && "active",
      dim && "dim",
      mark && `marked person-${colorOf(mark.actor)}`,
    ];

    const click = (event: MouseEvent) => {
      if ((event.target as Element).closest("button, input")) return;
      if (event.shiftKey) workspace.selectTo(row.id);
      else if (event.ctrlKey || event.metaKey) workspace.toggleSelected(row.id);
      else workspace.select(row.id);
    };
    const context = (event: MouseEvent) => {
      if ((event.target as Element).closest("input")) return;
      event.preventDefault();
      if (!selected) workspace.select(row.id);
      owner.openMenu({ x: event.clientX, y: event.clientY });
    };
    const rename = (event: MouseEvent) => {
      if (editable && (event.target as Element).closest(".name")) workspace.renaming.value = row.id;
    };

    return (
      <div
        id={rowId(row.id)}
        class={classes.filter(Boolean).join(" ")}
        role="treeitem"
        aria-level={row.level}
        aria-posinset={row.position}
        aria-setsize={row.count}
        aria-selected={selected}
        {...(row.open === null ? {} : { "aria-expanded": row.open })}
        data-id={row.id}
        style={{ transform: `translateY(${top}px)`, "--level": row.level - 1 }}
        onClick={click}
        onDblClick={rename}
        onContextMenu={context}
      >
        <span class="indent" />
        {row.open === null ? (
          <span class="twisty" />
        ) : (
          <button
            type="button"
            class="twisty"
            tabIndex={-1}
            aria-hidden="true"
            data-open={row.open}
            onClick={() => workspace.toggle(row.id)}
          >
            <Icon name="chevron" />
          </button>
        )}
        <TypeIcon type={node.type} />
        {renaming ? (
          <NameInput
            name={name}
            save={(text) => owner.actions.rename(row.id, text)}
            cancel={() => {
              workspace.renaming.value = null;
            }}
            done={owner.done}
          />
        ) : (
          <span class={name ? "name" : "name empty"}>{name || "No name"}</span>
        )}
        <span class="hidden">, {typeOf(template, node.type).name}</span>
        {people && (
          <span class="row-people">
            {people.slice(0, 3).map((person) => (
              <Avatar key={person.client} actor={person.actor} small named />
            ))}
          </span>
        )}
        {due && <span class="due">{day(due)}</span>}
        {status && option && (
          <button
            type="button"
            class={`status tone-${option.indicator_id ?? "plain"}`}
            tabIndex={-1}
            disabled={!editable}
            onClick={() => {
              if (!selected) workspace.select(row.id);
              owner.openStatus(row.id);
            }}
          >
            <ToneMark option={option} />
            <span class="status-name">{option.name}</span>
          </button>
        )}
        <button
          type="button"
          class="more"
          tabIndex={-1}
          aria-hidden="true"
          onClick={(event) => {
            if (!selected) workspace.select(row.id);
            const box = event.currentTarget.getBoundingClientRect();
            owner.openMenu({ x: box.right - 180, y: box.bottom });
          }}
        >
          <Icon name="dots" />
        </button>
      </div>
    );
  }
}

const DUE = /due|target|deadline|until|end/;

/** The day by which it is to be done, if its type has such a property. */
function dueOf(template: Template | null, node: Node): string | null {
  const property = typeOf(template, node.type).properties.find((each) => each.type === "date" && DUE.test(each.id));
  const value = property ? node.properties[property.id] : null;
  return typeof value === "string" ? value : null;
}

export function NameInput({
  name,
  save,
  cancel,
  done,
}: {
  name: string;
  save: (text: string) => void;
  cancel: () => void;
  done: () => void;
}) {
  const input = useRef<HTMLInputElement>(null);
  const ended = useRef(false);
  const end = (act: () => void, focus: boolean) => {
    if (ended.current) return;
    ended.current = true;
    act();
    if (focus) done();
  };
  // At once: the next key is the first letter of the name.
  useLayoutEffect(() => {
    const field = input.current;
    field?.focus();
    field?.select();
    // The row goes while its name is being typed, for somebody else deleted it: that is an end, too.
    return () => end(() => save(field?.value ?? name), true);
  }, []);
  return (
    <input
      class="name-input"
      ref={input}
      aria-label="Name"
      defaultValue={name}
      maxLength={2_000}
      autocomplete="off"
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.isComposing) return;
        const text = event.currentTarget.value;
        if (event.key === "Enter") end(() => save(text), true);
        else if (event.key === "Escape") end(cancel, true);
        else if (event.key === "Tab") {
          event.preventDefault();
          end(() => save(text), true);
        }
      }}
      onBlur={(event) => {
        const text = event.currentTarget.value;
        end(() => save(text), false);
      }}
    />
  );
}
