/** The page's own drawings: strokes on 16 by 16, in the colour of the text around them. */

import type { Option } from "../protocol/types";
import { toneOf } from "../store/schema";

const PATHS = {
  add: "M8 3v10M3 8h10",
  back: "M9.5 3.5 5 8l4.5 4.5",
  check: "M3 8.5 6.5 12 13 4.5",
  chevron: "M6 4l4 4-4 4",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M5.5 5.5h7v7h-7zM3.5 10.5v-7h7",
  delete: "M3 4.5h10M6.5 4.5v-2h3v2M4.5 4.5l.5 9h6l.5-9M7 7v4M9 7v4",
  dots: "M4 8h.01M8 8h.01M12 8h.01",
  details: "M2.5 3.5h11v9h-11zM9.5 3.5v9M11 6h1M11 8h1",
  filter: "M2.5 4h11M4.5 8h7M6.5 12h3",
  help: "M6 6.2a2 2 0 1 1 2.8 1.8c-.6.3-.8.7-.8 1.4M8 11.8v.01M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12",
  history: "M2.8 6.5A5.6 5.6 0 1 1 2.5 9M2.5 3.5v3h3M8 5v3.2l2.2 1.4",
  home: "M2.5 7.5 8 3l5.5 4.5M4 7v6h8V7",
  link: "M6.8 9.2a2.5 2.5 0 0 0 3.6 0l2-2a2.5 2.5 0 0 0-3.6-3.6l-.8.8M9.2 6.8a2.5 2.5 0 0 0-3.6 0l-2 2a2.5 2.5 0 0 0 3.6 3.6l.8-.8",
  moon: "M13 9.5A5.5 5.5 0 0 1 6.5 3 5.5 5.5 0 1 0 13 9.5",
  move: "M8 2v12M2 8h12M6 4l2-2 2 2M6 12l2 2 2-2M4 6 2 8l2 2M12 6l2 2-2 2",
  people:
    "M6 7.5a2.3 2.3 0 1 0 0-4.6 2.3 2.3 0 0 0 0 4.6M2 13c0-2.2 1.8-3.7 4-3.7s4 1.5 4 3.7M10.5 3.2a2.2 2.2 0 0 1 0 4.2M11.5 9.5c1.5.4 2.5 1.7 2.5 3.5",
  redo: "M13 6.5H6a3 3 0 0 0 0 6h3M10.5 4 13 6.5 10.5 9",
  rename: "M3 13l.6-2.8L10.8 3l2.2 2.2-7.2 7.2zM9.5 4.3l2.2 2.2",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10M10.7 10.7 14 14",
  share: "M8 10V2.5M5.5 5 8 2.5 10.5 5M4 8H3v5.5h10V8h-1",
  sun: "M8 11a3 3 0 1 0 0-6 3 3 0 0 0 0 6M8 1.5v1M8 13.5v1M1.5 8h1M13.5 8h1M3.4 3.4l.7.7M11.9 11.9l.7.7M3.4 12.6l.7-.7M11.9 4.1l.7-.7",
  system: "M2.5 3h11v8h-11zM6 13.5h4M8 11v2.5",
  undo: "M3 6.5h7a3 3 0 0 1 0 6H7M5.5 4 3 6.5 5.5 9",
  warning: "M8 2.5 14 13H2zM8 6.5v3M8 11.3v.01",
} as const;

/** Shapes for types of nodes. */
const TYPES = {
  box: "M8 2l5.5 3v6L8 14l-5.5-3V5zM2.5 5 8 8l5.5-3M8 8v6",
  layers: "M8 2.5 14 5.5 8 8.5 2 5.5zM2.5 8 8 10.8 13.5 8M2.5 10.6 8 13.4l5.5-2.8",
  task: "M3 3h10v10H3zM5.5 8l2 2 3.5-4",
  gear: "M8 10.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4M8 2v2M8 12v2M2 8h2M12 8h2M3.8 3.8l1.4 1.4M10.8 10.8l1.4 1.4M3.8 12.2l1.4-1.4M10.8 5.2l1.4-1.4",
  alert: "M8 2.5 14 13H2zM8 6.5v3M8 11.3v.01",
  page: "M4 2h5.5L12 4.5V14H4zM9.5 2v2.5H12M6 8h4M6 10.5h4",
  flag: "M4 14V2.5M4 3h8l-2 2.7L12 8.5H4",
  tag: "M2.5 2.5H8L13.5 8 8 13.5 2.5 8zM5.5 5.5h.01",
  wrench: "M13 4.5a3.2 3.2 0 0 1-4.2 3.9L4.5 13 3 11.5l4.4-4.4A3.2 3.2 0 0 1 11 3L9.4 4.8l1.8 1.8z",
  dot: "M8 10.5a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5",
} as const;

const WORDS: [RegExp, keyof typeof TYPES][] = [
  [/finding|bug|risk|issue|problem|defect|blocker/, "alert"],
  [/task|check|todo|step|test|operation|errand/, "task"],
  [/phase|stage|group|section|epic|area|assembly|iteration|sprint/, "layers"],
  [/part|component|machine|device/, "gear"],
  [/record|doc|note|page|paper|spec|decision|drawing/, "page"],
  [/milestone|goal|release|version|gate/, "flag"],
  [/feature|story|change|order|purchase|cost|material/, "tag"],
  [/job|tool|repair|service|fix/, "wrench"],
  [/vehicle|project|product|build|box|house|move|item/, "box"],
];

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}

const shapes = new Map<string, string>();

/** The shape of a type, by what its id says it is. */
export function TypeIcon({ type }: { type: string }) {
  let path = shapes.get(type);
  if (path === undefined) {
    path = TYPES[WORDS.find(([word]) => word.test(type.toLowerCase()))?.[1] ?? "dot"];
    shapes.set(type, path);
  }
  return (
    <svg class="icon type-icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={path} />
    </svg>
  );
}

/** The mark of an option: empty, half, done or blocked; a dot for one without. */
export function ToneMark({ option }: { option: Option | null }) {
  const tone = toneOf(option);
  return (
    <svg class={`tone tone-${tone}`} viewBox="0 0 14 14" aria-hidden="true">
      <circle
        cx="7"
        cy="7"
        r="5.5"
        fill={tone === "done" ? "currentColor" : "none"}
        stroke="currentColor"
        stroke-width="1.5"
      />
      {tone === "busy" && <path d="M7 3.7a3.3 3.3 0 0 1 0 6.6z" fill="currentColor" />}
      {tone === "done" && (
        <path
          d="M4.3 7.2 6.3 9.2 9.8 5.2"
          fill="none"
          stroke="var(--raised)"
          stroke-width="1.5"
          stroke-linecap="round"
        />
      )}
      {tone === "stop" && <path d="M4.2 7h5.6" stroke="currentColor" stroke-width="1.5" stroke-linecap="round" />}
      {tone === "plain" && <circle cx="7" cy="7" r="1.5" fill="currentColor" />}
    </svg>
  );
}
