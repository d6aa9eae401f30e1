// What this page has seen of each site: sent back, it keeps the numbers from going backwards when the next answer comes
// from another node.

import type { Answer, Query } from "./types";

export class Seen {
  private readonly latest = new Map<string, { session: string; index: number }>();

  /** The query, with what was seen of its site. */
  of(query: Query): Query {
    const seen = this.latest.get(query.site_id);
    return seen ? { ...query, session: seen.session } : query;
  }

  /** Answers of questions that were asked together come in any order: the furthest counts. */
  remember(site: string, { meta }: Answer): void {
    if (meta.session === undefined || meta.index === undefined) return;
    const known = this.latest.get(site);
    if (!known || meta.index >= known.index) this.latest.set(site, { session: meta.session, index: meta.index });
  }

  /** After a refusal: the domain may have become another site. */
  forget(site: string): boolean {
    return this.latest.delete(site);
  }
}
