/** What is ticked, or chosen among options. */

import { Icon, ToneMark } from "../../parts/icons";
import { optionOf } from "../../store/schema";
import type { Control } from "./draft";

export function Checkbox({ id, property, value, editable, described, save }: Control) {
  return (
    <div class="with-button">
      <label class="check">
        <input
          id={id}
          type="checkbox"
          {...described}
          disabled={!editable}
          checked={value === true}
          onChange={(event) => void save(event.currentTarget.checked)}
        />
        {property.name}
      </label>
      {value !== null && editable && <Clear id={id} property={property} save={save} bare />}
    </div>
  );
}

/** Unsets what a control cannot unset by itself. */
export function Clear({ id, property, save, bare }: Pick<Control, "id" | "property" | "save"> & { bare?: boolean }) {
  return (
    <button
      type="button"
      class={bare ? "button bare square" : "button square"}
      aria-label={`Clear ${property.name}`}
      title="Clear"
      onClick={() => {
        document.getElementById(id)?.focus(); // this button is about to go
        void save(null);
      }}
    >
      <Icon name="close" />
    </button>
  );
}

export function Select({ id, property, node, value, editable, described, save }: Control) {
  const option = optionOf(property, node);
  return (
    <div class="select">
      <ToneMark option={option} />
      <select
        id={id}
        class="field"
        {...described}
        disabled={!editable}
        value={typeof value === "string" ? value : ""}
        onChange={(event) => void save(event.currentTarget.value || null)}
      >
        <option value="">None</option>
        {typeof value === "string" && !option && <option value={value}>An option that is gone</option>}
        {property.options?.map((each) => (
          <option key={each.uuid} value={each.uuid}>
            {each.name}
          </option>
        ))}
      </select>
    </div>
  );
}
