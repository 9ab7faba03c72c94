import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { asName, claims } from "../../src/protocol/identity";
import { COLORS, colorOf, initials } from "../../src/store/colors";
import { newId } from "../../src/store/ids";
import { ago } from "../../src/store/schema";

afterEach(() => void vi.unstubAllGlobals());

describe("an id that the page makes", () => {
  it("is a UUID of version 4 in lower-case text, and new each time", () => {
    const ids = Array.from({ length: 10_000 }, newId);
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("is made where a LAN is used without TLS, which knows no crypto.randomUUID", () => {
    const { crypto } = globalThis;
    vi.stubGlobal("crypto", { getRandomValues: (bytes: Uint8Array) => crypto.getRandomValues(bytes) });
    expect(newId()).toHaveLength(36);
  });
});

describe("the colour of a person", () => {
  it("is the same in every browser and for ever", () => {
    const people = ["Ada", "Bob", "anonymous", "Ömer", "漢字", "🚗", ""];
    expect(people.map(colorOf)).toEqual([7, 6, 6, 3, 4, 0, 7]);
  });

  it("is one of those that the page has, and all of them are used", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (name) => colorOf(name) >= 0 && colorOf(name) < COLORS));
    const used = new Set(Array.from({ length: 200 }, (_, at) => colorOf(`person ${at}`)));
    expect(used.size).toBe(COLORS);
  });

  it("comes with one or two letters of the name", () => {
    const shown = ["Ada", "ada lovelace", "Ada King Lovelace", "a.l@x", "bob_c-d", "🚗 Car", "ßeta", "", "  "];
    expect(shown.map(initials)).toEqual(["A", "AL", "AL", "AL", "BD", "🚗C", "SS", "?", "?"]);
  });
});

describe("a name that a person gives", () => {
  it("is as the server takes it: 1 to 64 printable characters, without spaces around them", () => {
    expect(asName("  Ada ")).toBe("Ada");
    expect(asName("A\u0000d\u200ba\n")).toBe("Ada");
    for (const none of ["", "   ", "\u0000\u200b", "x".repeat(65), "🚗".repeat(65)]) expect(asName(none)).toBeNull();
    for (const most of ["x".repeat(64), "🚗".repeat(64)]) expect(asName(most)).toBe(most);
  });
});

describe("a token", () => {
  const token = (payload: unknown) => `h.${Buffer.from(JSON.stringify(payload)).toString("base64url")}.s`;
  it("tells whose it is, in any alphabet", () => {
    for (const sub of ["ann", "Ömer >>>???", "漢字🚗"]) expect(claims(token({ sub, exp: 5 }))).toEqual({ sub, exp: 5 });
  });
  it("is nothing where it is none", () => {
    for (const text of ["", "a", "a.b.c", "..", token(null), token("x"), token({}), token({ sub: 5 })])
      expect(claims(text)).toBeNull();
  });
});

describe("how long ago", () => {
  it("is said in words of the page, and never lies in the future", () => {
    const now = Date.parse("2026-03-10T12:00:00Z");
    const said = (seconds: number) => ago(new Date(now - seconds * 1_000).toISOString(), now);
    expect([-600, 0, 44, 45, 300, 2_700, 7_200, 86_400, 172_800, 2_000_000].map(said)).toEqual([
      "just now",
      "just now",
      "just now",
      "1 minute ago",
      "5 minutes ago",
      "1 hour ago",
      "2 hours ago",
      "yesterday",
      "2 days ago",
      "23 days ago",
    ]);
    expect(said(90 * 86_400)).toContain("2025");
  });
});
