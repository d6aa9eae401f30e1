// The line of one metric over time, with the comparison's line behind it.

import { For, Show, createEffect, createMemo, createSignal, on, onCleanup, onMount } from "solid-js";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { axis, bucket, full, tick } from "../model/format";
import type { Metric } from "../model/metrics";
import type { Interval } from "../model/period";
import type { Series } from "../model/series";

/** A longer line shows the same months of several years. */
const monthsWithoutYearMax = 24;

interface Hovered {
  at: number;
  left: number;
  top: number;
}

export function Chart(props: { series: Series; metric: Metric; interval: Interval; isStale: boolean }) {
  let frame!: HTMLDivElement;
  let plot: uPlot | undefined;
  const [hovered, setHovered] = createSignal<Hovered | null>(null);
  const hasComparison = createMemo(() => props.series.comparison.some((value) => Boolean(value)));
  const isOneDay = (): boolean => new Set(props.series.labels.map((label) => label.slice(0, 10))).size === 1;

  /** A bucket that is still filling up must not look like a fall; alone it is all there is, and a point anyway. */
  const isOpen = (at: number): boolean => at > 0 && at === props.series.openAt;

  const data = (): uPlot.AlignedData => [
    props.series.labels.map((_, at) => at),
    hasComparison() ? props.series.comparison : props.series.labels.map(() => null),
    props.series.values.map((value, at) => (isOpen(at) ? null : value)),
    props.series.values.map((value, at) => (isOpen(at) || isOpen(at + 1) ? value : null)),
  ];

  const build = (): void => {
    plot?.destroy();
    setHovered(null);
    const style = getComputedStyle(frame);
    const colour = (name: string): string => style.getPropertyValue("--" + name).trim();
    const font = `12px ${style.fontFamily}`;
    const look = { stroke: colour("muted"), font, ticks: { show: false } };
    const dots = (): boolean => props.series.labels.length === 1;
    const options: uPlot.Options = {
      width: frame.clientWidth,
      height: frame.clientHeight,
      padding: [12, 22, 0, 0],
      legend: { show: false },
      scales: {
        x: { time: false, range: (_, from, to) => (from === to ? [from - 1, to + 1] : [from, to]) },
        y: { range: (_, __, top) => [0, ceiling(top, props.metric)] },
      },
      cursor: {
        y: false,
        // The line stands on the bucket that is read, not between two.
        move: (self, left, top) => (left < 0 ? [left, top] : [self.valToPos(self.posToIdx(left), "x"), top]),
        drag: { x: false, y: false, setScale: false },
        points: { size: 9, width: 2, stroke: colour("card"), fill: (_, series) => colour(series === 1 ? "line-before" : "line") },
      },
      hooks: {
        setCursor: [
          (self) => {
            const at = self.cursor.idx;
            if (at == null || (self.cursor.left ?? -1) < 0) return void setHovered(null);
            const value = props.series.values[at] ?? props.series.comparison[at] ?? 0;
            setHovered({ at, left: self.bbox.left / devicePixelRatio + self.valToPos(at, "x"), top: self.valToPos(value, "y") });
          },
        ],
      },
      axes: [
        {
          ...look,
          size: 28,
          gap: 8,
          grid: { show: false },
          space: 64,
          incrs: [1, 2, 3, 4, 6, 7, 12, 14, 24, 28, 48, 52, 96, 168, 336, 672],
          values: (_, splits) => splits.map((at) => label(at)),
        },
        {
          ...look,
          size: (_, values) => Math.max(30, ...(values ?? []).map((value) => 14 + value.length * 7)),
          gap: 8,
          grid: { stroke: colour("hairline"), width: 1 },
          space: 52,
          incrs: increments(props.metric),
          values: (_, splits) => axis(splits, props.metric.kind),
        },
      ],
      series: [
        {},
        { stroke: colour("line-before"), width: 1.5, dash: [4, 4], points: { show: dots(), size: 7 } },
        {
          stroke: colour("line"),
          width: 2,
          fill: (self) => shade(self, colour("line-shade"), colour("line-shade-end")),
          points: { show: dots(), size: 9, fill: colour("line") },
        },
        { stroke: colour("line"), width: 2, dash: [2, 4], points: { show: false } },
      ],
    };
    plot = new uPlot(options, data(), frame);
  };

  const label = (at: number): string => {
    const text = props.series.labels[at];
    return text === undefined ? "" : tick(text, props.interval, isOneDay(), at === 0 || props.series.labels.length > monthsWithoutYearMax);
  };

  onMount(() => {
    build();
    const resized = new ResizeObserver(() => plot?.setSize({ width: frame.clientWidth, height: frame.clientHeight }));
    resized.observe(frame);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    dark.addEventListener("change", build);
    onCleanup(() => {
      resized.disconnect();
      dark.removeEventListener("change", build);
      plot?.destroy();
    });
  });
  createEffect(on([() => props.series, () => props.metric], build, { defer: true }));

  const onKeyDown = (event: KeyboardEvent): void => {
    const move = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (event.key === "Escape") plot?.setCursor({ left: -10, top: -10 });
    if (!move || !plot) return;
    event.preventDefault();
    const last = props.series.labels.length - 1;
    const from = hovered()?.at ?? (move > 0 ? -1 : last + 1);
    plot.setCursor({ left: plot.valToPos(Math.min(last, Math.max(0, from + move)), "x"), top: 0 });
  };

  return (
    <div class="chart" classList={{ "is-stale": props.isStale }}>
      <div
        ref={frame}
        id="chart"
        class="chart-frame"
        role="group"
        aria-label={`${props.metric.label} over time. Arrow keys read single values.`}
        tabindex={0}
        onKeyDown={onKeyDown}
        onBlur={() => plot?.setCursor({ left: -10, top: -10 })}
      />
      <Show when={hovered()}>
        {(point) => (
          <div
            class="tip"
            role="status"
            classList={{ "is-left": point().left > frame.clientWidth / 2 }}
            style={{ transform: `translate(${point().left}px, ${Math.max(8, Math.min(point().top - 20, frame.clientHeight - 120))}px)` }}
          >
            <div class="tip-box">
              <Show when={props.series.values[point().at] != null}>
                <p class="tip-line">
                  <span class="swatch" />
                  <span>
                    {bucket(props.series.labels[point().at] ?? "", props.interval)}
                    {point().at === props.series.openAt && <span class="muted"> so far</span>}
                  </span>
                  <strong>{full(props.series.values[point().at], props.metric.kind)}</strong>
                </p>
              </Show>
              <Show when={hasComparison() && props.series.comparisonLabels[point().at]}>
                {(before) => (
                  <p class="tip-line muted">
                    <span class="swatch is-before" />
                    <span>{bucket(before(), props.interval)}</span>
                    <strong>{full(props.series.comparison[point().at], props.metric.kind)}</strong>
                  </p>
                )}
              </Show>
            </div>
          </div>
        )}
      </Show>
      <table class="visually-hidden">
        <caption>{props.metric.label} over time</caption>
        <tbody>
          <For each={props.series.labels}>
            {(text, at) => (
              <tr>
                <th scope="row">{bucket(text, props.interval)}</th>
                <td>{full(props.series.values[at()], props.metric.kind)}</td>
              </tr>
            )}
          </For>
        </tbody>
      </table>
    </div>
  );
}

/** The top of the axis: a little air above the highest value, never a flat zero. */
function ceiling(top: number | null, metric: Metric): number {
  if (metric.kind === "percent") return 100;
  return Math.max(top ?? 0, metric.kind === "seconds" ? 30 : 4) * 1.08;
}

/** Steps of the axis that read well: whole visitors, and parts of minutes and hours. */
function increments(metric: Metric): number[] {
  if (metric.kind === "percent") return [25, 50];
  if (metric.kind === "seconds") return [10, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
  return Array.from({ length: 14 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();
}

function shade(self: uPlot, from: string, to: string): CanvasGradient | string {
  const { top, height } = self.bbox;
  if (!Number.isFinite(top) || !Number.isFinite(height)) return from;
  const gradient = self.ctx.createLinearGradient(0, top, 0, top + height);
  gradient.addColorStop(0, from);
  gradient.addColorStop(1, to);
  return gradient;
}
