// The site's name; a searchable list when the token sees several.

import { For, Show, createMemo, createSignal, onCleanup } from "solid-js";
import type { Site } from "../api/types";

const matchesMax = 50;

export function SitePicker(props: { sites: Site[]; domain: string; onSelect: (domain: string) => void }) {
  const [isOpen, setOpen] = createSignal(false);
  const [text, setText] = createSignal("");
  const [active, setActive] = createSignal(0);
  let root!: HTMLDivElement;
  let button: HTMLButtonElement | undefined;

  const matching = createMemo(() => {
    const wanted = text().trim().toLowerCase();
    return props.sites.filter((site) => site.domain.toLowerCase().includes(wanted));
  });
  const shown = (): Site[] => matching().slice(0, matchesMax);

  const open = (): void => {
    setText("");
    setActive(Math.max(0, shown().findIndex((site) => site.domain === props.domain)));
    setOpen(true);
  };
  const close = (): void => {
    setOpen(false);
    button?.focus();
  };
  const choose = (site: Site | undefined): void => {
    if (!site) return;
    props.onSelect(site.domain);
    close();
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const count = shown().length;
    if (event.key === "Escape") close();
    else if (event.key === "Enter") choose(shown()[active()]);
    else if (event.key === "ArrowDown") setActive(count ? (active() + 1) % count : 0);
    else if (event.key === "ArrowUp") setActive(count ? (active() - 1 + count) % count : 0);
    else return;
    event.preventDefault();
  };
  const onPointerDown = (event: PointerEvent): void => {
    if (isOpen() && event.target instanceof Node && !root.contains(event.target)) setOpen(false);
  };
  document.addEventListener("pointerdown", onPointerDown);
  onCleanup(() => document.removeEventListener("pointerdown", onPointerDown));

  return (
    <div class="site" ref={root} onFocusOut={(event) => event.relatedTarget instanceof Node && !root.contains(event.relatedTarget) && setOpen(false)}>
      <Show when={props.sites.length > 1} fallback={<h1 class="site-name">{props.domain}</h1>}>
        <h1 class="site-name">
          <button
            ref={button}
            type="button"
            aria-haspopup="listbox"
            aria-expanded={isOpen()}
            data-testid="site-picker"
            onClick={() => (isOpen() ? setOpen(false) : open())}
          >
            <span>{props.domain}</span>
            <svg class="chevron" viewBox="0 0 16 16" aria-hidden="true">
              <path d="m4 6 4 4 4-4" />
            </svg>
          </button>
        </h1>
        <Show when={isOpen()}>
          <div class="site-list">
            <input
              ref={(input) => queueMicrotask(() => input.focus())}
              type="search"
              placeholder={`Find one of ${props.sites.length} sites`}
              role="combobox"
              aria-label="Find a site"
              aria-expanded="true"
              aria-controls="site-options"
              aria-activedescendant={shown()[active()] ? "site-" + active() : undefined}
              spellcheck={false}
              autocomplete="off"
              value={text()}
              onInput={(event) => {
                setText(event.currentTarget.value);
                setActive(0);
              }}
              onKeyDown={onKeyDown}
            />
            <ul id="site-options" role="listbox" aria-label="Sites">
              <For each={shown()}>
                {(site, at) => (
                  <li
                    id={"site-" + at()}
                    role="option"
                    aria-selected={site.domain === props.domain}
                    classList={{ "is-active": at() === active() }}
                    onPointerMove={() => setActive(at())}
                    onClick={() => choose(site)}
                  >
                    <span>{site.domain}</span>
                    <Show when={site.paused}>
                      <span class="muted">paused</span>
                    </Show>
                  </li>
                )}
              </For>
            </ul>
            <Show when={matching().length !== shown().length || shown().length === 0}>
              <p class="note muted">
                {shown().length === 0 ? "No site of that name." : `${matching().length - shown().length} more: type to narrow down.`}
              </p>
            </Show>
          </div>
        </Show>
      </Show>
    </div>
  );
}
