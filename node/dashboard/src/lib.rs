//! The dashboard: a web page that shows a site's reports, carried inside the binary.
//!
//! Place in the flow: behind *query*. The page asks the same HTTP API as everyone else (`/api/v1/sites`,
//! `/api/v2/query`, `/api/v1/realtime`); this crate only holds its files and describes them, so that
//! `node/server` can answer with them.
//!
//! It deliberately knows no web framework, no route and no report: a path goes in, bytes with their
//! headers' values come out. The web app itself lives in `web/` and is built by Vite into `dist/`.

mod asset;

pub use asset::Asset;

use rust_embed::RustEmbed;

/// The value of `Content-Security-Policy` that the page is built for: its own files and its own API, no
/// inline script, no other host.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(RustEmbed)]
#[folder = "$RINGTAIL_DASHBOARD_FILES"]
struct Files;

/// The file at `path`, which is relative to the root of the site and may start with a slash
/// (`/assets/index-4f2a.js`). `None` if there is no such file; the empty path is [`index`].
pub fn asset(path: &str) -> Option<Asset> {
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(index());
    }
    Files::get(path).map(|file| Asset::new(path, file, is_built()))
}

/// The page itself, the same one for `/` and `/{domain}`: which site is shown is decided in the browser.
pub fn index() -> Asset {
    let file = Files::get("index.html").expect("build.rs embeds a folder that has an index.html");
    Asset::new("index.html", file, is_built())
}

/// Whether the web app is in this binary, or only the page that says how to build it.
pub const fn is_built() -> bool {
    matches!(env!("RINGTAIL_DASHBOARD_IS_BUILT").as_bytes(), b"true")
}
