import { Icon, TypeIcon } from "../parts/icons";
import { NO_FILTER } from "../store/filter";
import { allowedTypes } from "../store/schema";
import { Tree } from "../tree/tree";
import type { ViewProps } from "./views";

/** The tree, or what to do where there is none. */
export function TreeView(props: ViewProps) {
  const { workspace, actions } = props;
  const graph = workspace.graph();
  const editable = workspace.editable.value;
  const found = workspace.found.value;
  if (!graph.roots.length && !workspace.draft.value) {
    const types = allowedTypes(workspace.project.template.value, graph, null);
    return (
      <div class="empty" onPaste={(event) => editable && event.clipboardData && actions.paste(event.clipboardData)}>
        <h2>{workspace.past.value ? "There was nothing yet" : "Nothing here yet"}</h2>
        {editable && (
          <>
            <p class="muted">Add the first node, or paste an outline from another program: each line becomes a node.</p>
            <div class="empty-actions">
              {types.slice(0, 1).map((type) => (
                <button
                  key={type.id}
                  type="button"
                  class="button primary"
                  autofocus
                  onClick={() => actions.addChild(null, type.id)}
                >
                  <TypeIcon type={type.id} />
                  Add {type.name.toLowerCase()}
                </button>
              ))}
            </div>
          </>
        )}
      </div>
    );
  }
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
