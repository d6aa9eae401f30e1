// Clicks that lead away: other sites and files. Counted only if the script element asks for it.

import { send } from "./event";
import { countsOutbound, downloads } from "./settings";

const usual = "pdf,xlsx?,docx?,pptx?,csv,txt,rtf,zip,rar,7z,gz,exe,dmg,pkg,msi,apk,mp[34],wav,avi,mov,wmv,mkv,webm";

export function watchLinks(): void {
  const isFile = downloads != null && new RegExp("\\.(" + (downloads || usual).replace(/[,\s]+/g, "|") + ")$", "i");
  if (!countsOutbound && !isFile) return;

  const onClick = (event: Event): void => {
    const { target } = event;
    const link = target instanceof Element && (target.closest("a[href]") as HTMLAnchorElement | null);
    if (!link || !/^http/.test(link.protocol) || (event as MouseEvent).button > 1) return;
    // Queries may hold secrets (signed links), so they stay here.
    const options = { props: { url: link.origin + link.pathname } };
    if (isFile && isFile.test(link.pathname)) send("File Download", options);
    else if (countsOutbound && link.host != location.host) send("Outbound Link: Click", options);
  };
  document.addEventListener("click", onClick);
  document.addEventListener("auxclick", onClick);
}
