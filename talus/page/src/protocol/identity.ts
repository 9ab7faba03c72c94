/** Who this person is: a token where the server asks for one, else a name that nobody checks. */

import { signal } from "@preact/signals";

const NAME = "talus.name";
const TOKEN = "talus.token";

/** Storage may be switched off, or be full: then a choice lasts as long as the page. */
export function stored(key: string, storage: Storage | undefined = globalThis.localStorage): string | null {
  try {
    return storage?.getItem(key) ?? null;
  } catch {
    return null;
  }
}

export function store(key: string, value: string | null, storage: Storage | undefined = globalThis.localStorage): void {
  try {
    if (value === null) storage?.removeItem(key);
    else storage?.setItem(key, value);
  } catch {
    // It lasts as long as the page.
  }
}

export const name = signal<string | null>(stored(NAME));
export const token = signal<string | null>(stored(TOKEN) ?? stored(TOKEN, globalThis.sessionStorage));
/** The server wants a token, and has none that it takes. */
export const signedOut = signal(false);

export function setName(value: string): void {
  name.value = value;
  store(NAME, value);
}

/** remember: also when the browser is closed; else for this tab alone. */
export function signIn(value: string, remember: boolean): void {
  token.value = value;
  // In one place only: an older token in the other would be the one that a reload finds.
  store(TOKEN, remember ? value : null);
  store(TOKEN, remember ? null : value, globalThis.sessionStorage);
  signedOut.value = false;
}

export function signOut(): void {
  token.value = null;
  store(TOKEN, null);
  store(TOKEN, null, globalThis.sessionStorage);
  signedOut.value = true;
}

/** The name that the others see: the user of the token, read from it unchecked, or the one given. */
export function actor(): string {
  if (token.value !== null) return claims(token.value)?.sub ?? "";
  return name.value ?? "anonymous";
}

export function claims(text: string): { sub: string; exp: number; role?: string } | null {
  try {
    const part = text.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(part.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
    const read: unknown = JSON.parse(new TextDecoder().decode(bytes));
    if (typeof read !== "object" || read === null || !("sub" in read) || typeof read.sub !== "string") return null;
    return read as { sub: string; exp: number; role?: string };
  } catch {
    return null;
  }
}

/** A name as the server takes it: 1 to 64 printable characters. */
export function asName(text: string): string | null {
  const clean = text.replace(/\p{C}/gu, "").trim();
  return clean.length >= 1 && [...clean].length <= 64 ? clean : null;
}
