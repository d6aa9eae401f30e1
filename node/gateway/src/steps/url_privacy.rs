//! Cuts the page's address to what may be kept: see [`crate::page`].

use ringtail_proto::DropReason;

use crate::enricher::Work;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    work.page().map(drop)
}

#[cfg(test)]
mod tests {
    use crate::{Hit, steps::bench::Bench};

    #[test]
    fn the_event_carries_the_cut_address() {
        let bench = Bench::new();
        let check = |url: &str, expect: Option<(&str, &str)>| {
            let hit = Hit {
                user_agent: bench.browser(),
                ..Hit::new("example.com", url)
            };
            let event = bench.enrich(&hit).ok();
            let found = event
                .as_ref()
                .map(|event| (event.hostname.as_str(), event.page.as_str()));
            assert_eq!(found, expect, "{url}");
        };
        check(
            "https://Example.com/a?token=1&q=shoes#x",
            Some(("example.com", "/a?q=shoes")),
        );
        check("https://example.com", Some(("example.com", "/")));
        check(
            "https://example.com/jane@example.com",
            Some(("example.com", "/[email]")),
        );
        check("nonsense", None);
    }
}
