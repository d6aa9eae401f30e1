import { Show, createSignal } from "solid-js";
import { Mark } from "./mark";

export function SignIn(props: { wasRefused: boolean; onToken: (token: string) => void }) {
  const [text, setText] = createSignal("");
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (text().trim()) props.onToken(text().trim());
  };
  return (
    <main class="alone">
      <Mark />
      <h1>Sign in with a token</h1>
      <Show
        when={props.wasRefused}
        fallback={<p class="muted">The numbers on this node are open to those who hold one of its keys.</p>}
      >
        <p class="warning" role="alert">
          The node did not accept that token (401). It may be mistyped, expired or revoked.
        </p>
      </Show>
      <form onSubmit={submit}>
        <label for="token">Token</label>
        <div class="field">
          <input
            id="token"
            type="password"
            autocomplete="current-password"
            spellcheck={false}
            autofocus
            aria-invalid={props.wasRefused}
            value={text()}
            onInput={(event) => setText(event.currentTarget.value)}
          />
          <button class="primary" type="submit" disabled={!text().trim()}>
            Open
          </button>
        </div>
      </form>
      <p class="hint muted">
        The first one is in <code>admin.token</code> in the node's data directory; <code>ringtail key add</code> makes
        others. It is kept in this tab only.
      </p>
    </main>
  );
}
