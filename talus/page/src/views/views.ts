/** The views of a project. Each shows the same workspace, and knows nothing of the others; a new one is a line here. */

import type { ComponentType } from "preact";
import type { Workspace } from "../store/workspace";
import type { Actions } from "../tree/actions";
import { TreeView } from "./tree";

export interface ViewProps {
  workspace: Workspace;
  actions: Actions;
  search: () => void;
  help: () => void;
}

export interface View {
  id: string;
  name: string;
  component: ComponentType<ViewProps>;
}

export const VIEWS: readonly View[] = [{ id: "tree", name: "Tree", component: TreeView }];
