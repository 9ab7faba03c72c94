import { describe, expect, it } from "vitest";
import type { Template } from "../../src/protocol/types";
import { inWords } from "../../src/store/schema";

const TEMPLATE: Template = {
  template_id: "boat",
  name: "Boat",
  description: "",
  node_types: [
    { id: "hull-part", name: "Part of the hull", properties: [{ id: "due_date", name: "Due", type: "date" }] },
  ],
};

describe("a commit in the words of the template", () => {
  it.each([
    ['Set due_date of "Keel"', 'Set “Due” of "Keel"'],
    ["Cleared due_date of (no name)", "Cleared “Due” of (no name)"],
    ['Set due_date of "A of "B""', 'Set “Due” of "A of "B""'],
    ['Created hull-part "Keel"', 'Created part of the hull "Keel"'],
    ['Deleted hull-part "Keel" and 3 below it', 'Deleted part of the hull "Keel" and 3 below it'],
    ['Set name of "due_date of "', 'Set name of "due_date of "'],
    ["6 changes in one", "6 changes in one"],
  ])("%s", (summary, words) => {
    expect(inWords(TEMPLATE, summary)).toBe(words);
  });

  it("leaves what no template names", () => {
    expect(inWords(null, 'Set due_date of "Keel"')).toBe('Set due_date of "Keel"');
    expect(inWords(null, 'Created item "Keel"')).toBe('Created item "Keel"');
  });
});
