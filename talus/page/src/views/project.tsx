/** One project: a header, a view of the tree, and a panel beside it. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { Icon } from "../parts/icons";
import { Messages } from "../parts/messages";
import { ThemeButton } from "../parts/theme-button";
import { Project } from "../store/project";
import { follow } from "../store/route";
import { Workspace } from "../store/workspace";
import { Actions } from "../tree/actions";
import { keyFor, PAGE_KEYS } from "../tree/keys";
import { FilterBar } from "./filter-bar";
import { Help } from "./help";
import { History, PastBar } from "./history";
import { Inspector } from "./inspector";
import { Share } from "./share";
import { Status } from "./status";
import { VIEWS } from "./views";

export function ProjectView({ id, leave }: { id: string; leave: () => void }) {
  const [parts, setParts] = useState<{ project: Project; workspace: Workspace; actions: Actions } | null>(null);
  useEffect(() => {
    const project = new Project(id);
    const workspace = new Workspace(project);
    // Where the panel would lie over the tree, the tree comes first.
    if (matchMedia("(max-width: 860px)").matches && workspace.panel.peek() === "details") workspace.panel.value = null;
    setParts({ project, workspace, actions: new Actions(workspace) });
    return () => {
      workspace.close();
      project.close();
    };
  }, [id]);
  if (!parts) return null;
  return <Opened {...parts} leave={leave} />;
}

interface Props {
  project: Project;
  workspace: Workspace;
  actions: Actions;
  leave: () => void;
}

function Opened({ project, workspace, actions, leave }: Props) {
  const search = useRef<HTMLInputElement>(null);
  const [dialog, setDialog] = useState<"help" | "share" | null>(null);
  const [view, setView] = useState(VIEWS[0]?.id);
  const connection = project.connection.value;
  const info = project.info.value;
  const title = info?.name || project.id;
  const help = () => setDialog("help");
  const find = () => {
    search.current?.focus();
    search.current?.select();
  };

  useEffect(() => {
    document.title = `${title} · talus`;
  }, [title]);

  useEffect(() => {
    const key = (event: KeyboardEvent) => {
      const typing = (event.target as Element).closest?.(TYPING);
      if (event.key === "F6") {
        event.preventDefault();
        return nextPart(event.shiftKey);
      }
      if (typing) return;
      const found = keyFor(PAGE_KEYS, event);
      if (!found || (!found.harmless && !workspace.editable.value)) return;
      event.preventDefault();
      found.act({ workspace, actions, page: 1, openMenu: () => {}, openStatus: () => {}, search: find, help });
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);

  if (project.failure.value) {
    const refusal = project.failure.value;
    return (
      <main class="gate">
        <h1>This project cannot be shown</h1>
        <p>{refusal.words}</p>
        <div class="gate-actions">
          <a class="button primary" href="/" onClick={follow}>
            All projects
          </a>
          <button type="button" class="button" onClick={() => project.retry()}>
            Try again
          </button>
        </div>
      </main>
    );
  }

  const View = VIEWS.find((each) => each.id === view)?.component;
  const panel = workspace.panel.value;
  const toggle = (which: "details" | "history") => {
    workspace.panel.value = panel === which ? null : which;
  };

  return (
    <div class="project">
      <header class="header" data-part>
        <a
          class="button bare square"
          href="/"
          aria-label="All projects"
          title="All projects"
          onClick={(event) => follow(event)}
        >
          <Icon name="home" />
        </a>
        <h1 class="title" title={title}>
          {title}
        </h1>
        <Status project={project} />
        <span class="spread" />
        <People workspace={workspace} />
        <span class="tools" role="toolbar" aria-label="Project">
          <button
            type="button"
            class="button bare square"
            aria-label="Undo"
            title="Undo (Ctrl+Z)"
            disabled={!workspace.editable.value}
            onClick={() => actions.undo()}
          >
            <Icon name="undo" />
          </button>
          <button
            type="button"
            class="button bare square"
            aria-label="Redo"
            title="Redo (Ctrl+Shift+Z)"
            disabled={!workspace.editable.value}
            onClick={() => actions.redo()}
          >
            <Icon name="redo" />
          </button>
          <button
            type="button"
            class="button bare square"
            aria-label="Details"
            title="Details"
            aria-pressed={panel === "details"}
            onClick={() => toggle("details")}
          >
            <Icon name="details" />
          </button>
          <button
            type="button"
            class="button bare square"
            aria-label="History"
            title="History"
            aria-pressed={panel === "history"}
            onClick={() => toggle("history")}
          >
            <Icon name="history" />
          </button>
          <ThemeButton />
          <button
            type="button"
            class="button bare square help-button"
            aria-label="All keys"
            title="All keys (?)"
            onClick={help}
          >
            <Icon name="help" />
          </button>
        </span>
        <button type="button" class="button share-button" aria-label="Share" onClick={() => setDialog("share")}>
          <Icon name="share" />
          <span>Share</span>
        </button>
      </header>
      <div class="body">
        <main class="main" data-part>
          {VIEWS.length > 1 && (
            <div class="view-tabs" role="tablist" aria-label="Views">
              {VIEWS.map((each) => (
                <button
                  key={each.id}
                  type="button"
                  role="tab"
                  aria-selected={each.id === view}
                  onClick={() => setView(each.id)}
                >
                  {each.name}
                </button>
              ))}
            </div>
          )}
          <PastBar workspace={workspace} />
          <FilterBar workspace={workspace} actions={actions} input={search} />
          {connection === "opening" ? (
            <p class="empty muted" role="status">
              {project.networkOff.value
                ? "You are offline: the project opens when the network is back."
                : "Opening the project"}
            </p>
          ) : (
            View && <View workspace={workspace} actions={actions} search={find} help={help} />
          )}
        </main>
        {panel !== null && (
          <aside class="panel" aria-label={panel === "details" ? "Details" : "History"} data-part>
            <button
              type="button"
              class="button bare square panel-close"
              aria-label="Close the panel"
              onClick={() => {
                workspace.panel.value = null;
              }}
            >
              <Icon name="close" />
            </button>
            {panel === "details" ? (
              <Inspector workspace={workspace} actions={actions} />
            ) : (
              <History workspace={workspace} actions={actions} />
            )}
          </aside>
        )}
      </div>
      <Messages project={project} />
      {dialog === "help" && <Help close={() => setDialog(null)} />}
      {dialog === "share" && <Share workspace={workspace} close={() => setDialog(null)} deleted={leave} />}
    </div>
  );
}

/** What takes letters itself; a checkbox or a slider does not. */
const TYPING = "input:not([type=checkbox], [type=radio], [type=range]), textarea, select, dialog, [role=menu]";

