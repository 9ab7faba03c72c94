import { THEMES, theme } from "../store/theme";
import { Icon } from "./icons";

const WORDS = { system: "as the system", light: "light", dark: "dark" } as const;
const ICONS = { system: "system", light: "sun", dark: "moon" } as const;

/** Goes round: as the system, light, dark. */
export function ThemeButton() {
  const now = theme.value;
  const next = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length] ?? "system";
  return (
    <button
      type="button"
      class="button bare square"
      aria-label={`Colours: ${WORDS[now]}. Change to: ${WORDS[next]}`}
      title={`Colours: ${WORDS[now]}`}
      onClick={() => {
        theme.value = next;
      }}
    >
      <Icon name={ICONS[now]} />
    </button>
  );
}
