// The whole page: signing in, finding the site that the address names, and its dashboard.

import { Match, Show, Switch, createEffect, createMemo, createSignal, onCleanup } from "solid-js";
import { ApiError } from "../api/client";
import type { Site } from "../api/types";
import { type View, readAddress, writeAddress } from "../model/address";
import { Dashboard } from "./dashboard";
import { Mark } from "./mark";
import { ClientProvider, createSession, useClient } from "./session";
import { SignIn } from "./sign_in";

export function App() {
  const session = createSession();
  return (
    <>
      <Show when={session.client()} keyed fallback={<SignIn wasRefused={session.wasRefused()} onToken={session.signIn} />}>
        {(client) => (
          <ClientProvider value={client}>
            <Sites onSignOut={session.signOut} />
          </ClientProvider>
        )}
      </Show>
      <footer class="foot">
        <span class="brand">
          <Mark />
          Ringtail
        </span>
        <a href="https://db-ip.com" rel="noopener noreferrer" target="_blank">
          IP Geolocation by DB-IP
        </a>
      </footer>
    </>
  );
}

const lastSiteKey = "ringtail.site";

function Sites(props: { onSignOut: () => void }) {
  const client = useClient();
  const [sites, setSites] = createSignal<Site[] | null>(null);
  const [error, setError] = createSignal<string | null>(null);
  const [attempt, setAttempt] = createSignal(0);
  const [view, setView] = createSignal(readAddress(new URL(location.href)));

  createEffect(() => {
    attempt();
    const control = new AbortController();
    onCleanup(() => control.abort());
    client
      .sites(control.signal)
      .then(
        (sites) => {
          setError(null);
          setSites(sites.toSorted((a, b) => a.domain.localeCompare(b.domain)));
        },
        (cause) => {
          if (control.signal.aborted) return;
          setError(cause instanceof ApiError ? cause.message : "The node's answer could not be read.");
        },
      );
  });

  const onPopState = (): void => void setView(readAddress(new URL(location.href)));
  addEventListener("popstate", onPopState);
  onCleanup(() => removeEventListener("popstate", onPopState));

  const change = (part: Partial<View>): void => {
    const next = { ...view(), domain: site()?.domain ?? null, ...part };
    setView(next);
    history.pushState(null, "", writeAddress(next));
  };

  const site = createMemo((): Site | null => {
    const all = sites() ?? [];
    const named = view().domain;
    if (named !== null) return all.find((site) => site.domain === named) ?? null;
    return all.find((site) => site.domain === lastSite()) ?? all[0] ?? null;
  });
  createEffect(() => {
    const shown = site();
    if (!shown) return;
    rememberSite(shown.domain);
    document.title = `${shown.domain} · Ringtail`;
    if (view().domain === null) history.replaceState(null, "", writeAddress({ ...view(), domain: shown.domain }));
  });

  return (
    <Switch fallback={<main class="alone"><Mark /><p class="muted" role="status">Loading…</p></main>}>
      <Match when={site()}>
        {(site) => <Dashboard site={site()} sites={sites() ?? []} view={view()} onView={change} />}
      </Match>
      <Match when={sites()?.length === 0}>
        <main class="alone">
          <Mark />
          <h1>No site yet</h1>
          <p class="muted">Add the first one on the node's command line, then reload:</p>
          <pre><code>ringtail site add example.com --timezone Europe/Berlin</code></pre>
          <button type="button" onClick={() => setAttempt((attempt) => attempt + 1)}>Look again</button>
        </main>
      </Match>
      <Match when={sites()}>
        <main class="alone">
          <Mark />
          <h1>No site “{view().domain}”</h1>
          <p class="muted">It does not exist on this node, or this token may not see it.</p>
          <div class="row">
            <button type="button" class="primary" onClick={() => change({ domain: null })}>Show my sites</button>
            <button type="button" onClick={props.onSignOut}>Use another token</button>
          </div>
        </main>
      </Match>
      <Match when={error()}>
        <main class="alone">
          <Mark />
          <h1>The sites could not be loaded</h1>
          <p class="warning" role="alert">{error()}</p>
          <div class="row">
            <button type="button" class="primary" onClick={() => setAttempt((attempt) => attempt + 1)}>Try again</button>
            <button type="button" onClick={props.onSignOut}>Use another token</button>
          </div>
        </main>
      </Match>
    </Switch>
  );
}

function lastSite(): string | null {
  try {
    return sessionStorage.getItem(lastSiteKey);
  } catch {
    // Storage is forbidden: the first site, then.
    return null;
  }
}

function rememberSite(domain: string): void {
  try {
    sessionStorage.setItem(lastSiteKey, domain);
  } catch {
    // As above.
  }
}