/** F6 goes from header to tree to panel, as in a desktop program. */
function nextPart(back: boolean): void {
  const parts = [...document.querySelectorAll<HTMLElement>("[data-part]")];
  const at = parts.findIndex((part) => part.contains(document.activeElement));
  const next = parts[(at + (back ? -1 : 1) + parts.length) % parts.length];
  const first = 'a, button:not(:disabled):not([tabindex="-1"]), input, select, textarea';
  (next?.querySelector<HTMLElement>('[role="tree"]') ?? next?.querySelector<HTMLElement>(first))?.focus();
}

const SHOWN = 4;

/** Who is here: a click goes to what they have selected. */
function People({ workspace }: { workspace: Workspace }) {
  const { project } = workspace;
  const others = project.people.list.value.filter((person) => !person.self);
  const byActor = [...new Map(others.map((person) => [person.actor, person])).values()];
  // Persons beyond those shown, and clients beyond the hundred of which the server tells more.
  const more = byActor.length - SHOWN + Math.max(0, project.people.present.value - 1 - others.length);
  if (!others.length) return null;
  return (
    <ul class="people" aria-label="Who is here">
      {byActor.slice(0, SHOWN).map((person) => (
        <li key={person.client}>
          <button
            type="button"
            class="person"
            title={person.node ? `${person.actor}: go to what they have selected` : person.actor}
            aria-label={person.node ? `${person.actor}: go to what they have selected` : person.actor}
            onClick={() => person.node !== null && workspace.goTo(person.node)}
          >
            <Avatar actor={person.actor} />
          </button>
        </li>
      ))}
      {more > 0 && <li class="muted">+{more}</li>}
    </ul>
  );
}
