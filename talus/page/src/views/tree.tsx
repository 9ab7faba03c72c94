import { useEffect } from "preact/hooks";
import { Icon } from "../parts/icons";
import { NO_FILTER } from "../store/filter";
import { allowedTypes } from "../store/schema";
import { Tree } from "../tree/tree";
import type { ViewProps } from "./views";

/** The tree, or what to do where there is none. */
export function TreeView(props: ViewProps) {
  const { workspace } = props;
  const found = workspace.found.value;
  const empty = !workspace.graph().roots.length && !workspace.draft.value;
  // The keys work at once, unless somebody is at something else already.
  useEffect(() => {
    if (document.activeElement === document.body)
      document.querySelector<HTMLElement>('[role="tree"], .empty-actions button')?.focus({ preventScroll: true });
  }, [empty]);
  if (empty) return <Nothing {...props} />;
  return (
    <>
      {found && found.matches.size === 0 && (
        <div class="empty" role="status">
          <h2>Nothing matches</h2>
          <p class="muted">Try fewer words, or look at everything again.</p>
          <div class="empty-actions">
            <button
              type="button"
              class="button"
              onClick={() => {
                workspace.filter.value = NO_FILTER;
              }}
            >
              <Icon name="close" />
              Show everything
            </button>
          </div>
        </div>
      )}
      <Tree {...props} />
    </>
  );
}

function Nothing({ workspace, actions }: ViewProps) {
  const { project } = workspace;
  const editable = workspace.editable.value;
  // Wherever the focus is: there is no tree yet that could have it.
  useEffect(() => {
    if (!editable) return;
    const paste = (event: ClipboardEvent) => {
      if (!event.clipboardData || (event.target as Element).closest?.("input, textarea, dialog")) return;
      event.preventDefault();
      actions.paste(event.clipboardData);
    };
    addEventListener("paste", paste);
    return () => removeEventListener("paste", paste);
  }, [editable]);
  const [type] = allowedTypes(project.template.value, workspace.graph(), null);
  return (
    <div class="empty">
      <h2>{workspace.past.value ? "There was nothing yet" : "Nothing here yet"}</h2>
      {editable && type && (
        <>
          {project.info.value?.name === "" && project.version.value === 0 && (
            <p class="muted">This project is new. If you expected another one, check the link.</p>
          )}
          <p class="muted">Add the first node, or paste an outline from another program: each line becomes a node.</p>
          <div class="empty-actions">
            <button type="button" class="button primary" onClick={() => actions.addChild(null, type.id)}>
              <Icon name="add" />
              Add {type.name.toLowerCase()}
            </button>
          </div>
        </>
      )}
    </div>
  );
}
