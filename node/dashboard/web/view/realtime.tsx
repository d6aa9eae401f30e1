// The count of present visitors, moved by the node's pushes.

import { type Accessor, Show, createEffect, createSignal, onCleanup } from "solid-js";
import { ApiError } from "../api/client";
import type { Realtime as Update } from "../api/types";
import { full } from "../model/format";
import { useClient } from "./session";

const retryMsMin = 1_000;
const retryMsMax = 30_000;

export interface RealtimeState {
  visitors: Accessor<number | null>;
  isConnected: Accessor<boolean>;
}

/** Listens while the tab is visible; `onUpdate` hears every push. */
export function createRealtime(domain: Accessor<string>, onUpdate: (update: Update) => void): RealtimeState {
  const client = useClient();
  const [visitors, setVisitors] = createSignal<number | null>(null);
  const [isConnected, setConnected] = createSignal(false);
  const [isVisible, setVisible] = createSignal(document.visibilityState === "visible");

  const onVisibility = (): void => void setVisible(document.visibilityState === "visible");
  document.addEventListener("visibilitychange", onVisibility);
  onCleanup(() => document.removeEventListener("visibilitychange", onVisibility));

  createEffect((before: string | undefined) => {
    const present = domain();
    if (present !== before) setVisitors(null);
    if (!isVisible()) return present;
    const control = new AbortController();
    onCleanup(() => {
      control.abort();
      setConnected(false);
    });

    let retryMs = retryMsMin;
    const listen = async (): Promise<void> => {
      while (!control.signal.aborted) {
        try {
          await client.realtime(
            present,
            (update) => {
              retryMs = retryMsMin;
              setConnected(true);
              setVisitors(update.visitors);
              onUpdate(update);
            },
            control.signal,
          );
        } catch (cause) {
          // A refusal stays one; everything else (a restart, a lost network) may pass.
          if (cause instanceof ApiError && cause.status >= 400 && cause.status < 500 && cause.status !== 429) return;
        }
        if (control.signal.aborted) return;
        setConnected(false);
        await new Promise((resume) => setTimeout(resume, retryMs));
        retryMs = Math.min(retryMsMax, retryMs * 2);
      }
    };
    void listen();
    return present;
  });

  return { visitors, isConnected };
}

export function RealtimeCount(props: { state: RealtimeState }) {
  return (
    <p class="realtime" classList={{ "is-live": props.state.isConnected() }} role="status" data-testid="realtime">
      <span class="dot" aria-hidden="true" />
      <Show when={props.state.visitors() !== null} fallback={<span class="muted">Connecting…</span>}>
        <strong class="count" data-testid="realtime-count">
          {full(props.state.visitors())}
        </strong>
        <span>{props.state.visitors() === 1 ? "visitor now" : "visitors now"}</span>
        <Show when={!props.state.isConnected()}>
          <span class="muted">(reconnecting)</span>
        </Show>
      </Show>
    </p>
  );
}
