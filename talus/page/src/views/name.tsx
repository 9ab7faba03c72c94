/** One friendly question: the name that the others will see. */

import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { asName, name, setName } from "../protocol/identity";
import { rest } from "../protocol/rest";

/** What stands in the field, so that nobody is asked twice who typed it and went on without "Save". */
const typed = signal("");

/** Takes what was typed as the name, if it is one. */
export function keepTyped(): void {
  const clean = asName(typed.value);
  if (name.value === null && clean !== null) setName(clean);
}

export function NameForm({ done, action }: { done: () => void; action: string }) {
  const [text, setText] = useState(name.value ?? typed.value);
  const [wrong, setWrong] = useState(false);
  return (
    <form
      class="name-form"
      onSubmit={(event) => {
        event.preventDefault();
        const clean = asName(text);
        setWrong(clean === null);
        if (clean === null) return;
        setName(clean);
        done();
      }}
    >
      <label class="label" for="your-name">
        Your name, as the others will see it
      </label>
      <div class="name-line">
        <Avatar actor={text.trim() || "?"} />
        <input
          id="your-name"
          class="field"
          value={text}
          maxLength={64}
          autocomplete="name"
          autofocus
          aria-invalid={wrong}
          aria-describedby={wrong ? "your-name-wrong" : undefined}
          onInput={(event) => {
            setText(event.currentTarget.value);
            typed.value = event.currentTarget.value;
          }}
        />
        <button type="submit" class="button primary">
          {action}
        </button>
      </div>
      {wrong && (
        <p class="wrong" id="your-name-wrong">
          Type at least one letter.
        </p>
      )}
    </form>
  );
}

export function NameView() {
  // Where the server asks for tokens, they say who somebody is: `rest` then turns to the page for signing in.
  const [known, setKnown] = useState(false);
  useEffect(() => {
    const answered = () => setKnown(true);
    rest.sessions(undefined, 1).then(answered, answered);
  }, []);
  if (!known) return null;
  return (
    <main class="gate">
      <h1>Who are you?</h1>
      <p class="muted">
        You are about to open a shared project. Nobody checks the name; it is for the people you work with.
      </p>
      <NameForm done={() => {}} action="Open the project" />
    </main>
  );
}
