/** Search and filters above the tree; what they say stands in the address, so that a link shows the same. */

import type { RefObject } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Icon, ToneMark, TypeIcon } from "../parts/icons";
import { below, Menu, MenuItem, type Place } from "../parts/menu";
import { type Filter, isActive, NO_FILTER } from "../store/filter";
import type { Workspace } from "../store/workspace";
import type { Actions } from "../tree/actions";

interface Props {
  workspace: Workspace;
  actions: Actions;
  input: RefObject<HTMLInputElement>;
}

export function FilterBar({ workspace, actions, input }: Props) {
  const [menu, setMenu] = useState<Place | null>(null);
  const filter = workspace.filter.value;
  const [text, setText] = useState(filter.text);
  useEffect(() => {
    if (filter.text.trim() !== text.trim()) setText(filter.text);
  }, [filter.text]);
  const found = workspace.found.value;
  const set = (next: Partial<Filter>) => {
    workspace.filter.value = { ...filter, ...next };
  };
  const template = workspace.project.template.value;

  return (
    <div class="filter-bar" role="search">
      <label class="search">
        <Icon name="search" />
        <span class="hidden">Search names and properties</span>
        <input
          ref={input}
          type="search"
          placeholder="Search"
          value={text}
          autocomplete="off"
          onInput={(event) => {
            setText(event.currentTarget.value);
            set({ text: event.currentTarget.value });
          }}
          onKeyDown={(event) => {
            if (event.key === "Escape") {
              if (isActive(filter)) workspace.filter.value = NO_FILTER;
              document.querySelector<HTMLElement>('[role="tree"]')?.focus();
            } else if (event.key === "Enter" || event.key === "ArrowDown") {
              const first = workspace.rows.value.find((row) => workspace.found.value?.matches.has(row.id));
              if (first) workspace.goTo(first.id);
              document.querySelector<HTMLElement>('[role="tree"]')?.focus();
            } else return;
            event.preventDefault();
          }}
        />
      </label>
      {template && (
        <button
          type="button"
          class="button bare"
          aria-haspopup="menu"
          aria-expanded={menu !== null}
          onClick={(event) => setMenu(below(event.currentTarget))}
        >
          <Icon name="filter" />
          Filter
        </button>
      )}
      {filter.types.map((type) => (
        <Chip
          key={type}
          words={template?.node_types.find((each) => each.id === type)?.name ?? type}
          drop={() => set({ types: filter.types.filter((each) => each !== type) })}
        />
      ))}
      {Object.entries(filter.where).map(([property, options]) => (
        <Chip
          key={property}
          words={wordsOf(workspace, property, options)}
          drop={() =>
            set({ where: Object.fromEntries(Object.entries(filter.where).filter(([each]) => each !== property)) })
          }
        />
      ))}
      <span class="found muted" role="status">
        {found && `${found.matches.size.toLocaleString()} found`}
      </span>
      {workspace.editable.value && (
        <button
          type="button"
          class="button bare add-button"
          onClick={() => actions.addSibling(workspace.selection.value.active)}
        >
          <Icon name="add" />
          Add
        </button>
      )}
      {menu && <Filters at={menu} workspace={workspace} close={() => setMenu(null)} />}
    </div>
  );
}

function Chip({ words, drop }: { words: string; drop: () => void }) {
  return (
    <button type="button" class="chip" aria-label={`Drop the filter: ${words}`} onClick={drop}>
      {words}
      <Icon name="close" />
    </button>
  );
}

function Filters({ at, workspace, close }: { at: Place; workspace: Workspace; close: () => void }) {
  const template = workspace.project.template.value;
  const filter = workspace.filter.value;
  const shown = filter.types.length
    ? template?.node_types.filter((each) => filter.types.includes(each.id))
    : template?.node_types;
  const selects = new Map(
    (shown ?? []).flatMap((type) =>
      type.properties.filter((each) => each.type === "select").map((each) => [each.id, each.name]),
    ),
  );
  const [property, setProperty] = useState<string | null>(null);
  const flip = (list: readonly string[], each: string) =>
    list.includes(each) ? list.filter((one) => one !== each) : [...list, each];
  if (property !== null) {
    // Options of one name in several types are one choice here.
    const options = (shown ?? []).flatMap(
      (type) => type.properties.find((each) => each.id === property)?.options ?? [],
    );
    const names = [...new Set(options.map((each) => each.name))];
    return (
      <Menu key={property} at={at} label={selects.get(property) ?? property} close={close}>
        {names.map((name) => {
          const same = options.filter((each) => each.name === name);
          const wanted = same.map((each) => each.uuid);
          return (
            <MenuItem
              key={name}
              act={() => {
                workspace.filter.value = { ...filter, where: { ...filter.where, [property]: wanted } };
                close();
              }}
            >
              <ToneMark option={same[0] ?? null} />
              {name}
            </MenuItem>
          );
        })}
      </Menu>
    );
  }
  return (
    <Menu at={at} label="Filter" close={close}>
      <p class="menu-title">Type</p>
      {template?.node_types.map((type) => (
        <MenuItem
          key={type.id}
          checked={filter.types.includes(type.id)}
          act={() => {
            workspace.filter.value = { ...filter, types: flip(filter.types, type.id) };
            close();
          }}
        >
          <TypeIcon type={type.id} />
          {type.name}
        </MenuItem>
      ))}
      <p class="menu-title">Property</p>
      {[...selects].map(([id, name]) => (
        <MenuItem key={id} act={() => setProperty(id)} keys="›">
          {name}
        </MenuItem>
      ))}
    </Menu>
  );
}

function wordsOf(workspace: Workspace, property: string, options: readonly string[]): string {
  for (const type of workspace.project.template.value?.node_types ?? []) {
    const known = type.properties.find((each) => each.id === property);
    const option = known?.options?.find((each) => options.includes(each.uuid));
    if (known && option) return `${known.name}: ${option.name}`;
  }
  return property;
}
