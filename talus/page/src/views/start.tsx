/** All projects, and how to begin one. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { Icon, TypeIcon } from "../parts/icons";
import { ThemeButton } from "../parts/theme-button";
import { actor, name, signOut, token } from "../protocol/identity";
import { Refusal, unreachable } from "../protocol/refusal";
import { rest } from "../protocol/rest";
import type { SessionLine, TemplateLine } from "../protocol/types";
import { addressOf, follow, go } from "../store/route";
import { ago } from "../store/schema";
import { keepTyped, NameForm } from "./name";

const PAGE = 50;
const MOST = 500; // that the server lists at once

export function Start() {
  const [sessions, setSessions] = useState<SessionLine[] | null>(null);
  const [next, setNext] = useState<string | null>(null);
  const [templates, setTemplates] = useState<TemplateLine[]>([]);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const [renaming, setRenaming] = useState(false);

  const shown = useRef(0);
  shown.current = sessions?.length ?? 0;
  const load = async (cursor?: string) => {
    try {
      // Those that were asked for with "Show more" stay when the rest is looked at again.
      const page = await rest.sessions(
        cursor,
        cursor ? PAGE : Math.min(MOST, PAGE * Math.ceil(Math.max(1, shown.current) / PAGE)),
      );
      setSessions((before) => (cursor && before ? [...before, ...page.sessions] : page.sessions));
      setNext(page.next_cursor);
      if (!cursor) setTemplates((await rest.templates()).templates);
      setRefusal(null);
    } catch (error) {
      setRefusal(error instanceof Refusal ? error : unreachable());
    }
  };
  useEffect(() => {
    void load();
    const seen = () => document.visibilityState === "visible" && void load();
    document.addEventListener("visibilitychange", seen);
    addEventListener("focus", seen); // two windows side by side are both visible
    return () => {
      document.removeEventListener("visibilitychange", seen);
      removeEventListener("focus", seen);
    };
  }, []);

  return (
    <div class="start">
      <header class="start-header">
        <h1 class="brand">talus</h1>
        <span class="spread" />
        {token.value !== null ? (
          <>
            <span class="who">
              <Avatar actor={actor()} />
              {actor()}
            </span>
            <button type="button" class="button bare" onClick={signOut}>
              Sign out
            </button>
          </>
        ) : (
          name.value !== null && (
            <button
              type="button"
              class="button bare who"
              aria-expanded={renaming}
              onClick={() => setRenaming(!renaming)}
            >
              <Avatar actor={name.value} />
              {name.value}
            </button>
          )
        )}
        <ThemeButton />
      </header>
      <main>
        {(renaming || (token.value === null && name.value === null)) && (
          <section class="card welcome" aria-label="Your name">
            {name.value === null && <h2>Plan one project together, live</h2>}
            <NameForm done={() => setRenaming(false)} action="Save" />
          </section>
        )}
        {refusal && (
          <section class="card trouble" role="alert">
            <Icon name="warning" />
            <p>{refusal.words}</p>
            <button type="button" class="button" onClick={() => void load()}>
              Try again
            </button>
          </section>
        )}
        <NewProject templates={templates} folded={sessions === null ? !refusal : sessions.length > 0} />
        <section aria-labelledby="recent">
          <h2 id="recent">Projects</h2>
          {sessions === null && !refusal && <p class="muted">Looking for projects</p>}
          {sessions?.length === 0 && (
            <p class="card muted">
              There is no project yet. Give the first one a name above; then send its link to the others, and you see
              each other's changes at once.
            </p>
          )}
          <ul class="projects">
            {sessions?.map((session) => (
              <li key={session.session_id}>
                <a class="project-link" href={addressOf(session.session_id)} onClick={follow}>
                  <TypeIcon type={session.has_project ? "project" : "note"} />
                  <span class="project-name">{session.name || session.session_id}</span>
                  {session.active_clients > 0 && (
                    <span class="here">
                      <Icon name="people" />
                      {session.active_clients} here
                    </span>
                  )}
                  <span class="muted when">{ago(session.last_activity)}</span>
                </a>
              </li>
            ))}
          </ul>
          {next !== null && (
            <button type="button" class="button" onClick={() => void load(next)}>
              Show more
            </button>
          )}
        </section>
      </main>
    </div>
  );
}

/** folded: who has projects comes for those; what to begin with is shown once a name is being typed. */
function NewProject({ templates, folded }: { templates: TemplateLine[]; folded: boolean }) {
  const [begun, setBegun] = useState(false);
  const [title, setTitle] = useState("");
  const [template, setTemplate] = useState<string | null>(null);
  const [wrong, setWrong] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  const create = async () => {
    if (!title.trim()) {
      document.getElementById("project-name")?.focus();
      return setWrong("Give the project a name first; it can be changed later.");
    }
    setBusy(true);
    try {
      const { session_id } =
        template === null ? await rest.createSession(title.trim()) : await rest.createProject(template, title.trim());
      keepTyped();
      go(addressOf(session_id));
    } catch (error) {
      setWrong((error instanceof Refusal ? error : unreachable()).words);
    }
    setBusy(false);
  };

  return (
    <form
      class="card new-project"
      aria-labelledby="new"
      onSubmit={(event) => {
        event.preventDefault();
        void create();
      }}
    >
      <h2 id="new">New project</h2>
      <label class="label" for="project-name">
        Name
      </label>
      <div class="name-line">
        <input
          id="project-name"
          class="field"
          value={title}
          maxLength={200}
          autocomplete="off"
          placeholder="1966 Bronco"
          onFocus={() => setBegun(true)}
          aria-invalid={wrong !== null}
          aria-describedby={wrong === null ? undefined : "project-wrong"}
          onInput={(event) => {
            setTitle(event.currentTarget.value);
            setWrong(null);
          }}
        />
        <button type="submit" class="button primary" disabled={busy}>
          Create
        </button>
      </div>
      {wrong !== null && (
        <p class="wrong" id="project-wrong" role="alert">
          {wrong}
        </p>
      )}
      <fieldset class="templates" hidden={folded && !begun}>
        <legend class="label">Begin with</legend>
        <Choice
          chosen={template === null}
          choose={() => setTemplate(null)}
          name="Empty project"
          description="A plain outline: anything may stand anywhere."
        />
        {templates.map((each) => (
          <Choice
            key={each.template_id}
            chosen={template === each.template_id}
            choose={() => setTemplate(each.template_id)}
            name={each.name}
            description={each.description}
          />
        ))}
      </fieldset>
    </form>
  );
}

function Choice({
  chosen,
  choose,
  name,
  description,
}: {
  chosen: boolean;
  choose: () => void;
  name: string;
  description: string;
}) {
  return (
    <label class={chosen ? "choice chosen" : "choice"}>
      <input type="radio" name="template" checked={chosen} onChange={choose} />
      <span>
        <strong>{name}</strong>
        <span class="muted">{description}</span>
      </span>
    </label>
  );
}
