import { Dialog } from "../parts/dialog";
import { KEYS, OTHER_KEYS, PAGE_KEYS } from "../tree/keys";

/** All keys, from the tables that the page itself reads. */
export function Help({ close }: { close: () => void }) {
  const all = [...KEYS, ...OTHER_KEYS, ...PAGE_KEYS].filter((key) => key.shown);
  const groups = [...new Set(all.map((key) => key.group))];
  return (
    <Dialog title="All keys" close={close} wide>
      <div class="help" tabIndex={0} role="region" aria-label="List of keys">
        {groups.map((group) => (
          <section key={group}>
            <h3>{group}</h3>
            <dl>
              {all
                .filter((key) => key.group === group)
                .map((key) => (
                  <div key={key.shown + key.what}>
                    <dt>
                      <kbd>{key.shown}</kbd>
                    </dt>
                    <dd>{key.what}</dd>
                  </div>
                ))}
            </dl>
          </section>
        ))}
      </div>
      <p class="muted">
        On a Mac, Ctrl is the Command key. With a mouse: drag rows, right-click for a menu, double-click a name to
        change it.
      </p>
    </Dialog>
  );
}
