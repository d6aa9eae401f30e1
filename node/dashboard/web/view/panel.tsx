// A list of the first values of a dimension, with a bar behind each.

import { type Accessor, For, Show, createEffect, createMemo, createSignal, createUniqueId, on } from "solid-js";
import type { Query } from "../api/types";
import { full, share, short } from "../model/format";
import { type ListRow, type Panel as Definition, type Tab, listRows } from "../model/panels";
import { createReport } from "./report";
import { Tabs } from "./tabs";

const rowsAtFirst = 9;
const rowsMore = 50;

/** What all reports of the page have in common. */
export interface Frame {
  site_id: string;
  date_range: Query["date_range"];
}

export function Panel(props: { panel: Definition; frame: Frame | null; visitors: number | null; pulse: Accessor<number> }) {
  const id = createUniqueId();
  const [dimension, setDimension] = createSignal(props.panel.tabs[0]!.dimension);
  const [limit, setLimit] = createSignal(rowsAtFirst);
  const tab = createMemo((): Tab => props.panel.tabs.find((tab) => tab.dimension === dimension())!);
  const plain = props.panel.tabs.filter((tab) => !tab.group);
  const grouped = props.panel.tabs.filter((tab) => tab.group);

  // A list that was opened stays open only for what it was opened on.
  createEffect(on([dimension, () => props.frame?.site_id], () => setLimit(rowsAtFirst), { defer: true }));

  const report = createReport(() => {
    if (!props.frame) return null;
    const second = tab().second;
    return {
      ...props.frame,
      dimensions: [dimension()],
      metrics: second ? ["visitors", second.metric] : ["visitors"],
      include: { total_rows: true },
      pagination: { limit: limit() },
    };
  }, props.pulse);

  // An answer is read by the tab it was asked for: for a moment that is the tab before.
  const shownTab = (): Tab => props.panel.tabs.find((tab) => tab.dimension === report.asked()?.dimensions?.[0]) ?? tab();
  const rows = createMemo(() => listRows(shownTab(), report.answer()?.results ?? []));
  const most = createMemo(() => rows().reduce((most, row) => (row.isRemainder ? most : Math.max(most, row.metrics[0] ?? 0)), 0));
  const hidden = (): number => Math.max(0, (report.answer()?.meta.total_rows ?? 0) - rows().length);

  return (
    <section class="card panel" classList={{ "is-loading": report.isLoading() }} aria-label={props.panel.title} data-testid={"panel-" + props.panel.title.toLowerCase()}>
      <header class="panel-head">
        <Show when={props.panel.tabs.length > 1} fallback={<h2 class="panel-title">{props.panel.title}</h2>}>
          <Tabs
            class="tabs"
            label={props.panel.title}
            controls={id}
            selected={dimension()}
            onSelect={setDimension}
            items={plain.map((tab) => ({ id: tab.dimension, label: tab.label }))}
          />
        </Show>
        <Show when={grouped.length > 0}>
          <select
            class="tab-select"
            classList={{ "is-selected": !!tab().group }}
            aria-label={grouped[0]!.group + " tags"}
            value={tab().group ? dimension() : ""}
            onChange={(event) => setDimension(event.currentTarget.value)}
          >
            <option value="" disabled hidden>
              {grouped[0]!.group}
            </option>
            <For each={grouped}>{(tab) => <option value={tab.dimension}>{tab.label}</option>}</For>
          </select>
        </Show>
      </header>
      <div id={id} role={props.panel.tabs.length > 1 ? "tabpanel" : undefined} class="panel-body" classList={{ "is-open": limit() > rowsAtFirst }}>
        <Show when={!report.error()} fallback={<p class="note warning" role="alert">{report.error()}</p>}>
          <Show when={report.answer()} fallback={<Skeleton />}>
            <Show when={rows().length > 0} fallback={<p class="note muted">Nothing in this period.</p>}>
              <table class="list">
                <thead>
                  <tr>
                    <th scope="col">{shownTab().column ?? shownTab().label}</th>
                    <Show when={shownTab().second}>{(second) => <th scope="col" class="number minor">{second().label}</th>}</Show>
                    <th scope="col" class="number">Visitors</th>
                    <th scope="col" class="number part" title="Part of all visitors of the period">
                      <span class="visually-hidden">Part of all visitors</span>
                    </th>
                  </tr>
                </thead>
                <tbody>
                  <For each={rows()}>{(row) => <ListLine row={row} tab={shownTab()} most={most()} visitors={props.visitors} />}</For>
                </tbody>
              </table>
            </Show>
          </Show>
        </Show>
      </div>
      <footer class="panel-foot">
        <Show when={hidden() > 0}>
          <button type="button" class="quiet" onClick={() => setLimit((limit() === rowsAtFirst ? 0 : limit()) + rowsMore)}>
            {short(hidden())} more
          </button>
        </Show>
        <Show when={limit() > rowsAtFirst}>
          <button type="button" class="quiet" onClick={() => setLimit(rowsAtFirst)}>
            Show fewer
          </button>
        </Show>
      </footer>
    </section>
  );
}

function ListLine(props: { row: ListRow; tab: Tab; most: number; visitors: number | null }) {
  const visitors = (): number => props.row.metrics[0] ?? 0;
  const width = (): number => (props.row.isRemainder || props.most === 0 ? 0 : Math.max(0.5, (visitors() / props.most) * 100));
  return (
    <tr classList={{ "is-remainder": props.row.isRemainder }} data-value={props.row.value}>
      <th scope="row" title={props.row.isRemainder ? "Values beyond those that have a row of their own" : props.row.label}>
        <svg class="bar" viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true">
          <rect width={width()} height="1" />
        </svg>
        <span class="value">{props.row.label}</span>
      </th>
      <Show when={props.tab.second}>
        {(second) => (
          <td class="number minor">{short(props.row.metrics[1], second().metric === "bounce_rate" ? "percent" : "count")}</td>
        )}
      </Show>
      <td class="number" title={full(visitors())}>
        {short(visitors())}
      </td>
      <td class="number part">{props.visitors === null ? "" : share(visitors(), props.visitors)}</td>
    </tr>
  );
}

function Skeleton() {
  return (
    <div class="skeleton-rows" aria-hidden="true">
      <For each={[92, 71, 60, 44, 31]}>
        {(width) => (
          <svg viewBox="0 0 100 1" preserveAspectRatio="none">
            <rect width={width} height="1" />
          </svg>
        )}
      </For>
    </div>
  );
}
