// One site: what is asked of the node, and where the answers stand.

import { For, Show, createEffect, createMemo, createSignal, onCleanup } from "solid-js";
import type { Query, Site } from "../api/types";
import { type View, defaultPeriod } from "../model/address";
import { type Range, todayIn, wallClock } from "../model/dates";
import { days, margin } from "../model/format";
import { metricNames, metrics } from "../model/metrics";
import { panels } from "../model/panels";
import { type Interval, type Period, compared, intervals, latestRange, resolve } from "../model/period";
import { type Lines, align, bucketLabels } from "../model/series";
import { Chart } from "./chart";
import { Headline } from "./headline";
import { Panel } from "./panel";
import { PeriodPicker } from "./period_picker";
import { RealtimeCount, createRealtime } from "./realtime";
import { createReport } from "./report";
import { Setup } from "./setup";
import { SitePicker } from "./site_picker";

/** Reports over today follow the visitors, but not with every single one. */
const refreshMsMin = 5_000;
const latestDaysMax = 60;

export function Dashboard(props: {
  site: Site;
  sites: Site[];
  view: View;
  onView: (change: Partial<View>) => void;
}) {
  const [clock, setClock] = createSignal(new Date());
  const [pulse, setPulse] = createSignal(0);
  const today = createMemo(() => todayIn(props.site.timezone, clock()));

  // Nobody has chosen a period and the usual one is empty: then the latest days that have visits.
  const [latest, setLatest] = createSignal<{ domain: string; range: Range } | null>(null);
  const fallback = (): Range | null => (latest()?.domain === props.site.domain ? latest()!.range : null);
  const period = createMemo((): Period => {
    const range = fallback();
    return props.view.period ?? (range ? { name: "custom", ...range } : defaultPeriod);
  });
  const range = createMemo(() => resolve(period(), today()), null, { equals: sameRange });
  const before = createMemo(() => compared(period(), range(), props.view.comparison), null, { equals: sameRange });
  const frame = createMemo(() => ({ site_id: props.site.domain, date_range: dateRange(range()) }));

  const total = createReport((): Query => {
    const compare = before();
    return { ...frame(), metrics: metricNames, ...(compare && { include: { compare: [compare.from, compare.to] } }) };
  }, pulse);
  const totalRow = createMemo(() => total.answer()?.results[0] ?? null);
  // Said only of the range that is chosen now, not of one whose numbers still stand there while the next ones come.
  const isEmpty = createMemo((): boolean => {
    const asked = total.asked();
    if (!asked || asked.site_id !== frame().site_id || String(asked.date_range) !== String(frame().date_range)) return false;
    return totalRow()?.metrics.slice(0, 3).every((value) => !value) ?? true;
  });

  // All time has no first day until the node has said so.
  const drawn = createMemo((): Range | null => {
    const known = range();
    if (known) return known;
    const first = total.asked()?.date_range === "all" ? total.answer()?.meta.date_range?.[0].slice(0, 10) : undefined;
    return first ? { from: first, to: today() } : null;
  }, null, { equals: sameRange });
  const choices = createMemo((): [Interval, ...Interval[]] => {
    const known = drawn();
    return known ? intervals(known) : ["day"];
  });
  const interval = createMemo((): Interval => choices().find((choice) => choice === props.view.interval) ?? choices()[0]);

  const lineQuery = (date_range: Query["date_range"]): Query => ({
    site_id: props.site.domain,
    date_range,
    metrics: metricNames,
    dimensions: ["time:" + interval()],
    include: { time_labels: true },
  });
  const line = createReport(() => (drawn() ? lineQuery(dateRange(range())) : null), pulse);
  const lineBefore = createReport(() => (before() ? lineQuery(dateRange(before())) : null), pulse);

  const metric = createMemo(() => metrics.find((metric) => metric.name === props.view.metric) ?? metrics[0]);
  const series = createMemo(() => {
    const answer = line.answer();
    const asked = line.asked();
    if (!answer || !asked) return null;
    const shown = intervalOf(asked);
    const earlier = lineBefore.answer();
    const earlierAsked = lineBefore.asked();
    const lines: Lines = {
      labels: labels(answer.meta.time_labels, asked, shown, drawn()),
      rows: answer.results,
      comparison:
        earlier && earlierAsked && intervalOf(earlierAsked) === shown
          ? { labels: labels(earlier.meta.time_labels, earlierAsked, shown, null), rows: earlier.results }
          : undefined,
    };
    const now = wallClock(props.site.timezone, clock());
    return { shown, ...align(lines, shown, metricNames.indexOf(metric().name), metric().empty, now) };
  });

  const quiet = createReport(
    (): Query | null =>
      isEmpty()
        ? { site_id: props.site.domain, date_range: "all", metrics: ["visitors"], dimensions: ["time:day"], order_by: [["time:day", "desc"]], pagination: { limit: latestDaysMax } }
        : null,
    pulse,
  );
  const lastRange = createMemo(() => latestRange(quiet.answer()?.results.map((row) => row.dimensions[0]?.slice(0, 10) ?? "").filter(Boolean) ?? []));
  const isNew = (): boolean => isEmpty() && quiet.answer() !== null && !lastRange();
  createEffect(() => {
    const found = lastRange();
    if (found && isEmpty() && !props.view.period) setLatest({ domain: props.site.domain, range: found });
  });

  // Numbers that can still move, move: at once, or as soon as the last time is long enough ago.
  let refreshed = Date.now();
  let waiting: ReturnType<typeof setTimeout> | undefined;
  const canMove = (): boolean => isNew() || (range()?.to ?? today()) >= today();
  const refresh = (): void => {
    setClock(new Date());
    if (!canMove() || waiting !== undefined) return;
    const waitMs = isNew() ? 0 : Math.max(0, refreshed + refreshMsMin - Date.now());
    waiting = setTimeout(() => {
      waiting = undefined;
      refreshed = Date.now();
      if (canMove()) setPulse((pulse) => pulse + 1);
    }, waitMs);
  };
  onCleanup(() => clearTimeout(waiting));
  const realtime = createRealtime(() => props.site.domain, refresh);
  const ticking = setInterval(() => setClock(new Date()), 60_000);
  onCleanup(() => clearInterval(ticking));

  const failure = (): string | null => total.error() ?? line.error() ?? null;
  const asOf = (): string | null => {
    const stamp = total.answer()?.meta.as_of;
    const date = stamp ? new Date(stamp) : null;
    return date && !Number.isNaN(date.getTime()) ? wallClock(props.site.timezone, date).slice(11) : null;
  };
  const estimates = (): string =>
    (total.answer()?.meta.approximate ?? [])
      .map((estimate) => {
        const label = metrics.find((metric) => metric.name === estimate.metric)?.label ?? estimate.metric;
        return `${label.toLowerCase()} ${margin(estimate.relative_standard_error)}`;
      })
      .join(", ");
  const isBehind = (): boolean => total.answer()?.meta.is_fresh === false;
  const late = (): number => total.answer()?.meta.pending_late ?? 0;

  return (
    <>
      <header class="top">
        <div class="top-site">
          <SitePicker sites={props.sites} domain={props.site.domain} onSelect={(domain) => props.onView({ domain, period: props.view.period })} />
          <RealtimeCount state={realtime} />
        </div>
        <PeriodPicker
          period={period()}
          range={range()}
          today={today()}
          comparison={props.view.comparison}
          onPeriod={(period) => props.onView({ period, interval: null })}
          onComparison={(comparison) => props.onView({ comparison })}
        />
      </header>

      <main>
        <Show when={props.site.paused}>
          <p class="notice">This site is paused: its beacons are not counted.</p>
        </Show>
        <Show when={!props.view.period && fallback()}>
          {(shown) => (
            <p class="notice" data-testid="fallback-notice">
              No visits in the last 28 days. These are the most recent ones, of {days(shown())}.
            </p>
          )}
        </Show>
        <Show when={failure()}>
          {(message) => (
            <div class="notice warning" role="alert" data-testid="failure">
              <p>{message()}</p>
              <button type="button" onClick={() => setPulse((pulse) => pulse + 1)}>
                Try again
              </button>
            </div>
          )}
        </Show>

        <Show when={!isNew()} fallback={<Setup domain={props.site.domain} />}>
          <section class="card overview" aria-label="Overview" classList={{ "is-loading": total.isLoading() }}>
            <Headline row={totalRow()} comparedWith={before()} selected={props.view.metric} onSelect={(metric) => props.onView({ metric })} />
            <div class="overview-body">
              <Show when={choices().length > 1}>
                <select
                  class="interval"
                  aria-label="Interval"
                  value={interval()}
                  onChange={(event) => props.onView({ interval: event.currentTarget.value as Interval })}
                >
                  <For each={choices()}>{(choice) => <option value={choice}>{{ hour: "Hours", day: "Days", week: "Weeks", month: "Months" }[choice]}</option>}</For>
                </select>
              </Show>
              <Show when={series()} fallback={<div class="chart chart-frame skeleton" aria-hidden="true" />}>
                {(drawn) => <Chart series={drawn()} metric={metric()} interval={drawn().shown} isStale={line.isLoading()} />}
              </Show>
              <Show when={isEmpty()}>
                <div class="empty" data-testid="empty">
                  <p>No visits in this period.</p>
                  <Show when={props.view.period && lastRange()}>
                    {(found) => (
                      <button type="button" onClick={() => props.onView({ period: { name: "custom", ...found() }, interval: null })}>
                        Show the most recent ones, {days(found())}
                      </button>
                    )}
                  </Show>
                </div>
              </Show>
            </div>
          </section>
          <div class="panels" classList={{ "is-empty": isEmpty() }}>
            <For each={panels}>{(panel) => <Panel panel={panel} frame={frame()} visitors={totalRow()?.metrics[0] ?? null} pulse={pulse} />}</For>
          </div>
        </Show>
      </main>

      <p class="as-of muted" data-testid="as-of">
        <Show when={asOf()}>
          {(time) => (
            <>
              As of {time()}, {props.site.timezone}
            </>
          )}
        </Show>
        <Show when={isBehind()}>
          <span data-testid="behind">{" · "}no node that knows the latest events was reached: newer numbers will follow</span>
        </Show>
        <Show when={estimates()}>
          {(text) => (
            <span data-testid="estimates" title="Large numbers of visitors are estimated. 19 of 20 estimates are no further off than this.">
              {" · "}estimated: {text()}
            </span>
          )}
        </Show>
        <Show when={late() > 0}>
          {" · "}
          <span data-testid="pending-late">
            {late()} late {late() === 1 ? "event waits" : "events wait"} to be merged into history
          </span>
        </Show>
      </p>
    </>
  );
}

const dateRange = (range: Range | null): Query["date_range"] => (range ? [range.from, range.to] : "all");
const sameRange = (a: Range | null, b: Range | null): boolean => a?.from === b?.from && a?.to === b?.to;
const intervalOf = (query: Query): Interval => (query.dimensions?.[0] ?? "time:day").slice("time:".length) as Interval;

/** The node's own labels know days of 23 and 25 hours; without them, every bucket of the range that was asked for. */
function labels(sent: string[] | undefined, asked: Query, interval: Interval, drawn: Range | null): string[] {
  if (sent && sent.length > 0) return sent;
  const range = typeof asked.date_range === "string" ? drawn : { from: asked.date_range[0], to: asked.date_range[1] };
  return range ? bucketLabels(range, interval) : [];
}
