// A site with the tracker on its pages, as its owner would embed it.
import { once } from "node:events";
import { createServer } from "node:http";

export const shopDomain = "shop.test";

export async function startShop(nodeUrl) {
  const page = (title) => `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${title}</title>
<script>window.ringtail = window.ringtail || function () { (ringtail.q = ringtail.q || []).push(arguments); };</script>
<script defer data-domain="${shopDomain}" src="${nodeUrl}/js/ringtail.js"></script>
<link rel="icon" href="data:,"></head>
<body><h1>${title}</h1><a href="/about">About</a>
<button onclick="history.pushState(null, '', '/basket')">Basket</button></body></html>`;
  const server = createServer((request, response) => {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" });
    response.end(page(request.url === "/" ? "Shop" : request.url.slice(1)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://${shopDomain}:${server.address().port}`,
    stop: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
