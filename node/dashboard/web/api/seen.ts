// What this page has seen of each site: sent back, it keeps the numbers from going backwards when the next answer comes
// from another node.

import type { Answer, Query } from "./types";

/** Questions that are remembered; a page asks far fewer. */
const QUESTIONS_MAX = 500;

/** Each question has a session of its own: one answer may know more entries, and another one more late events. */
export class Seen {
  private readonly sessions = new Map<string, string>();

  /** The query, with what its last answer has shown. */
  of(query: Query): Query {
    const session = this.sessions.get(question(query));
    return session === undefined ? query : { ...query, session };
  }

  remember(query: Query, { meta }: Answer): void {
    if (meta.session === undefined) return;
    if (this.sessions.size >= QUESTIONS_MAX) this.sessions.clear();
    this.sessions.set(question(query), meta.session);
  }

  /** After a refusal: the domain may have become another site. */
  forget(query: Query): boolean {
    return this.sessions.delete(question(query));
  }
}

function question({ site_id, metrics, dimensions, date_range }: Query): string {
  return JSON.stringify([site_id, metrics, dimensions, date_range]);
}
