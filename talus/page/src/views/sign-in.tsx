/** Where the server asks for tokens: a place to paste one. It never gets into an address. */

import { useState } from "preact/hooks";
import { claims, signIn } from "../protocol/identity";
import { Refusal } from "../protocol/refusal";
import { rest } from "../protocol/rest";

export function SignIn() {
  const [wrong, setWrong] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (form: HTMLFormElement) => {
    const text = String(new FormData(form).get("token")).trim().replace(/^"|"$/g, "");
    const read = claims(text);
    if (!read)
      return setWrong(
        "This is not a token. Paste the whole of what you were given, three parts with dots between them.",
      );
    if (read.exp * 1_000 < Date.now())
      return setWrong("This token has expired. Ask an administrator for a new one: talus token.");
    setBusy(true);
    signIn(text, form.querySelector<HTMLInputElement>("#remember")?.checked ?? false);
    try {
      await rest.sessions(undefined, 1);
    } catch (error) {
      if (error instanceof Refusal) setWrong(error.words);
    }
    setBusy(false);
  };
  return (
    <main class="gate">
      <h1>Sign in</h1>
      <p class="muted">
        This server asks who you are. Whoever runs it makes a token for you: talus token --user NAME --days 30.
      </p>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit(event.currentTarget);
        }}
      >
        <label class="label" for="token">
          Token
        </label>
        <textarea
          id="token"
          name="token"
          class="field token"
          rows={4}
          required
          autofocus
          spellcheck={false}
          autocomplete="off"
          aria-invalid={wrong !== null}
          aria-describedby={wrong === null ? undefined : "token-wrong"}
        />
        {wrong !== null && (
          <p class="wrong" id="token-wrong" role="alert">
            {wrong}
          </p>
        )}
        <label class="check">
          <input type="checkbox" id="remember" /> Stay signed in on this device
        </label>
        <button type="submit" class="button primary" disabled={busy}>
          Sign in
        </button>
      </form>
    </main>
  );
}
