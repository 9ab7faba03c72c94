/** The page's addresses: `/` for all projects, `/s/<session_id>` for one. */

import { signal } from "@preact/signals";

export interface Route {
  session: string | null;
}

function read(): Route {
  const match = /^\/s\/([^/]+)\/?$/.exec(location.pathname);
  if (match?.[1] === undefined) return { session: null };
  try {
    return { session: decodeURIComponent(match[1]) };
  } catch {
    return { session: match[1] }; // no encoding of anything: the server says that there is no such session
  }
}

export const route = signal<Route>(read());

addEventListener("popstate", () => {
  route.value = read();
});

export function addressOf(session: string): string {
  return `/s/${encodeURIComponent(session)}`;
}

export function go(address: string): void {
  history.pushState(null, "", address);
  route.value = read();
}

/** For links: a plain click stays in the page, any other is the browser's. */
export function follow(event: MouseEvent): void {
  const link = (event.currentTarget as HTMLAnchorElement).getAttribute("href");
  if (link === null || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link);
}
