//! Checks that the page belongs to the site, where the site asks for it.

use ringtail_proto::DropReason;

use crate::enricher::Work;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    let site = work.site()?;
    if !site.checks_origin {
        return Ok(());
    }
    let page = work.page()?;
    // Pages from files and sandboxed frames say `null`; their address has no host of the site either.
    let is_foreign = |host: &str| !site.owns_host(host);
    let origin = work.hit.origin;
    if is_foreign(&page.hostname) || (!origin.is_empty() && is_foreign(&host_of_origin(origin))) {
        return Err(DropReason::Origin);
    }
    Ok(())
}

/// `https://example.com:8443` → `example.com`.
fn host_of_origin(origin: &str) -> String {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    let host = match rest.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => host,
        _ => rest,
    };
    host.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, steps::bench::Bench};

    #[test]
    fn pages_of_others_are_dropped_where_the_site_asks_for_it() {
        let bench = Bench::new();
        let check =
            |domain: &str, url: &str, origin: &'static str, expect: Result<(), DropReason>| {
                let hit = Hit {
                    origin,
                    ..Hit::new(domain, url)
                };
                assert_eq!(bench.run(run, &hit).0, expect, "{domain} {url} {origin}");
            };
        let foreign = Err(DropReason::Origin);
        check("strict.example", "https://strict.example/", "", Ok(()));
        check(
            "strict.example",
            "https://strict.example/",
            "https://strict.example",
            Ok(()),
        );
        check(
            "strict.example",
            "https://strict.example/",
            "https://WWW.strict.example:8443",
            Ok(()),
        );
        check("strict.example", "https://shop.strict.example/", "", Ok(()));
        check(
            "strict.example",
            "https://allowed.example/",
            "https://allowed.example",
            Ok(()),
        );
        check("strict.example", "https://evil.example/", "", foreign);
        check(
            "strict.example",
            "https://strict.example/",
            "https://evil.example",
            foreign,
        );
        check("strict.example", "https://strict.example/", "null", foreign);
        check(
            "strict.example",
            "https://strict.example.evil.example/",
            "",
            foreign,
        );
        check(
            "example.com",
            "https://evil.example/",
            "https://evil.example",
            Ok(()),
        );
    }
}
