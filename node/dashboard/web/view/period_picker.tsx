// Which days, and beside which others. Native controls: every keyboard and every phone knows them.

import { For, Show, createEffect, createSignal, on } from "solid-js";
import { days } from "../model/format";
import { type Day, type Range, isDay } from "../model/dates";
import { type Comparison, type Period, type PeriodName, comparisons, periods, step } from "../model/period";

export function PeriodPicker(props: {
  period: Period;
  range: Range | null;
  today: Day;
  comparison: Comparison;
  onPeriod: (period: Period) => void;
  onComparison: (comparison: Comparison) => void;
}) {
  const [isEditing, setEditing] = createSignal(false);
  const move = (direction: -1 | 1): void => {
    if (props.range) props.onPeriod({ name: "custom", ...step(props.range, direction) });
  };
  const onSelect = (select: HTMLSelectElement): void => {
    const name = select.value as PeriodName | "custom";
    setEditing(name === "custom");
    if (name !== "custom") props.onPeriod({ name });
  };
  return (
    <div class="picker">
      <Show when={props.range}>
        {(range) => (
          <span class="picker-days" data-testid="range">
            {days(range())}
          </span>
        )}
      </Show>
      <div class="joined">
        <button type="button" class="step" aria-label="Period before" disabled={!props.range} onClick={() => move(-1)}>
          <Chevron path="M10 3 5 8l5 5" />
        </button>
        <select
          aria-label="Period"
          data-testid="period"
          value={isEditing() ? "custom" : props.period.name}
          onChange={(event) => onSelect(event.currentTarget)}
        >
          <For each={periods}>{(period) => <option value={period.name}>{period.label}</option>}</For>
          <option value="custom">Custom range</option>
        </select>
        <button
          type="button"
          class="step"
          aria-label="Period after"
          disabled={!props.range || props.range.to >= props.today}
          onClick={() => move(1)}
        >
          <Chevron path="m6 3 5 5-5 5" />
        </button>
      </div>
      <select
        aria-label="Comparison"
        data-testid="comparison"
        value={props.comparison}
        disabled={!props.range}
        onChange={(event) => props.onComparison(event.currentTarget.value as Comparison)}
      >
        <For each={comparisons}>{(comparison) => <option value={comparison.name}>{comparison.label}</option>}</For>
      </select>
      <Show when={isEditing() || props.period.name === "custom"}>
        <CustomRange
          range={props.range ?? { from: props.today, to: props.today }}
          today={props.today}
          onRange={(range) => {
            setEditing(false);
            props.onPeriod({ name: "custom", ...range });
          }}
        />
      </Show>
    </div>
  );
}

function CustomRange(props: { range: Range; today: Day; onRange: (range: Range) => void }) {
  const [from, setFrom] = createSignal(props.range.from);
  const [to, setTo] = createSignal(props.range.to);
  createEffect(
    on(
      () => [props.range.from, props.range.to] as const,
      ([from, to]) => (setFrom(from), setTo(to)),
      { defer: true },
    ),
  );
  const isValid = (): boolean => isDay(from()) && isDay(to()) && from() <= to();
  const isChanged = (): boolean => from() !== props.range.from || to() !== props.range.to;
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    if (isValid()) props.onRange({ from: from(), to: to() });
  };
  return (
    <form class="custom" onSubmit={submit} data-testid="custom-range">
      <label>
        <span class="visually-hidden">First day</span>
        <input type="date" required value={from()} max={props.today} onInput={(event) => setFrom(event.currentTarget.value)} />
      </label>
      <span aria-hidden="true">–</span>
      <label>
        <span class="visually-hidden">Last day</span>
        <input type="date" required value={to()} min={from()} max={props.today} onInput={(event) => setTo(event.currentTarget.value)} />
      </label>
      <button type="submit" class={isChanged() && isValid() ? "primary" : ""} disabled={!isValid()}>
        Apply
      </button>
    </form>
  );
}

function Chevron(props: { path: string }) {
  return (
    <svg class="chevron" viewBox="0 0 16 16" aria-hidden="true">
      <path d={props.path} />
    </svg>
  );
}
