// What the page's author wrote on the <script> element. Read once: `currentScript` is gone after the first run.

const script = document.currentScript as HTMLScriptElement;

const attribute = (name: string): string | null => script.getAttribute("data-" + name);

export const domain = attribute("domain") || location.hostname;
export const endpoint = attribute("api") || new URL(script.src).origin + "/api/event";
/** Pages are told apart by what follows `#`, too. */
export const isHashRouted = attribute("hash") != null;
export const countsLocal = attribute("local") != null;
export const countsOutbound = attribute("outbound") != null;
/** `data-downloads` alone means the usual file types, `data-downloads="pdf,epub"` those. */
export const downloads = attribute("downloads");

/** Why nothing may be sent from this page, or an empty string. */
export function ignoredBecause(): string {
  if (!countsLocal && /^(localhost|127(\.\d+){3}|\[::1\]|)$/.test(location.hostname)) return "local page";
  try {
    // The way for a site's owner to leave their own visits out, in one browser.
    if (localStorage.ringtail_ignore) return "ringtail_ignore";
  } catch {
    // Storage is forbidden here, so nobody can have set the flag.
  }
  return "";
}
