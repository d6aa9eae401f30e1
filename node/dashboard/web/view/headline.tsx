// The five numbers, each of which also chooses the line below.

import { Show } from "solid-js";
import type { Row } from "../api/types";
import { type Kind, changeText, days, dash, full, short } from "../model/format";
import type { Range } from "../model/dates";
import { type Metric, type MetricName, metrics } from "../model/metrics";
import { Tabs } from "./tabs";

export function Headline(props: {
  row: Row | null;
  /** What the numbers are compared with, for the tooltip. */
  comparedWith: Range | null;
  selected: MetricName;
  onSelect: (metric: MetricName) => void;
}) {
  return (
    <Tabs
      class="headline"
      label="Metric"
      controls="chart"
      selected={props.selected}
      onSelect={(id) => props.onSelect(id as MetricName)}
      items={metrics.map((metric, at) => ({
        id: metric.name,
        label: <Tile metric={metric} at={at} row={props.row} comparedWith={props.comparedWith} />,
      }))}
    />
  );
}

function Tile(props: { metric: Metric; at: number; row: Row | null; comparedWith: Range | null }) {
  const value = (): number | null => props.row?.metrics[props.at] ?? null;
  const before = (): number | null => props.row?.comparison?.metrics[props.at] ?? null;
  // Where there were no visits before, there is no change either, whatever the arithmetic says of zero.
  const moved = (): number | null => (before() && hadVisits() ? (props.row?.comparison?.change[props.at] ?? null) : null);
  const hadVisits = (): boolean => Boolean(props.row?.comparison?.metrics[metrics.findIndex((metric) => metric.name === "visits")]);
  return (
    <span class="tile">
      <span class="tile-label">{props.metric.label}</span>
      <Show when={props.row} fallback={<span class="tile-value skeleton" aria-hidden="true" />}>
        <span
          class="tile-value"
          data-testid={"headline-" + props.metric.name}
          data-value={value() ?? ""}
          title={full(value(), props.metric.kind)}
        >
          {short(value(), props.metric.kind)}
        </span>
      </Show>
      <span class="tile-change">
        <Show when={props.comparedWith} fallback={" "}>
          {(range) => <Change value={moved()} kind={props.metric.kind} isBetterHigher={props.metric.isBetterHigher} title={title(range())} />}
        </Show>
      </span>
    </span>
  );

  function title(range: Range): string {
    return `${full(before(), props.metric.kind)} in ${days(range)}`;
  }
}

function Change(props: { value: number | null; kind: Kind; isBetterHigher: boolean; title: string }) {
  // What is shown as no change has no direction either.
  const moved = (): number => Math.round(props.value ?? 0);
  const tone = (): string => {
    if (!moved()) return "is-even";
    return moved() > 0 === props.isBetterHigher ? "is-good" : "is-bad";
  };
  return (
    <Show
      when={moved()}
      keyed
      fallback={<span class="is-even" title={props.title}>{props.value === null ? dash : changeText(0, props.kind)}</span>}
    >
      {(value) => (
        <span class={tone()} title={props.title}>
          <svg class="arrow" viewBox="0 0 10 10" aria-hidden="true">
            <path d={value > 0 ? "M5 1 9.5 9h-9z" : "M5 9 .5 1h9z"} />
          </svg>
          {changeText(value, props.kind)}
        </span>
      )}
    </Show>
  );
}
