// One query of the page: asked again when it changes, the one before aborted. What was shown stays until the
// new answer is there, so nothing flickers.

import { type Accessor, createEffect, createMemo, createSignal, onCleanup } from "solid-js";
import { ApiError } from "../api/client";
import type { Answer, Query } from "../api/types";
import { useClient } from "./session";

export interface Report {
  answer: Accessor<Answer | null>;
  /** The query that `answer` belongs to. */
  asked: Accessor<Query | null>;
  error: Accessor<string | null>;
  isLoading: Accessor<boolean>;
}

/** `query` gives `null` while there is nothing to ask; `pulse` asks the same again, quietly. */
export function createReport(query: Accessor<Query | null>, pulse: Accessor<number>): Report {
  const client = useClient();
  const [shown, setShown] = createSignal<{ answer: Answer; asked: Query } | null>(null);
  const [error, setError] = createSignal<string | null>(null);
  const [isLoading, setLoading] = createSignal(false);
  // A query with the same content is the same query, whatever made it anew.
  const distinct = createMemo(query, null, { equals: (a, b) => JSON.stringify(a) === JSON.stringify(b) });
  let site = "";

  createEffect(() => {
    const asked = distinct();
    pulse();
    if (!asked) {
      setShown(null);
      setError(null);
      return;
    }
    // Another site's numbers must not stand under this site's name, not even for a moment.
    if (asked.site_id !== site) setShown(null);
    site = asked.site_id;

    const control = new AbortController();
    onCleanup(() => control.abort());
    setLoading(true);
    client
      .query(asked, control.signal)
      .then(
        (answer) => {
          if (control.signal.aborted) return;
          setShown({ answer, asked });
          setError(null);
          setLoading(false);
        },
        (cause) => {
          if (control.signal.aborted) return;
          setError(cause instanceof ApiError ? cause.message : "The node's answer could not be read.");
          setLoading(false);
        },
      );
  });

  return {
    answer: () => shown()?.answer ?? null,
    asked: () => shown()?.asked ?? null,
    error,
    isLoading,
  };
}
