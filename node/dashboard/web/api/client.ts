// Requests to the node that served this page.

import { EventParser } from "./event_stream";
import { Seen } from "./seen";
import type { Answer, Query, Realtime, Site } from "./types";

/** An answer that is not the wanted one, or none at all (`status` 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export class Client {
  private readonly seen = new Seen();

  constructor(
    private readonly token: string,
    /** Called whenever the node does not accept the token. */
    private readonly onRefused: () => void,
  ) {}

  async sites(signal: AbortSignal): Promise<Site[]> {
    const response = await this.send("/api/v1/sites", { signal });
    return ((await response.json()) as { sites: Site[] }).sites;
  }

  async query(query: Query, signal: AbortSignal): Promise<Answer> {
    try {
      return await this.ask(this.seen.of(query), signal);
    } catch (error) {
      const isRefused = error instanceof ApiError && error.status === 400;
      if (isRefused && this.seen.forget(query)) return await this.ask(query, signal);
      throw error;
    }
  }

  private async ask(query: Query, signal: AbortSignal): Promise<Answer> {
    const response = await this.send("/api/v2/query", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(query),
      signal,
    });
    const answer = (await response.json()) as Answer;
    this.seen.remember(query, answer);
    return answer;
  }

  /** Calls `onUpdate` for each push until the stream ends. EventSource cannot send the token, so it is read by hand. */
  async realtime(domain: string, onUpdate: (update: Realtime) => void, signal: AbortSignal): Promise<void> {
    const response = await this.send("/api/v1/realtime?site=" + encodeURIComponent(domain), {
      headers: { Accept: "text/event-stream" },
      signal,
    });
    if (!response.body) throw new ApiError(response.status, "the node sent no stream");
    const parser = new EventParser((event) => {
      if (event.type === "realtime") onUpdate(JSON.parse(event.data) as Realtime);
    });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      parser.push(value);
    }
  }

  private async send(path: string, request: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(path, {
        ...request,
        cache: "no-store",
        headers: { ...request.headers, Authorization: `Bearer ${this.token}` },
      });
    } catch (cause) {
      if (request.signal?.aborted) throw cause;
      throw new ApiError(0, "The node does not answer. It may be restarting.");
    }
    if (response.ok) return response;
    if (response.status === 401) this.onRefused();
    throw new ApiError(response.status, await reason(response));
  }
}

/** The node's own words about what went wrong, if it said any. */
async function reason(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text) as { error?: unknown };
    if (typeof error === "string" && error) return error;
    const { message } = (error ?? {}) as { message?: unknown };
    if (typeof message === "string" && message) return message;
  } catch {
    // Not JSON, for example a proxy's own error page: the status has to do.
  }
  return `The node answered ${response.status} ${response.statusText}`.trim();
}
