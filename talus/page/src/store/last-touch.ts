/** Who changed a node last, looked up in the journal where nobody did while this page was open. */

import { rest } from "../protocol/rest";
import { latest, type Project, type Touch, touchOf } from "./project";

const PAGE = 500; // versions
const MOST_PAGES = 4; // for one look

/**
 * Reads the journal backwards from where it is known, until the node is found or enough was read.
 *
 * All that is read on the way is kept in `project.touches`; `project.knownFrom` is then 0
 * when the journal has been read to its beginning.
 */
export async function lastTouch(project: Project, id: string): Promise<void> {
  for (let page = 0; page < MOST_PAGES && project.knownFrom > 0 && !project.touches.has(id); page++) {
    const before = project.knownFrom;
    const since = Math.max(0, before - PAGE);
    const found: Touch[] = [];
    for (let at: number | null = since; at !== null && at < before; ) {
      const answer: Awaited<ReturnType<typeof rest.events>> = await rest.events(project.id, at, before - at);
      for (const event of answer.events) {
        const touch = touchOf(event);
        if (touch) found.push(touch);
      }
      at = answer.next_since;
    }
    // Another look was quicker, or the project was fetched anew: this page may not border on what is known.
    if (project.knownFrom !== before) continue;
    for (const touch of found) project.touches.set(touch.id, latest(project.touches.get(touch.id), touch));
    project.knownFrom = since;
  }
  project.revision.value++;
}
