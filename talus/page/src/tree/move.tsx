/** Moving without a mouse: the new parent is looked for by its name. */

import { Dialog } from "../parts/dialog";
import { NodePicker } from "../parts/node-picker";
import type { Workspace } from "../store/workspace";
import type { Actions } from "./actions";
import { fits } from "./outline";

export function MoveDialog({
  workspace,
  actions,
  close,
}: {
  workspace: Workspace;
  actions: Actions;
  close: () => void;
}) {
  const graph = workspace.graph();
  const template = workspace.project.template.value;
  const ids = workspace.chosen();
  return (
    <Dialog
      title={ids.length === 1 ? `Move “${graph.name(ids[0] ?? "")}” to` : `Move ${ids.length} nodes to`}
      close={close}
    >
      <NodePicker
        label="New parent"
        graph={graph}
        accepts={(node) => fits(graph, template, ids, node.id)}
        nothing="Nowhere else does the template allow it. Escape closes this."
        pick={(id) => {
          close();
          actions.move(ids, id, graph.childrenOf(id).length);
        }}
      />
    </Dialog>
  );
}
