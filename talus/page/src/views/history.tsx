/** What happened, newest first; undo and redo; and the tree as it was at any version. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { Icon } from "../parts/icons";
import { Refusal, unreachable } from "../protocol/refusal";
import { rest } from "../protocol/rest";
import type { CommitLine, Template } from "../protocol/types";
import { Graph } from "../store/graph";
import { ago, inWords } from "../store/schema";
import type { Workspace } from "../store/workspace";
import type { Actions } from "../tree/actions";

const AGAIN_MS = 400;
const PAGE = 50; // lines
const MOST = 500; // of one answer

export function History({ workspace, actions }: { workspace: Workspace; actions: Actions }) {
  const { project } = workspace;
  const [commits, setCommits] = useState<CommitLine[] | null>(null);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const turn = useRef(0);
  const shown = useRef<CommitLine[]>([]);
  shown.current = commits ?? [];
  const connection = project.connection.value;

  /** What is new, in front of what is known already. */
  const refresh = async () => {
    const mine = ++turn.current;
    const newest = shown.current[0]?.version ?? Number.POSITIVE_INFINITY;
    try {
      const { commits: page } = await rest.history(project.id, undefined, PAGE);
      const oldest = page.at(-1)?.version ?? 0;
      // More than a page happened meanwhile: the rest, down to the newest known, which tells whether the two fit.
      const gap = oldest - newest;
      if (gap > 0 && gap <= MOST) page.push(...(await rest.history(project.id, oldest, gap)).commits);
      if (mine !== turn.current) return;
      setCommits((known) => inFront(page, known ?? []));
      setRefusal(null);
    } catch (error) {
      if (mine === turn.current) setRefusal(error instanceof Refusal ? error : unreachable());
    }
  };
  const more = async () => {
    try {
      const page = await rest.history(project.id, shown.current.at(-1)?.version);
      setCommits((known) => behind(known ?? [], page.commits));
      setRefusal(null);
    } catch (error) {
      setRefusal(error instanceof Refusal ? error : unreachable());
    }
  };

  useEffect(() => {
    if (connection === "live") void refresh();
  }, [connection]);
  useEffect(() => {
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

  const lines = tell(project.template.value, commits ?? []);
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
        {lines.map(({ commit, words, undone }) => (
          <li key={commit.version}>
            <button
              type="button"
              class={undone ? "commit undone" : "commit"}
              aria-current={past?.version === commit.version ? "true" : undefined}
              title={`Version ${commit.version}: show the project as it was then`}
              onClick={() => void travel(workspace, commit.version, commit)}
            >
              <Avatar actor={commit.actor} small />
              <span class="commit-words">
                <span>{words}</span>
                <span class="muted">
                  {commit.actor}, <time dateTime={commit.timestamp}>{ago(commit.timestamp)}</time>
                  {undone && " · undone"}
                </span>
              </span>
              <span class="version muted">{commit.version}</span>
            </button>
          </li>
        ))}
      </ol>
      {(commits?.at(-1)?.version ?? 1) > 1 && (
        <button type="button" class="button" onClick={() => void more()}>
          Show earlier changes
        </button>
      )}
    </div>
  );
}

/** The newest page before the lines that are known; alone, where the two do not overlap in the same commit. */
function inFront(page: CommitLine[], known: CommitLine[]): CommitLine[] {
  const last = page.at(-1);
  const at = known.findIndex((each) => each.version === last?.version);
  return at >= 0 && known[at]?.command_id === last?.command_id ? [...page, ...known.slice(at + 1)] : page;
}

/** Versions have no gaps: a page that does not follow on is not wanted any more. */
function behind(known: CommitLine[], page: CommitLine[]): CommitLine[] {
  return known.at(-1)?.version === (page[0]?.version ?? 0) + 1 ? [...known, ...page] : known;
}

interface Line {
  commit: CommitLine;
  words: string;
  undone: boolean;
}

/** Whether a line is undone is told by those above it: it was read before they were. */
function tell(template: Template | null, commits: readonly CommitLine[]): Line[] {
  const byId = new Map(commits.map((each) => [each.command_id, each]));
  const undone = new Map<string, boolean>();
  return commits.map((commit) => {
    const { target, command_type } = commit;
    if (target === undefined) {
      const words = inWords(template, commit.summary);
      return { commit, words, undone: undone.get(commit.command_id) ?? commit.undone };
    }
    if (!undone.has(target)) undone.set(target, command_type === "Undo");
    const summary = byId.get(target)?.summary;
    const verb = command_type === "Undo" ? "Undid" : "Did again";
    const words = summary === undefined ? commit.summary : `${verb}: ${inWords(template, summary)}`;
    return { commit, words, undone: false };
  });
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
          timer.current = setTimeout(
            () => void travel(workspace, version).then(() => setWanted((now) => (now === version ? null : now))),
            60,
          );
        }}
      />
      <p class="muted">{at >= newest ? "The present" : `Version ${at} of ${newest}`}</p>
    </div>
  );
}

/** While the past is shown, nobody should take it for the present. */
export function PastBar({ workspace }: { workspace: Workspace }) {
  const past = workspace.past.value;
  const template = workspace.project.template.value;
  if (!past) return null;
  return (
    <div class="past-bar" role="status">
      <Icon name="history" />
      <span>
        Version {past.version}
        {past.commit && `, after ${past.commit.actor}’s change: ${inWords(template, past.commit.summary)}`}. This is how
        it was: nothing can be changed here.
      </span>
      <button
        type="button"
        class="button primary"
        onClick={() => {
          travelling?.abort();
          workspace.past.value = null;
          document.querySelector<HTMLElement>('[role="tree"]')?.focus(); // this button is about to go
        }}
      >
        Back to the present
      </button>
    </div>
  );
}
