// Mounts docs/examples/useWebSocket.js in a page (jsdom) with React, and tells what happens there.
//
//   node hook.mjs URL SESSION_ID
//   out, a JSON document in each line: {log: [...]} for console.log, {shown: {connected, activeClients}}
//        for each render, {text}, {unmounted: true}
//   in:  the lines `text` (what the page shows) and `unmount`; the end of the input ends it

import { register } from "node:module";
import { createInterface } from "node:readline";
import { JSDOM } from "jsdom";

// The example stands outside of this folder; what it imports is installed inside of it.
const here = import.meta.url;
register(
  "data:text/javascript," +
    encodeURIComponent(`
      export const resolve = (specifier, context, next) =>
        next(specifier, /^[.\\/]|:/.test(specifier) ? context : { ...context, parentURL: ${JSON.stringify(here)} });
      export const load = (url, context, next) =>
        next(url, url.endsWith("/useWebSocket.js") ? { ...context, format: "module" } : context);
    `),
);

const [url, sessionId] = process.argv.slice(2);
const page = new JSDOM('<!doctype html><main id="root"></main>', { url, pretendToBeVisual: true });
globalThis.window = page.window;
globalThis.document = page.window.document;
globalThis.navigator ??= page.window.navigator; // Node has one of its own from 21 on

const say = (message) => process.stdout.write(JSON.stringify(message) + "\n");
console.log = (...log) => say({ log });

const { createElement, useEffect } = await import("react");
const { createRoot } = await import("react-dom/client");
const { useWebSocket } = await import(new URL("../../docs/examples/useWebSocket.js", here));

function Room() {
  const { socket, connected, activeClients } = useWebSocket(sessionId, url);
  const id = socket?.id;
  useEffect(() => {
    say({ shown: { connected, activeClients, id } });
  });
  return createElement("p", null, connected ? `${activeClients} here` : "not connected");
}

const root = createRoot(document.getElementById("root"));
root.render(createElement(Room));

createInterface({ input: process.stdin })
  .on("line", (line) => {
    if (line === "text") say({ text: document.getElementById("root").textContent });
    if (line !== "unmount") return;
    root.unmount();
    say({ unmounted: true });
  })
  .on("close", () => process.exit(0));
