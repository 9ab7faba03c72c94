/** Refusals of the server, and what a person can do about each. */

import type { ErrorBody } from "./types";

/** Codes that say: the same call, under the same id, may succeed in a moment. */
const PASSING = new Set([
  "BUSY",
  "RATE_LIMITED",
  "SHUTTING_DOWN",
  "STORAGE_FULL",
  "STORAGE_FAILED",
  "STORAGE_UNCERTAIN",
  "UNREACHABLE",
]);

/** What to do next, by code; a sentence of its own behind the server's message. */
const ADVICE: Record<string, string> = {
  INVALID_REQUEST: "Change the field that is named, and try again.",
  INVALID_COMMAND: "Reload the page: it and the server may be of different versions.",
  VERSION_CONFLICT: "Look at what the others changed meanwhile, then do it again.",
  COMMAND_ID_REUSED: "Do it once more: it was taken for something done before.",
  INVALID_PARENT: "Choose another place for it.",
  NODE_NOT_FOUND: "Somebody deleted it meanwhile: undo that, or add it again.",
  NODE_EXISTS: "Undo once, or reload the page and try again.",
  INVALID_BLUEPRINT: "Choose a type that the template has.",
  CHILD_NOT_ALLOWED: "Choose another place or another type.",
  INVALID_PROPERTY: "Reload the page: the template has changed.",
  INVALID_VALUE: "Correct the value, or clear the field.",
  LIMIT_EXCEEDED: "Delete something first, or start another project.",
  ALREADY_LINKED: "It has a parent already: move it instead.",
  NOT_LINKED: "Somebody moved it meanwhile: look where it is now.",
  CYCLE: "Choose a place that is not inside what you move.",
  UNDO_CONFLICT: "Undo the later changes first: the history shows them.",
  NOTHING_TO_UNDO: "Undo everyone's changes instead, from the history.",
  NOTHING_TO_REDO: "Make the change again.",
  UNAUTHENTICATED: "Sign in with a token that is valid.",
  TOKEN_EXPIRED: "Ask an administrator for a new token, and sign in with it.",
  FORBIDDEN: "Ask an owner of the project to make you an editor.",
  INVALID_SESSION: "Check the link, or ask whoever sent it; or go to all projects.",
  TEMPLATE_NOT_FOUND: "Choose another template.",
  PROJECT_NOT_FOUND: "Check the link, or go to all projects.",
  VERSION_NOT_FOUND: "Go back to the present.",
  NOT_FOUND: "Check the address, or reload the page: the server may be another one than before.",
  METHOD_NOT_ALLOWED: "Ask whoever runs the server whether a proxy before it lets all methods through.",
  UNSUPPORTED_MEDIA_TYPE: "Ask whoever runs the server whether a proxy before it changes what is sent.",
  BINARY_NOT_SUPPORTED: "Send text, not a file: put a link to the file in its place.",
  UNKNOWN_EVENT: "Reload the page: it says something that this server does not know.",
  SESSION_IN_USE: "Wait until the others have left, or delete it all the same.",
  PAYLOAD_TOO_LARGE: "Send less at once: paste it in parts.",
  RATE_LIMITED: "Go a little slower; what you did is sent again by itself.",
  BUSY: "Wait until the server has done what is before it; what you did is sent again by itself.",
  SHUTTING_DOWN: "Wait until the server is back; what you did is sent then.",
  STORAGE_FULL: "Make room on the server's disk; what you did is sent again by itself.",
  STORAGE_FAILED: "Look at the server's disk and its log; what you did is sent again by itself.",
  STORAGE_UNCERTAIN: "Restart the server: it then tells whether this was saved.",
  INTERNAL: "Look at the server's log, then do it again.",
  HOST_NOT_ALLOWED: "Open the page under the name that the server knows (TALUS_ALLOWED_HOSTS).",
  LAST_OWNER: "Make somebody else an owner first.",
  UNREACHABLE: "Check that the server runs and that you are on its network, then try again.",
};

export class Refusal extends Error {
  readonly code: string;
  readonly details: NonNullable<ErrorBody["details"]>;

  constructor(body: ErrorBody) {
    super(body.message);
    this.code = body.code;
    this.details = body.details ?? {};
  }

  /** Nothing happened, and the same call may succeed later. */
  get passing(): boolean {
    return PASSING.has(this.code);
  }

  get advice(): string {
    return ADVICE[this.code] ?? "Reload the page and try again; if it stays, tell whoever runs the server.";
  }

  /** What went wrong and what to do next. */
  get words(): string {
    const message = this.message.replace(/[.!]?$/, ".");
    return `${message} ${this.advice}`;
  }
}

/** The refusal in an answer, if it is one. */
export function refusalIn(answer: unknown): Refusal | null {
  if (typeof answer !== "object" || answer === null || !("error" in answer)) return null;
  const error = (answer as { error: Partial<ErrorBody> }).error;
  return new Refusal({ ...error, code: error.code ?? "INTERNAL", message: error.message ?? "The server refused" });
}

/** An answer that is none. */
export function strange(): Refusal {
  return new Refusal({ code: "INTERNAL", message: "The server did not understand" });
}

export function unreachable(): Refusal {
  return new Refusal({ code: "UNREACHABLE", message: "The server cannot be reached" });
}
