/** What can be done with the selected nodes, as menus. */

import { copyText } from "../parts/clipboard";
import { Icon, ToneMark, TypeIcon } from "../parts/icons";
import { Menu, MenuItem, type Place } from "../parts/menu";
import type { Property } from "../protocol/types";
import { allowedTypes, optionOf, statusOf } from "../store/schema";
import type { Workspace } from "../store/workspace";
import type { Actions } from "./actions";

interface Props {
  at: Place;
  workspace: Workspace;
  actions: Actions;
  close: () => void;
}

/** The status property that all selected nodes share; null where their types differ in it. */
export function sharedStatus(workspace: Workspace): Property | null {
  const graph = workspace.graph();
  const template = workspace.project.template.value;
  let shared: Property | null = null;
  for (const id of workspace.selection.value.ids) {
    const node = graph.get(id);
    const status = node ? statusOf(template, node.type) : null;
    if (!status || (shared && JSON.stringify(status.options) !== JSON.stringify(shared.options))) return null;
    shared = status;
  }
  return shared;
}

export function StatusMenu({ at, workspace, actions, close }: Props) {
  const status = sharedStatus(workspace);
  const { ids, active } = workspace.selection.value;
  const node = active === null ? undefined : workspace.graph().get(active);
  return (
    <Menu at={at} label={status?.name ?? "Status"} close={close}>
      {!status && <p class="menu-title">These have no status in common</p>}
      {status?.options?.map((option) => (
        <MenuItem
          key={option.uuid}
          checked={ids.size === 1 && node !== undefined && optionOf(status, node)?.uuid === option.uuid}
          act={() => {
            close();
            void actions.setProperty([...ids], status, option.uuid);
          }}
        >
          <ToneMark option={option} />
          {option.name}
        </MenuItem>
      ))}
    </Menu>
  );
}

export function NodeMenu({
  at,
  workspace,
  actions,
  close,
  openStatus,
  openMove,
}: Props & { openStatus: () => void; openMove: () => void }) {
  const { ids, active } = workspace.selection.value;
  const graph = workspace.graph();
  const template = workspace.project.template.value;
  const one = ids.size <= 1;
  const editable = workspace.editable.value;
  const children = one && active !== null ? allowedTypes(template, graph, active) : [];
  const then = (act: () => void) => () => {
    close();
    act();
  };
  const link = async () => {
    const project = workspace.project;
    if (await copyText(workspace.linkTo(active))) project.say("Link copied", "Whoever opens it sees this node.");
    else project.say("The link could not be copied", "Copy it from the address bar of the browser.", "refusal");
  };
  return (
    <Menu at={at} label="Actions" close={close}>
      {editable && one && (
        <>
          <MenuItem
            keys="Enter"
            act={then(() => {
              workspace.renaming.value = active;
            })}
          >
            <Icon name="rename" />
            Rename
          </MenuItem>
          <MenuItem keys="Insert" act={then(() => actions.addSibling(active))}>
            <Icon name="add" />
            Add below
          </MenuItem>
          {children.length > 0 && <p class="menu-title">Add inside</p>}
          {children.map((type) => (
            <MenuItem key={type.id} act={then(() => actions.addChild(active, type.id))}>
              <TypeIcon type={type.id} />
              {type.name}
            </MenuItem>
          ))}
          <div class="menu-line" role="separator" />
        </>
      )}
      {editable && sharedStatus(workspace) && (
        <MenuItem keys="Ctrl+." act={then(openStatus)}>
          <ToneMark option={null} />
          Set status
        </MenuItem>
      )}
      {editable && (
        <>
          <MenuItem act={then(openMove)}>
            <Icon name="move" />
            Move to
          </MenuItem>
          <MenuItem keys="Ctrl+D" act={then(() => actions.duplicate())}>
            <Icon name="copy" />
            Duplicate
          </MenuItem>
        </>
      )}
      {one && (
        <MenuItem act={then(() => void link())}>
          <Icon name="link" />
          Copy link
        </MenuItem>
      )}
      {editable && (
        <>
          <div class="menu-line" role="separator" />
          <MenuItem danger keys="Del" act={then(() => actions.remove())}>
            <Icon name="delete" />
            Delete
          </MenuItem>
        </>
      )}
    </Menu>
  );
}
