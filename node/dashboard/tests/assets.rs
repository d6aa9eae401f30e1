//! What the server can rely on, whether or not the web app has been built.
#![allow(clippy::unwrap_used)]

use ringtail_dashboard::{CONTENT_SECURITY_POLICY, asset, index, is_built};

#[test]
fn the_root_is_the_index_page() {
    for path in ["", "/", "index.html", "/index.html"] {
        assert_eq!(asset(path).unwrap().etag, index().etag, "path {path:?}");
    }
    assert_eq!(index().content_type, "text/html; charset=utf-8");
    assert!(
        !index().immutable,
        "a new build must be seen at the next load"
    );
}

#[test]
fn etag_is_a_quoted_hash_of_the_bytes() {
    let etag = index().etag;
    assert_eq!(etag.len(), 66);
    assert!(etag.starts_with('"') && etag.ends_with('"'));
}

#[test]
fn unknown_and_escaping_paths_are_nothing() {
    for path in [
        "nothing.js",
        "/assets/",
        "../Cargo.toml",
        "/assets/../../Cargo.toml",
        "//index.html",
    ] {
        assert!(asset(path).is_none(), "path {path:?}");
    }
}

#[test]
fn the_page_needs_no_inline_script_and_no_other_host() {
    let page = index();
    let page = String::from_utf8(page.bytes.into_owned()).unwrap();
    for (at, _) in page.match_indices("<script") {
        let (tag, rest) = page.split_at(at).1.split_once('>').unwrap();
        assert!(
            tag.contains(" src=\"/") && rest.starts_with("</script"),
            "inline script: {tag}"
        );
    }
    assert!(!page.contains("<style") && !page.contains(" style="));
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"));
    assert!(CONTENT_SECURITY_POLICY.contains("script-src 'self';"));
}

#[test]
fn every_file_the_page_names_is_embedded() {
    let page = index();
    let page = String::from_utf8(page.bytes.into_owned()).unwrap();
    let mut seen = 0;
    for part in page
        .split(['"', '\''])
        .filter(|part| part.starts_with("/assets/"))
    {
        let file = asset(part).unwrap_or_else(|| panic!("{part} is not embedded"));
        assert_eq!(file.immutable, is_built(), "{part}");
        assert_ne!(file.content_type, "application/octet-stream", "{part}");
        seen += 1;
    }
    assert!(seen > 0, "the page names at least its style sheet");
}

#[test]
fn a_page_without_the_app_says_how_to_build_it() {
    let page = index();
    let page = String::from_utf8(page.bytes.into_owned()).unwrap();
    assert_eq!(page.contains("cargo xtask build"), !is_built());
}
