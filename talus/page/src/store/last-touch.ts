/** Who changed a node last, looked up in the journal where nobody did while this page was open. */

import { rest } from "../protocol/rest";
import { latest, type Project, touchOf } from "./project";

const PAGE = 500; // versions
const MOST_PAGES = 4; // for one look

/**
 * Reads the journal backwards from `from`, until the node is found or enough was read.
 *
 * All that is read on the way is kept in `project.touches`. Returns the version from
 * which on it is known; 0 when the journal has been read to its beginning.
 */
export async function lastTouch(project: Project, id: string, from?: number): Promise<number> {
  let before = from ?? Math.min(project.version.peek(), project.knownFrom);
  for (let page = 0; page < MOST_PAGES && before > 0; page++) {
    const since = Math.max(0, before - PAGE);
    for (let at: number | null = since; at !== null && at < before; ) {
      const answer: Awaited<ReturnType<typeof rest.events>> = await rest.events(project.id, at, before - at);
      for (const event of answer.events) {
        const touch = touchOf(event);
        if (touch) project.touches.set(touch.id, latest(project.touches.get(touch.id), touch));
      }
      at = answer.next_since;
    }
    before = since;
    project.knownFrom = before;
    if (project.touches.has(id)) break;
  }
  project.revision.value++;
  return before;
}
