/** Choosing a node by its name: a field, and the first that fit. Source: WAI-ARIA, pattern "Combobox". */

import { useEffect, useId, useLayoutEffect, useRef, useState } from "preact/hooks";
import { type Graph, type Node, nameOf } from "../store/graph";
import { TypeIcon } from "./icons";

const SHOWN = 50;

interface Props {
  label: string;
  graph: Graph;
  accepts: (node: Node) => boolean;
  /** What to say where no node is accepted. */
  nothing: string;
  pick: (id: string) => void;
  cancel?: () => void;
}

export function NodePicker({ label, graph, accepts, nothing, pick, cancel }: Props) {
  const [text, setText] = useState("");
  const [chosen, setAt] = useState(0);
  const input = useRef<HTMLInputElement>(null);
  const list = useRef<HTMLUListElement>(null);
  const id = useId();
  useLayoutEffect(() => input.current?.focus(), []); // before the next key comes

  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  // Names that begin so come first: whoever types a whole name wants that one.
  const first: Node[] = [];
  const others: Node[] = [];
  for (const node of graph.nodes.values()) {
    const name = nameOf(node).toLowerCase();
    if (!words.every((word) => name.includes(word)) || !accepts(node)) continue;
    (words[0] !== undefined && name.startsWith(words[0]) ? first : others).push(node);
    if (first.length > SHOWN || (!words.length && others.length > SHOWN)) break;
  }
  const found = [...first, ...others].slice(0, SHOWN);
  const more = first.length + others.length > SHOWN;
  const at = Math.max(0, Math.min(chosen, found.length - 1));

  useEffect(() => list.current?.children[at]?.scrollIntoView({ block: "nearest" }), [at]);

  const key = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.key === "ArrowDown") setAt(Math.min(at + 1, found.length - 1));
    else if (event.key === "ArrowUp") setAt(Math.max(0, at - 1));
    else if (event.key === "Enter") {
      const node = found[at];
      if (node) pick(node.id);
    } else if (event.key === "Escape" && cancel) cancel();
    else return;
    event.preventDefault();
  };

  return (
    <div class="picker">
      <input
        ref={input}
        class="field"
        type="text"
        role="combobox"
        aria-label={label}
        aria-expanded="true"
        aria-controls={id}
        aria-autocomplete="list"
        aria-activedescendant={found.length ? `${id}-${at}` : undefined}
        placeholder="Search by name"
        autocomplete="off"
        value={text}
        onInput={(event) => {
          setText(event.currentTarget.value);
          setAt(0);
        }}
        onKeyDown={key}
      />
      <ul class="picker-list" role="listbox" id={id} aria-label={label} ref={list}>
        {found.map((node, index) => (
          <li
            key={node.id}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === at}
            class={index === at ? "picker-item at" : "picker-item"}
            onPointerDown={(event) => event.preventDefault()}
            onClick={() => pick(node.id)}
          >
            <TypeIcon type={node.type} />
            <span>
              {nameOf(node) || "No name"}
              <small class="muted">
                {graph
                  .path(node.id)
                  .map((above) => nameOf(above) || "No name")
                  .join(" / ")}
              </small>
            </span>
          </li>
        ))}
      </ul>
      {more && <p class="muted picker-none">These are the first {SHOWN}. Type more letters for the others.</p>}
      {!found.length && (
        <p class="muted picker-none">{words.length ? "No node has that name. Try fewer letters." : nothing}</p>
      )}
    </div>
  );
}
