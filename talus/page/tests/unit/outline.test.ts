import { describe, expect, it } from "vitest";
import { count, formatOutline, parseOutline } from "../../src/tree/outline";

describe("an outline of any program", () => {
  it("takes tabs or spaces for levels, and no bullets", () => {
    const items = parseOutline("- Hull\r\n\t* Planks\n\t\t1. Oak\n\n  [x] Caulk\n• Sails\n");
    expect(formatOutline(items)).toBe("Hull\n\tPlanks\n\t\tOak\n\tCaulk\nSails\n");
    expect(count(items)).toBe(5);
  });
});
