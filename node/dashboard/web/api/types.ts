// What the node's HTTP API sends, as far as the page reads it.

export interface Site {
  id: string;
  domain: string;
  timezone: string;
  paused: boolean;
}

export interface Query {
  site_id: string;
  metrics: readonly string[];
  /** "all", or [first day, last day] in the site's zone. */
  date_range: string | [string, string];
  dimensions?: string[];
  order_by?: [string, "asc" | "desc"][];
  include?: { compare?: [string, string]; time_labels?: boolean; total_rows?: boolean };
  pagination?: { limit: number; offset?: number };
  /** `meta.session` of an earlier answer about the site. */
  session?: string;
}

export interface Row {
  dimensions: string[];
  metrics: (number | null)[];
  comparison?: { dimensions: string[]; metrics: (number | null)[]; change: (number | null)[] };
}

export interface Answer {
  results: Row[];
  meta: {
    /** Opaque: what the reader has seen with this answer. */
    session?: string;
    /** False when no node was reached that knows the latest events. */
    is_fresh?: boolean;
    /** RFC 3339: the answer holds everything acknowledged up to here. */
    as_of?: string;
    /** Late events that wait for their merge into history. */
    pending_late?: number;
    /** First instant, and the first one after, in the site's zone. */
    date_range?: [string, string];
    /** Metrics that are estimates, and how good they are. */
    approximate?: { metric: string; relative_standard_error: number }[];
    time_labels?: string[];
    total_rows?: number;
  };
}

export interface Realtime {
  visitors: number;
  as_of: string;
}
