/** What can be done with several nodes at once. */

import { useState } from "preact/hooks";
import { Icon, ToneMark } from "../parts/icons";
import { below, type Place } from "../parts/menu";
import type { Workspace } from "../store/workspace";
import type { Actions } from "./actions";
import { StatusMenu, sharedStatus } from "./menus";

export function SelectionBar({
  workspace,
  actions,
  openMove,
  done,
}: {
  workspace: Workspace;
  actions: Actions;
  openMove: () => void;
  /** Gives the focus back to the tree, for the bar goes. */
  done: () => void;
}) {
  const [status, setStatus] = useState<Place | null>(null);
  const { ids, active } = workspace.selection.value;
  if (ids.size < 2 || !workspace.editable.value) return null;
  return (
    <div class="selection-bar" role="toolbar" aria-label="Selected nodes">
      <strong>{ids.size.toLocaleString()} selected</strong>
      {sharedStatus(workspace) && (
        <button
          type="button"
          class="button bare"
          aria-haspopup="menu"
          onClick={(event) => setStatus(below(event.currentTarget))}
        >
          <ToneMark option={null} />
          Set status
        </button>
      )}
      <button type="button" class="button bare" onClick={openMove}>
        <Icon name="move" />
        Move to
      </button>
      <button
        type="button"
        class="button bare danger"
        onClick={() => {
          actions.remove();
          done();
        }}
      >
        <Icon name="delete" />
        Delete
      </button>
      <button
        type="button"
        class="button bare square"
        aria-label="Select one only"
        onClick={() => {
          workspace.select(active);
          done();
        }}
      >
        <Icon name="close" />
      </button>
      {status && <StatusMenu at={status} workspace={workspace} actions={actions} close={() => setStatus(null)} />}
    </div>
  );
}
