/** What happened, newest first; undo and redo; and the tree as it was at any version. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { Icon } from "../parts/icons";
import { Refusal, unreachable } from "../protocol/refusal";
import { rest } from "../protocol/rest";
import type { CommitLine } from "../protocol/types";
import { Graph } from "../store/graph";
import { ago } from "../store/schema";
import type { Workspace } from "../store/workspace";
import type { Actions } from "../tree/actions";

const AGAIN_MS = 400;

export function History({ workspace, actions }: { workspace: Workspace; actions: Actions }) {
  const { project } = workspace;
  const [commits, setCommits] = useState<CommitLine[] | null>(null);
  const [next, setNext] = useState<number | null>(null);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const shown = useRef<CommitLine[]>([]);
  shown.current = commits ?? [];

  /** The newest page, in front of what is known already. */
  const refresh = async () => {
    try {
      const page = await rest.history(project.id);
      const oldest = page.commits.at(-1)?.version ?? 0;
      // An undo changes what older lines say: those on the page are as of now, the others by what is undone.
      const known = shown.current.filter((each) => each.version < oldest);
      const joined = known[0]?.version === oldest - 1;
      setCommits(joined ? [...page.commits, ...known] : page.commits);
      if (!joined) setNext(page.next_before);
      setRefusal(null);
    } catch (error) {
      setRefusal(error instanceof Refusal ? error : unreachable());
    }
  };
  const more = async () => {
    if (next === null) return;
    try {
      const page = await rest.history(project.id, next);
      setCommits([...shown.current, ...page.commits]);
      setNext(page.next_before);
    } catch (error) {
      setRefusal(error instanceof Refusal ? error : unreachable());
    }
  };

  useEffect(() => {
    void refresh();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = project.onCommits(() => {
      timer ??= setTimeout(() => {
        timer = undefined;
        void refresh();
      }, AGAIN_MS);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [project]);

  const past = workspace.past.value;
  const editable = workspace.editable.value;
  const own = workspace.scope.value === "actor";
  return (
    <div class="history">
      <h2>History</h2>
      <fieldset class="scope">
        <legend class="label">Undo and redo</legend>
        <div class="segments">
          {(["actor", "session"] as const).map((scope) => (
            <label key={scope} class={workspace.scope.value === scope ? "segment chosen" : "segment"}>
              <input
                type="radio"
                name="scope"
                checked={workspace.scope.value === scope}
                onChange={() => {
                  workspace.scope.value = scope;
                }}
              />
              {scope === "actor" ? "My changes" : "Everyone's"}
            </label>
          ))}
        </div>
        <div class="undo-line">
          <button type="button" class="button" disabled={!editable} onClick={() => actions.undo()}>
            <Icon name="undo" />
            {own ? "Undo mine" : "Undo"}
          </button>
          <button type="button" class="button" disabled={!editable} onClick={() => actions.redo()}>
            <Icon name="redo" />
            {own ? "Redo mine" : "Redo"}
          </button>
        </div>
      </fieldset>
      <Slider workspace={workspace} />
      {refusal && (
        <p class="wrong" role="alert">
          {refusal.words}{" "}
          <button type="button" class="button bare" onClick={() => void refresh()}>
            Try again
          </button>
        </p>
      )}
      {commits?.length === 0 && <p class="muted">Nothing has happened yet: the first change starts the history.</p>}
      <ol class="commits" aria-label="Changes, newest first">
        {commits?.map((commit) => (
          <li key={commit.version}>
            <button
              type="button"
              class={commit.undone ? "commit undone" : "commit"}
              aria-current={past?.version === commit.version ? "true" : undefined}
              title={`Version ${commit.version}: show the project as it was then`}
              onClick={() => void travel(workspace, commit.version, commit)}
            >
              <Avatar actor={commit.actor} small />
              <span class="commit-words">
                <span>{words(commit, commits)}</span>
                <span class="muted">
                  {commit.actor}, <time dateTime={commit.timestamp}>{ago(commit.timestamp)}</time>
                  {commit.undone && " · undone"}
                </span>
              </span>
              <span class="version muted">{commit.version}</span>
            </button>
          </li>
        ))}
      </ol>
      {next !== null && (
        <button type="button" class="button" onClick={() => void more()}>
          Show earlier changes
        </button>
      )}
    </div>
  );
}

function words(commit: CommitLine, commits: readonly CommitLine[]): string {
  const target = commit.target === undefined ? undefined : commits.find((each) => each.command_id === commit.target);
  return target && (commit.command_type === "Undo" || commit.command_type === "Redo")
    ? `${commit.command_type === "Undo" ? "Undid" : "Did again"}: ${target.summary}`
    : commit.summary;
}

let travelling: AbortController | null = null;

/** Shows the project as it was at a version; at the newest one, the present. */
export async function travel(workspace: Workspace, version: number, commit: CommitLine | null = null): Promise<void> {
  const { project } = workspace;
  travelling?.abort();
  if (version >= project.version.peek()) {
    workspace.past.value = null;
    return;
  }
  const mine = new AbortController();
  travelling = mine;
  try {
    const payload = await rest.graph(project.id, version, mine.signal);
    if (mine.signal.aborted) return;
    workspace.renaming.value = null;
    workspace.draft.value = null;
    workspace.past.value = { version, graph: Graph.of(payload.roots), commit };
  } catch (error) {
    if (mine.signal.aborted) return;
    const refusal = error instanceof Refusal ? error : unreachable();
    project.say(`Version ${version} cannot be shown`, refusal.words, "refusal");
  }
}

function Slider({ workspace }: { workspace: Workspace }) {
  const { project } = workspace;
  const newest = project.version.value;
  const past = workspace.past.value;
  const [wanted, setWanted] = useState<number | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout>>();
  useEffect(() => () => clearTimeout(timer.current), []);
  const at = wanted ?? past?.version ?? newest;
  return (
    <div class="slider">
      <label class="label" for="time">
        Look back in time
      </label>
      <input
        id="time"
        type="range"
        min={0}
        max={newest}
        value={at}
        aria-valuetext={at >= newest ? "The present" : `Version ${at} of ${newest}`}
        onInput={(event) => {
          const version = Number(event.currentTarget.value);
          setWanted(version);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => void travel(workspace, version).then(() => setWanted(null)), 60);
        }}
      />
      <p class="muted">{at >= newest ? "The present" : `Version ${at} of ${newest}`}</p>
    </div>
  );
}

/** While the past is shown, nobody should take it for the present. */
export function PastBar({ workspace }: { workspace: Workspace }) {
  const past = workspace.past.value;
  if (!past) return null;
  return (
    <div class="past-bar" role="status">
      <Icon name="history" />
      <span>
        {past.commit ? `After “${past.commit.summary}”, ` : ""}version {past.version}. This is how it was: nothing can
        be changed here.
      </span>
      <button
        type="button"
        class="button primary"
        onClick={() => {
          travelling?.abort();
          workspace.past.value = null;
        }}
      >
        Back to the present
      </button>
    </div>
  );
}
