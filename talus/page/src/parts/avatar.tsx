import { colorOf, initials } from "../store/colors";

/** A person as two letters in their colour; the name is told by what stands around it, or by `named`. */
export function Avatar({ actor, small, named }: { actor: string; small?: boolean; named?: boolean }) {
  return (
    <span
      data-initials={initials(actor)}
      class={`avatar person-${colorOf(actor)}${small ? " small" : ""}`}
      {...(named ? { role: "img", "aria-label": actor, title: actor } : { "aria-hidden": true })}
    />
  );
}
