/** The link to send; with tokens, who may open it. */

import { useEffect, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { copyText } from "../parts/clipboard";
import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icons";
import { actor, token } from "../protocol/identity";
import { Refusal, unreachable } from "../protocol/refusal";
import { rest } from "../protocol/rest";
import type { Member, Role } from "../protocol/types";
import type { Workspace } from "../store/workspace";

const ROLES: Record<Role, string> = { owner: "Owner", editor: "Editor", viewer: "Viewer" };

export function Share({ workspace, close, deleted }: { workspace: Workspace; close: () => void; deleted: () => void }) {
  const { project } = workspace;
  const [copied, setCopied] = useState<boolean | null>(null);
  const [sure, setSure] = useState(false);
  const [refusal, setRefusal] = useState<Refusal | null>(null);
  const link = workspace.linkTo(null);
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  const owner = project.role.value === "owner";

  const copy = async () => setCopied(await copyText(link));
  const attempt = async (call: () => Promise<unknown>) => {
    setRefusal(null);
    try {
      await call();
      return true;
    } catch (error) {
      setRefusal(error instanceof Refusal ? error : unreachable());
      return false;
    }
  };

  return (
    <Dialog title="Share this project" close={close}>
      <label class="label" for="share-link">
        Whoever opens this link{" "}
        {token.value === null ? "works in the project with you" : "and is a member works in the project with you"}
      </label>
      <div class="name-line">
        <input id="share-link" class="field" readOnly value={link} onFocus={(event) => event.currentTarget.select()} />
        <button type="button" class="button primary" onClick={() => void copy()}>
          <Icon name={copied ? "check" : "copy"} />
          {copied ? "Copied" : "Copy"}
        </button>
      </div>
      {copied === false && (
        <p class="wrong" role="alert">
          The browser does not let the page copy. Click the link, and press Ctrl+C.
        </p>
      )}
      {local && (
        <p class="muted hint">
          This link works on this computer. For others on your network, start the server so that they may reach it:
          docs/security.md says how.
        </p>
      )}
      {token.value !== null && <Members id={project.id} owner={owner} attempt={attempt} />}
      {refusal && (
        <p class="wrong" role="alert">
          {refusal.words}
        </p>
      )}
      {owner && (
        <div class="delete-project">
          {sure ? (
            <>
              <p>The project and its whole history go for ever, for everybody. There is no undo.</p>
              <button
                type="button"
                class="button danger"
                onClick={() =>
                  void attempt(() => rest.deleteSession(project.id, true)).then((done) => done && deleted())
                }
              >
                Delete it for ever
              </button>
              <button type="button" class="button" onClick={() => setSure(false)}>
                Keep it
              </button>
            </>
          ) : (
            <button type="button" class="button bare danger" onClick={() => setSure(true)}>
              <Icon name="delete" />
              Delete this project
            </button>
          )}
        </div>
      )}
    </Dialog>
  );
}

interface MembersProps {
  id: string;
  owner: boolean;
  attempt: (call: () => Promise<unknown>) => Promise<boolean>;
}

function Members({ id, owner, attempt }: MembersProps) {
  const [members, setMembers] = useState<Member[]>([]);
  const load = () => attempt(async () => setMembers((await rest.members(id)).members));
  useEffect(() => void load(), [id]);
  const change = async (call: () => Promise<unknown>) => {
    if (await attempt(call)) await load();
  };
  return (
    <section class="members" aria-labelledby="members">
      <h3 id="members">Members</h3>
      <ul>
        {members.map(({ user, role }) => (
          <li key={user}>
            <Avatar actor={user} small />
            <span class="member-name">
              {user}
              {user === actor() && " (you)"}
            </span>
            <select
              class="field"
              aria-label={`Role of ${user}`}
              value={role}
              disabled={!owner}
              onChange={(event) => void change(() => rest.appoint(id, user, event.currentTarget.value as Role))}
            >
              {Object.entries(ROLES).map(([each, word]) => (
                <option key={each} value={each}>
                  {word}
                </option>
              ))}
            </select>
            {owner && (
              <button
                type="button"
                class="button bare square"
                aria-label={`Remove ${user}`}
                onClick={() => void change(() => rest.dismiss(id, user))}
              >
                <Icon name="close" />
              </button>
            )}
          </li>
        ))}
      </ul>
      {owner && (
        <form
          class="name-line"
          onSubmit={(event) => {
            event.preventDefault();
            const form = event.currentTarget;
            const data = new FormData(form);
            const user = String(data.get("user")).trim();
            if (user) void change(() => rest.appoint(id, user, data.get("role") as Role)).then(() => form.reset());
          }}
        >
          <input
            class="field"
            name="user"
            aria-label="Name of a new member"
            placeholder="Name, as in their token"
            autocomplete="off"
            required
          />
          <select class="field" name="role" aria-label="Role of the new member">
            <option value="editor">Editor</option>
            <option value="viewer">Viewer</option>
            <option value="owner">Owner</option>
          </select>
          <button type="submit" class="button">
            Add
          </button>
        </form>
      )}
    </section>
  );
}
