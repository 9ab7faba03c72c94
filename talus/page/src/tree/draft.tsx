/** The row in which a new node is typed; it is made when its name is there, and the next row follows. */

import { useLayoutEffect, useRef } from "preact/hooks";
import { TypeIcon } from "../parts/icons";
import { allowedTypes } from "../store/schema";
import type { Row, Workspace } from "../store/workspace";
import type { Actions } from "./actions";

interface Props {
  row: Row;
  top: number;
  workspace: Workspace;
  actions: Actions;
  done: () => void;
}

export function DraftRow({ row, top, workspace, actions, done }: Props) {
  const input = useRef<HTMLInputElement>(null);
  const element = useRef<HTMLDivElement>(null);
  const byKeys = useRef(false);
  const draft = workspace.draft.value;
  const types = draft ? allowedTypes(workspace.project.template.value, workspace.graph(), draft.parent) : [];

  // At once: the next key is the first letter of the name.
  useLayoutEffect(() => {
    input.current?.focus();
    element.current?.scrollIntoView({ block: "nearest" });
  }, [draft?.parent, draft?.after]);

  // The row goes while it is being typed, for what it stands below was deleted: that is an end, too.
  useLayoutEffect(() => {
    const field = input.current;
    return () => {
      if (!workspace.draft.value) return;
      actions.finishDraft(field?.value ?? "", false);
      done();
    };
  }, []);

  if (!draft) return null;

  const end = (andNext: boolean) => {
    const text = input.current?.value ?? "";
    if (input.current) input.current.value = "";
    actions.finishDraft(text, andNext);
    if (!workspace.draft.value) done();
  };
  const cancel = () => {
    if (input.current) input.current.value = "";
    workspace.draft.value = null;
    done();
  };

  return (
    <div
      class="row draft"
      ref={element}
      role="treeitem"
      aria-level={row.level}
      aria-posinset={row.position}
      aria-setsize={row.count}
      aria-selected="false"
      aria-label="New"
      style={{ transform: `translateY(${top}px)`, "--level": row.level - 1 }}
      onFocusOut={(event) => {
        // To the choice of its type and back is no way out.
        if (event.relatedTarget instanceof Element && element.current?.contains(event.relatedTarget)) return;
        if (workspace.draft.value === draft) {
          const text = input.current?.value ?? "";
          if (input.current) input.current.value = "";
          actions.finishDraft(text, false);
        }
      }}
    >
      <span class="indent" />
      <span class="twisty" />
      <TypeIcon type={draft.type} />
      <input
        class="name-input"
        ref={input}
        aria-label="Name of the new node"
        placeholder="Name, then Enter"
        maxLength={2_000}
        autocomplete="off"
        onKeyDown={(event) => {
          event.stopPropagation();
          if (event.isComposing) return;
          if (event.key === "Enter") end(event.currentTarget.value.trim() !== "");
          else if (event.key === "Escape") cancel();
        }}
        onPaste={(event) => {
          if (event.currentTarget.value.trim() || !event.clipboardData || !actions.pasteLines(event.clipboardData))
            return;
          event.preventDefault();
          done();
        }}
      />
      {types.length > 1 && (
        <select
          class="draft-type"
          aria-label="Type of the new node"
          value={draft.type}
          onKeyDown={(event) => {
            event.stopPropagation();
            byKeys.current = true;
            if (event.key === "Escape") cancel();
            else if (event.key === "Enter") input.current?.focus();
          }}
          onPointerDown={() => {
            byKeys.current = false;
          }}
          onChange={(event) => {
            workspace.draft.value = { ...draft, type: event.currentTarget.value };
            // Arrows go through all types, and Enter ends that; a click has chosen.
            if (!byKeys.current) input.current?.focus();
          }}
        >
          {types.map((type) => (
            <option key={type.id} value={type.id}>
              {type.name}
            </option>
          ))}
        </select>
      )}
    </div>
  );
}
