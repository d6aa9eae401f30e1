// Tabs by the ARIA pattern: one stop for the tab key, arrows between them.

import { For, type JSX } from "solid-js";

export interface TabItem {
  id: string;
  label: JSX.Element;
}

export function Tabs(props: {
  label: string;
  items: TabItem[];
  selected: string;
  controls: string;
  class: string;
  onSelect: (id: string) => void;
}) {
  let list!: HTMLDivElement;
  const onKeyDown = (event: KeyboardEvent): void => {
    const at = props.items.findIndex((item) => item.id === props.selected);
    const count = props.items.length;
    const target =
      event.key === "ArrowRight" ? (at + 1) % count
      : event.key === "ArrowLeft" ? (at - 1 + count) % count
      : event.key === "Home" ? 0
      : event.key === "End" ? count - 1
      : null;
    const item = target === null ? undefined : props.items[target];
    if (!item || target === null) return;
    event.preventDefault();
    props.onSelect(item.id);
    list.querySelectorAll<HTMLElement>("[role=tab]")[target]?.focus();
  };
  return (
    <div ref={list} class={props.class} role="tablist" aria-label={props.label} onKeyDown={onKeyDown}>
      <For each={props.items}>
        {(item, at) => {
          const isSelected = (): boolean => item.id === props.selected;
          // A selection from outside the tabs' list leaves the first one reachable by keyboard.
          const isStop = (): boolean =>
            isSelected() || (at() === 0 && !props.items.some((other) => other.id === props.selected));
          return (
            <button
              type="button"
              role="tab"
              data-tab={item.id}
              aria-selected={isSelected()}
              aria-controls={props.controls}
              tabindex={isStop() ? 0 : -1}
              onClick={() => props.onSelect(item.id)}
            >
              {item.label}
            </button>
          );
        }}
      </For>
    </div>
  );
}
