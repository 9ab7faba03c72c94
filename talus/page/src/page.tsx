/** Which view the address asks for; and before any of them, who is looking. */

import { useEffect } from "preact/hooks";
import { name, signedOut, token } from "./protocol/identity";
import { go, route } from "./store/route";
import { NameView } from "./views/name";
import { ProjectView } from "./views/project";
import { SignIn } from "./views/sign-in";
import { Start } from "./views/start";

export function Page() {
  const { session } = route.value;
  useEffect(() => {
    if (session === null) document.title = "talus";
  }, [session]);
  if (signedOut.value) return <SignIn />;
  if (session === null) return <Start />;
  // A friendly question before the first project, and never again.
  if (token.value === null && name.value === null) return <NameView />;
  return <ProjectView key={session} id={session} leave={() => go("/")} />;
}
