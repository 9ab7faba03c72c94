/** The REST calls that the page makes. Each returns the answer's body or throws a `Refusal`. */

import { actor, signedOut, token } from "./identity";
import { refusalIn, strange, unreachable } from "./refusal";
import type {
  Command,
  CommandAnswer,
  CommitLine,
  Fact,
  GraphPayload,
  Member,
  Role,
  SessionInfo,
  SessionLine,
  Template,
  TemplateLine,
} from "./types";

const ROOT = "/api/v1";

type Query = Record<string, string | number | undefined>;

async function call<Answer>(
  method: string,
  path: string,
  query: Query = {},
  body?: unknown,
  signal?: AbortSignal,
): Promise<Answer> {
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
  const headers: Record<string, string> = {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (token.value !== null) headers.Authorization = `Bearer ${token.value}`;
  // fetch takes one character for each byte; the server reads the bytes as UTF-8.
  else headers["Talus-Actor"] = String.fromCharCode(...new TextEncoder().encode(actor()));
  let response: Response;
  let answer: unknown = null;
  try {
    const request: RequestInit = { method, headers };
    if (body !== undefined) request.body = JSON.stringify(body);
    if (signal) request.signal = signal;
    response = await fetch(`${ROOT}${path}${search.size ? `?${search}` : ""}`, request);
    if (response.status !== 204) answer = await response.json();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw unreachable();
  }
  if (!response.ok) {
    const refusal = refusalIn(answer) ?? strange();
    if (refusal.code === "UNAUTHENTICATED") signedOut.value = true;
    throw refusal;
  }
  return answer as Answer;
}

const session = (id: string) => `/sessions/${encodeURIComponent(id)}`;

export const rest = {
  execute: (body: { session_id: string; command_id: string } & Command) =>
    call<CommandAnswer>("POST", "/commands/execute", {}, body),
  sessions: (cursor?: string, limit = 50) =>
    call<{ sessions: SessionLine[]; total: number; next_cursor: string | null }>("GET", "/sessions", { limit, cursor }),
  createSession: (name: string) => call<{ session_id: string }>("POST", "/sessions", {}, { name }),
  createProject: (template_id: string, project_name: string) =>
    call<{ session_id: string }>("POST", "/projects", {}, { template_id, project_name }),
  deleteSession: (id: string, force: boolean) => call<null>("DELETE", session(id), force ? { force: "true" } : {}),
  info: (id: string) => call<SessionInfo>("GET", `${session(id)}/info`),
  graph: (id: string, version?: number, signal?: AbortSignal) =>
    call<GraphPayload>("GET", "/graph", { session_id: id, version }, undefined, signal),
  history: (id: string, before?: number, limit = 50) =>
    call<{ commits: CommitLine[]; next_before: number | null }>("GET", `${session(id)}/history`, { limit, before }),
  events: (id: string, since: number, limit: number) =>
    call<{ events: Fact[]; version: number; next_since: number | null }>("GET", `${session(id)}/events`, {
      since,
      limit,
    }),
  members: (id: string) => call<{ members: Member[] }>("GET", `${session(id)}/members`),
  appoint: (id: string, user: string, role: Role) =>
    call<unknown>("PUT", `${session(id)}/members/${encodeURIComponent(user)}`, {}, { role }),
  dismiss: (id: string, user: string) => call<unknown>("DELETE", `${session(id)}/members/${encodeURIComponent(user)}`),
  templates: () => call<{ templates: TemplateLine[] }>("GET", "/templates"),
  schema: (id: string) => call<Template>("GET", `/templates/${encodeURIComponent(id)}/schema`),
};
