/** What is typed, read as the type of a property. */

import type { Json, Property } from "../../protocol/types";

/** Digits as people group them: 1234.5, 1,234.5, 1.234,5 and 1 234,5; null where it is no number. */
function number(text: string): number | null {
  let clean = text.replace(/[\s'’_]/g, "").replace("−", "-");
  const marks = clean.match(/[.,]/g) ?? [];
  const last = marks.at(-1) ?? "";
  const mixed = marks.some((mark) => mark !== last);
  // One comma is a decimal mark, unless three digits follow it, as in 12,000.
  const decimal = mixed || marks.length === 1 ? last : "";
  if (mixed || marks.length > 1 || (last === "," && /,\d{3}$/.test(clean))) {
    const group = mixed ? (last === "." ? "," : ".") : last;
    const whole = mixed ? clean.slice(0, clean.lastIndexOf(last)) : clean;
    if (!new RegExp(`^[-+]?\\d{1,3}(\\${group}\\d{3})+$`).test(whole)) return null;
    clean = clean.replaceAll(group, "");
  }
  if (decimal === ",") clean = clean.replace(",", ".");
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(clean) ? Number(clean) : null;
}

/** What is typed, read as the property's type; a string says what is wrong with it. */
export function read(property: Property, text: string): { value: Json } | string {
  const clean = text.trim();
  if (property.id === "name") return { value: clean };
  if (!clean) return { value: null };
  switch (property.type) {
    case "number":
    case "currency": {
      const value = number(property.type === "currency" ? clean.replace(/\p{Sc}/gu, "") : clean);
      return value !== null && Number.isFinite(value)
        ? { value }
        : "This is not a number. Type digits, with a point before the decimals.";
    }
    case "url":
      if (/^(https?|ftp):\/\/\S+$|^(mailto|tel):\S+$/i.test(clean)) return { value: clean };
      if (/^[^\s/:?#@]+(\.[^\s/:?#@]+)+(:\d+)?([/?#]\S*)?$/.test(clean)) return { value: `https://${clean}` };
      return "This is not an address. Paste it whole, from https:// on.";
    default:
      return { value: text };
  }
}
