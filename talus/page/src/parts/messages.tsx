/** What has to be said once: at the lower edge, read aloud, gone after a while or when put away. */

import { useEffect } from "preact/hooks";
import type { Message, Project } from "../store/project";
import { Icon } from "./icons";

const INFO_MS = 6_000;

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
    // A refusal stays until it was seen to: an edit is not there that somebody believes is.
    if (message.kind !== "info") return;
    const timer = setTimeout(dismiss, INFO_MS);
    return () => clearTimeout(timer);
  }, []);
  return (
    <div class={`message ${message.kind}`}>
      {message.kind === "refusal" && <Icon name="warning" />}
      <div>
        <strong>{message.title}</strong>
        <p>{message.text}</p>
      </div>
      <button type="button" class="button bare square" aria-label="Dismiss" onClick={dismiss}>
        <Icon name="close" />
      </button>
    </div>
  );
}
