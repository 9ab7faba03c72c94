import { describe, expect, it } from "vitest";
import { Refusal, refusalIn, unreachable } from "../../src/protocol/refusal";

/** Every code of the contract, sections 2 to 5. */
const CODES = `
  INVALID_REQUEST INVALID_COMMAND UNAUTHENTICATED TOKEN_EXPIRED FORBIDDEN HOST_NOT_ALLOWED
  INVALID_SESSION NODE_NOT_FOUND TEMPLATE_NOT_FOUND PROJECT_NOT_FOUND VERSION_NOT_FOUND NOT_FOUND METHOD_NOT_ALLOWED
  INVALID_PARENT NODE_EXISTS INVALID_BLUEPRINT CHILD_NOT_ALLOWED INVALID_PROPERTY INVALID_VALUE LIMIT_EXCEEDED
  ALREADY_LINKED NOT_LINKED CYCLE UNDO_CONFLICT NOTHING_TO_UNDO NOTHING_TO_REDO
  VERSION_CONFLICT COMMAND_ID_REUSED SESSION_IN_USE LAST_OWNER
  PAYLOAD_TOO_LARGE UNSUPPORTED_MEDIA_TYPE RATE_LIMITED BINARY_NOT_SUPPORTED UNKNOWN_EVENT
  INTERNAL BUSY SHUTTING_DOWN STORAGE_FAILED STORAGE_UNCERTAIN STORAGE_FULL
`
  .trim()
  .split(/\s+/);
const PASSING = "BUSY RATE_LIMITED SHUTTING_DOWN STORAGE_FULL STORAGE_FAILED STORAGE_UNCERTAIN".split(" ");

const refused = (code: string, message = "No") => new Refusal({ code, message });
const FALLBACK = refused("A_CODE_OF_TOMORROW").advice;

describe("what a refusal says", () => {
  it.each(CODES)("%s: something of its own that can be done next", (code) => {
    const { advice } = refused(code);
    expect(advice).not.toBe(FALLBACK);
    expect(CODES.filter((each) => refused(each).advice === advice)).toEqual([code]);
    // It asks for something: a sentence, or what follows its colon, begins with a verb that commands.
    expect(advice).toMatch(
      /(^|: )(Add|Ask|Change|Check|Choose|Correct|Delete|Do|Go|Look|look|Make|move|Open|Reload|Restart|Send|Sign|Undo|undo|Wait)\b/,
    );
    expect(advice).toMatch(/^[A-Z].*\.$/);
    expect(advice.length).toBeLessThan(110);
  });

  it("asks to sign in again, or to try again, where that is what helps", () => {
    expect(unreachable().words).toBe(
      "The server cannot be reached. Check that the server runs and that you are on its network, then try again.",
    );
    expect(refused("UNAUTHENTICATED").advice).toContain("Sign in");
    expect(refused("A_CODE_OF_TOMORROW").words).toContain("Reload the page and try again");
  });

  it("is the server's message and the advice, as sentences", () => {
    const advice = refused("CYCLE").advice;
    for (const message of ["A cycle", "A cycle.", "A cycle!"])
      expect(refused("CYCLE", message).words).toBe(`A cycle. ${advice}`);
  });

  it("passes where the contract says that the same call may succeed later, and says so", () => {
    expect(CODES.filter((code) => refused(code).passing)).toEqual(CODES.filter((code) => PASSING.includes(code)));
    expect(unreachable().passing).toBe(true);
    for (const code of PASSING.filter((each) => each !== "STORAGE_UNCERTAIN"))
      expect(refused(code).advice).toMatch(/what you did is sent (again by itself|then)\.$/);
  });

  it("is found in an answer, and only where there is one", () => {
    const found = refusalIn({ error: { code: "CYCLE", message: "Round", details: { index: 3 } } });
    expect([found?.code, found?.message, found?.details.index]).toEqual(["CYCLE", "Round", 3]);
    expect(refusalIn({ error: {} })?.code).toBe("INTERNAL");
    for (const answer of [null, undefined, "error", 5, {}, { success: true }]) expect(refusalIn(answer)).toBeNull();
  });
});
