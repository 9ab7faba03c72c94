/** What the server says and takes, as docs/protocol.md describes it. */

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface NodePayload {
  id: string;
  blueprint_type_id: string;
  parent_id: string | null;
  name: string;
  properties: Record<string, Json>;
  /** Nested nodes from `GET /graph`; always empty in `node-created`. */
  children: NodePayload[];
}

/** What every event to the room carries. */
interface Stated {
  session_id: string;
  /** UTC, whole seconds. */
  timestamp: string;
  version: number;
  command_id?: string;
  actor?: string;
  /** The id of the undo or redo call that caused it. */
  by?: string;
  replayed?: true;
}

export interface NodeCreated extends Stated {
  event: "node-created";
  node: NodePayload;
  /** Its place among the roots; absent: at the end. */
  index?: number;
}
export interface NodeDeleted extends Stated {
  event: "node-deleted";
  node_id: string;
}
export interface PropertyChanged extends Stated {
  event: "property-changed";
  node_id: string;
  property_id: string;
  old_value: Json;
  new_value: Json;
}
export interface NodeLinked extends Stated {
  event: "node-linked";
  parent_id: string | null;
  child_id: string;
  index: number;
}
export interface NodeUnlinked extends Stated {
  event: "node-unlinked";
  parent_id: string;
  child_id: string;
  /** Its place among the roots; absent: at the end. */
  index?: number;
}

export type GraphEvent = NodeCreated | NodeDeleted | PropertyChanged | NodeLinked | NodeUnlinked;

/** The last event of a commit: with it the commit is whole. */
export interface Closing extends Stated {
  event: "command:executed" | "command:undo" | "command:redo";
  command_id: string;
  command_type: string;
}

export type Fact = GraphEvent | Closing;

export const GRAPH_EVENTS = [
  "node-created",
  "node-deleted",
  "property-changed",
  "node-linked",
  "node-unlinked",
] as const;
export const CLOSING_EVENTS = ["command:executed", "command:undo", "command:redo"] as const;

export interface CreateNode {
  command_type: "CreateNode";
  data: {
    node_id: string;
    parent_id?: string;
    blueprint_type_id: string;
    name?: string;
    properties?: Record<string, Json>;
    index?: number;
  };
}
export interface DeleteNode {
  command_type: "DeleteNode";
  data: { node_id: string };
}
export interface UpdateProperty {
  command_type: "UpdateProperty";
  data: { node_id: string; property_id: string; value: Json };
}
export interface MoveNode {
  command_type: "MoveNode";
  /** A `parent_id` of null moves it to the roots. */
  data: { node_id: string; parent_id: string | null; index?: number };
}
export type Single = CreateNode | DeleteNode | UpdateProperty | MoveNode;
export interface Batch {
  command_type: "Batch";
  data: { commands: Single[] };
}
export type Command = Single | Batch;

/** The most commands that a `Batch` may hold. */
export const MAX_BATCH = 10_000;

export interface ErrorBody {
  code: string;
  message: string;
  details?: { index?: number; commands?: string[]; version?: number } & Record<string, Json | undefined>;
}

/** The answer to a command, an undo or a redo; of a refusal only `error`. */
export interface CommandAnswer {
  success: true;
  command_id: string;
  command_type: string;
  version: number;
  undo_available: boolean;
  redo_available: boolean;
  target?: string;
  duplicate?: true;
}

export interface PresenceState {
  /** The selected node. */
  node?: string | null;
}

export interface ClientPayload {
  client_id: string;
  actor: string;
  state: unknown;
}

export interface Joined {
  session_id: string;
  client_id: string;
  active_clients: number;
  version: number;
  epoch: string;
  resume: "live" | "current" | "replay" | "snapshot";
  created: boolean;
  clients: ClientPayload[];
}

export interface SessionLine {
  session_id: string;
  name: string;
  created_at: string;
  last_activity: string;
  active_clients: number;
  has_project: boolean;
  version: number;
}

export interface SessionInfo extends SessionLine {
  project_id: string | null;
  template_id: string | null;
  undo_available: boolean;
  redo_available: boolean;
  node_count: number;
}

export interface CommitLine {
  version: number;
  command_id: string;
  command_type: string;
  actor: string;
  timestamp: string;
  summary: string;
  undone: boolean;
  target?: string;
}

export interface GraphPayload {
  session_id: string;
  version: number;
  epoch: string;
  roots: NodePayload[];
}

export interface TemplateLine {
  template_id: string;
  name: string;
  description: string;
}

export type PropertyType =
  | "text"
  | "markdown"
  | "number"
  | "currency"
  | "date"
  | "checkbox"
  | "select"
  | "node_reference"
  | "url";

export interface Option {
  uuid: string;
  name: string;
  indicator_id?: string;
}

export interface Property {
  id: string;
  name: string;
  type: PropertyType;
  required?: boolean;
  options?: Option[];
}

export interface NodeType {
  id: string;
  name: string;
  description?: string;
  allowed_children?: string[];
  properties: Property[];
}

export interface Template {
  template_id: string;
  name: string;
  description: string;
  node_types: NodeType[];
}

export type Role = "owner" | "editor" | "viewer";
export interface Member {
  user: string;
  role: Role;
}
