//! What the server can rely on, whether or not the script has been built.
#![allow(clippy::unwrap_used)]

use ringtail_tracker::{is_built, script};

#[test]
fn there_is_always_a_script_and_it_is_honest() {
    let script = script();
    let text = String::from_utf8(script.bytes.into_owned()).unwrap();
    assert_eq!(
        text.contains("compiled without its browser script"),
        !is_built()
    );
    assert_eq!(text.contains("/api/event"), is_built());
    assert_eq!(script.etag.len(), 66);
}
