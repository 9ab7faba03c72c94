/** One colour for each person, the same in every browser, for nobody stores it. */

/** As many as styles/tokens.css has `--person-N`, which are told apart in light and dark. */
export const COLORS = 8;

export function colorOf(actor: string): number {
  let sum = 7;
  for (const each of actor) sum = (sum * 31 + (each.codePointAt(0) ?? 0)) >>> 0;
  return sum % COLORS;
}

/** One or two letters to show for a name. */
export function initials(actor: string): string {
  const words = actor.split(/[\s._-]+/).filter(Boolean);
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...(word ?? "?")][0]?.toUpperCase() ?? "?").join("");
}
