/** What has to be said once: at the lower edge, read aloud, gone after a while or when put away. */

import { useEffect } from "preact/hooks";
import type { Message, Project } from "../store/project";
import { Icon } from "./icons";

const INFO_MS = 6_000;
const MOST_TITLES = 4;

export function Messages({ project }: { project: Project }) {
  return (
    <div class="messages" role="log" aria-live="polite" aria-label="Messages">
      {project.messages.value.map((message) => (
        <Said key={message.id} message={message} dismiss={() => project.dismiss(message.id)} />
      ))}
    </div>
  );
}

function Said({ message, dismiss }: { message: Message; dismiss: () => void }) {
  useEffect(() => {
    if (message.kind !== "info") return;
    const timer = setTimeout(dismiss, INFO_MS);
    return () => clearTimeout(timer);
  }, []);
  const titles = [message.title, ...message.more];
  const hidden = titles.length - MOST_TITLES;
  return (
    <div class={`message ${message.kind}`}>
      {message.kind === "refusal" && <Icon name="warning" />}
      <div>
        {titles.slice(0, MOST_TITLES).map((title, at) => (
          <div key={at}>
            <strong>{title}</strong>
          </div>
        ))}
        {hidden > 0 && <div>and {hidden.toLocaleString()} more</div>}
        <p>{message.text}</p>
      </div>
      <button type="button" class="button bare square" aria-label="Dismiss" onClick={dismiss}>
        <Icon name="close" />
      </button>
    </div>
  );
}
