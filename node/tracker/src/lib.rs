//! The tracker: the script that a site's pages load and that sends their beacons, carried inside the binary.
//!
//! Place in the flow: before *collect*, in the visitor's browser. It is served as `/js/ringtail.js` and
//! posts to `/api/event`.
//!
//! It deliberately knows no web framework and no route. The script itself is TypeScript in `web/`, built
//! by esbuild into `dist/ringtail.js` and held to a byte budget by its tests.

use std::borrow::Cow;
use std::fmt::Write;

use rust_embed::RustEmbed;

/// Value of `Content-Type` for the script.
pub const CONTENT_TYPE: &str = "text/javascript; charset=utf-8";

#[derive(RustEmbed)]
#[folder = "$RINGTAIL_TRACKER_FILES"]
struct Files;

/// The script, ready to be sent.
#[derive(Clone, Debug)]
pub struct Script {
    /// The whole body, minified, uncompressed.
    pub bytes: Cow<'static, [u8]>,
    /// Value of `ETag`, in its quotes: the SHA-256 of the bytes. The script's name never changes, so
    /// browsers must be able to ask whether it has.
    pub etag: String,
}

/// The script that this binary serves.
pub fn script() -> Script {
    let file = Files::get("ringtail.js").expect("build.rs embeds a folder that has a ringtail.js");
    let mut etag = String::from("\"");
    for byte in file.metadata.sha256_hash() {
        write!(etag, "{byte:02x}").expect("writing to a String cannot fail");
    }
    etag.push('"');
    Script {
        bytes: file.data,
        etag,
    }
}

/// Whether the tracker is in this binary, or only a script that warns on the console that it is not.
pub const fn is_built() -> bool {
    matches!(env!("RINGTAIL_TRACKER_IS_BUILT").as_bytes(), b"true")
}
