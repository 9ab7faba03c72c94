/** One honest word: whether everything is saved, and whether what is shown is what is there. */

import type { Project } from "../store/project";

interface Word {
  tone: "good" | "work" | "bad";
  text: string;
  more: string;
}

export function wordFor(project: Project): Word {
  const count = project.unsaved.value;
  const held = project.held.value;
  switch (project.connection.value) {
    case "opening":
      return {
        tone: "work",
        text: project.networkOff.value ? "offline" : "connecting",
        more: "The project is shown as soon as the server answers.",
      };
    case "reconnecting":
      if (count)
        return {
          tone: "bad",
          text: `offline, ${count} waiting`,
          more: "What you do is kept in this tab and sent when the server is back. Leave it open.",
        };
      return {
        tone: "work",
        text: project.networkOff.value ? "offline" : "reconnecting",
        more: "What you see may be out of date. You can go on: it is sent when the server is back.",
      };
    case "catching-up":
      return {
        tone: "work",
        text: count ? `catching up, ${count} waiting` : "catching up",
        more: "What the others did meanwhile is on its way.",
      };
    case "gone":
      return { tone: "bad", text: "closed", more: "This project cannot be reached." };
    case "live":
      if (held && count) return { tone: "bad", text: `not saved, ${count} waiting`, more: held.words };
      if (count) return { tone: "work", text: `saving ${count}`, more: "On its way to the server's disk." };
      return {
        tone: "good",
        text: "live, all saved",
        more: "Everything is on the server's disk, and you see what the others see.",
      };
  }
}

export function Status({ project }: { project: Project }) {
  const word = wordFor(project);
  return (
    <span class={`status-word ${word.tone}`} role="status" title={word.more}>
      <span class="status-dot" aria-hidden="true" />
      {word.text}
      {word.tone === "bad" && <span class="hidden">. {word.more}</span>}
    </span>
  );
}
