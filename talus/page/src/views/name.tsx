/** One friendly question: the name that the others will see. */

import { useState } from "preact/hooks";
import { Avatar } from "../parts/avatar";
import { asName, name, setName } from "../protocol/identity";

export function NameForm({ done, action }: { done: () => void; action: string }) {
  const [text, setText] = useState(name.value ?? "");
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
          onInput={(event) => setText(event.currentTarget.value)}
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
