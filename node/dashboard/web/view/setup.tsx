// A site that has never been visited: how to begin.

import { Show, createSignal } from "solid-js";

export function Setup(props: { domain: string }) {
  const [isCopied, setCopied] = createSignal(false);
  let code!: HTMLElement;
  const snippet = (): string => `<script defer data-domain="${props.domain}" src="${location.origin}/js/ringtail.js"></script>`;
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(snippet());
      setCopied(true);
    } catch {
      // The clipboard needs TLS or a permission: the text is selected instead, ready for the keyboard.
      getSelection()?.selectAllChildren(code);
    }
  };
  return (
    <section class="card setup" data-testid="setup">
      <h2>Waiting for the first visit</h2>
      <p class="muted">
        Put this line into the head of every page of {props.domain}. The first page view shows up here within a second.
      </p>
      <div class="snippet">
        <code ref={code}>{snippet()}</code>
        <button type="button" onClick={() => void copy()}>
          <Show when={isCopied()} fallback="Copy">
            Copied
          </Show>
        </button>
      </div>
      <p class="muted">
        There is history already? <code>ringtail import access-log --site {props.domain} FILE…</code> reads a web
        server's log.
      </p>
    </section>
  );
}
