// The lists under the chart: which dimension each tab asks for, and how its values read.

import { country } from "./format";

export interface Tab {
  dimension: string;
  label: string;
  /** Heads the column; the label if left out. */
  column?: string;
  /** Tabs of one group share a menu of that name. */
  group?: string;
  /** Beside visitors. */
  second: { metric: "pageviews" | "visits" | "bounce_rate"; label: string } | null;
  /** What an empty value means here. */
  unknown: string;
  show?: (value: string) => string;
}

export interface Panel {
  title: string;
  tabs: Tab[];
}

const bounces = { metric: "bounce_rate", label: "Bounce rate" } as const;

export const panels: Panel[] = [
  {
    title: "Pages",
    tabs: [
      { dimension: "event:page", label: "Top pages", column: "Page", second: { metric: "pageviews", label: "Views" }, unknown: "(no path)" },
      { dimension: "visit:entry_page", label: "Entry", column: "Entry page", second: bounces, unknown: "(no page)" },
      { dimension: "visit:exit_page", label: "Exit", column: "Exit page", second: { metric: "visits", label: "Visits" }, unknown: "(no page)" },
    ],
  },
  {
    title: "Sources",
    tabs: [
      { dimension: "visit:channel", label: "Channel", second: bounces, unknown: "Direct" },
      { dimension: "visit:source", label: "Source", second: bounces, unknown: "Direct / None" },
      { dimension: "visit:referrer", label: "Referrer", second: bounces, unknown: "Direct / None" },
      { dimension: "visit:utm_campaign", label: "Campaign", group: "UTM", second: bounces, unknown: "(none)" },
      { dimension: "visit:utm_source", label: "Source", group: "UTM", second: bounces, unknown: "(none)" },
      { dimension: "visit:utm_medium", label: "Medium", group: "UTM", second: bounces, unknown: "(none)" },
      { dimension: "visit:utm_content", label: "Content", group: "UTM", second: bounces, unknown: "(none)" },
      { dimension: "visit:utm_term", label: "Term", group: "UTM", second: bounces, unknown: "(none)" },
    ],
  },
  {
    title: "Countries",
    tabs: [{ dimension: "visit:country", label: "Countries", column: "Country", second: null, unknown: "Unknown", show: country }],
  },
  {
    title: "Devices",
    tabs: [
      { dimension: "visit:browser", label: "Browser", second: null, unknown: "Unknown" },
      { dimension: "visit:os", label: "System", second: null, unknown: "Unknown" },
      { dimension: "visit:device", label: "Device", second: null, unknown: "Unknown" },
    ],
  },
];

/** How the API marks what was counted beyond the values that have a row of their own. */
export const remainder = "(other)";

/** How it marks values that are not known. */
const notSet = "(not set)";

export interface ListRow {
  value: string;
  label: string;
  metrics: (number | null)[];
  isRemainder: boolean;
}

/** Rows of an answer as they are listed: the remainder last, because it is no value among the others. */
export function listRows(tab: Tab, rows: { dimensions: string[]; metrics: (number | null)[] }[]): ListRow[] {
  const listed = rows.map((row): ListRow => {
    const value = row.dimensions[0] ?? "";
    const isRemainder = value === remainder;
    const label = isRemainder ? "All others together" : value === "" || value === notSet ? tab.unknown : (tab.show?.(value) ?? value);
    return { value, label, metrics: row.metrics, isRemainder };
  });
  return [...listed.filter((row) => !row.isRemainder), ...listed.filter((row) => row.isRemainder)];
}
