/** Light or dark: as the system has it, or as it was chosen here. */

import { effect, signal } from "@preact/signals";
import { store, stored } from "../protocol/identity";

export type Theme = "system" | "light" | "dark";
export const THEMES: readonly Theme[] = ["system", "light", "dark"];

const KEY = "talus.theme";
const chosen = stored(KEY);
export const theme = signal<Theme>(THEMES.find((each) => each === chosen) ?? "system");

export function applyTheme(): void {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const apply = () => {
    const now = theme.value === "system" ? (dark.matches ? "dark" : "light") : theme.value;
    document.documentElement.dataset.theme = now;
  };
  effect(() => {
    store(KEY, theme.value === "system" ? null : theme.value);
    apply();
  });
  dark.addEventListener("change", apply);
}
