/** Where the server asks for tokens: a place to paste one. It never gets into an address. */

import { useState } from "preact/hooks";
import { claims, signIn, token } from "../protocol/identity";
import { Refusal, unreachable } from "../protocol/refusal";
import { rest } from "../protocol/rest";

export function SignIn() {
  const [wrong, setWrong] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  // It was taken until now: signing out leaves none.
  const [ended] = useState(token.value !== null);
  const submit = async (form: HTMLFormElement) => {
    const text = String(new FormData(form).get("token")).replace(/[\s"]/g, ""); // a terminal breaks long lines
    const read = claims(text);
    if (!read)
      return setWrong(
        "This is not a token. Paste the whole of what you were given, three parts with dots between them.",
      );
    setBusy(true);
    const before = token.value;
    token.value = text; // asked with it; kept when the server takes it
    try {
      await rest.sessions(undefined, 1);
      signIn(text, form.querySelector<HTMLInputElement>("#remember")?.checked ?? false);
    } catch (error) {
      token.value = before;
      const refusal = error instanceof Refusal ? error : unreachable();
      if (refusal.code !== "UNAUTHENTICATED") setWrong(refusal.words);
      else if (read.exp * 1_000 < Date.now())
        setWrong("This token has expired. Ask an administrator for a new one: talus token.");
      else setWrong("The server does not take this token. Ask an administrator for one of this server: talus token.");
    }
    setBusy(false);
  };
  return (
    <main class="gate">
      <h1>Sign in</h1>
      <p class="muted">
        {ended ? "Your token has expired or was withdrawn. " : "This server asks who you are. "}
        Whoever runs it makes a {ended && "new "}token for you: talus token --user NAME --days 30.
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
