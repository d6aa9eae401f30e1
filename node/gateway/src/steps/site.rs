//! Finds the site of the domain that the sender named.

use ringtail_proto::DropReason;

use crate::enricher::Work;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    let domain = work.hit.domain;
    let rules = match &work.memo.site {
        // The events of a batch are mostly of one site.
        Some((known, rules)) if **known == *domain => rules.clone(),
        _ => {
            let rules = work
                .enricher
                .sites
                .rules(domain)
                .ok_or(DropReason::UnknownSite)?;
            work.memo.site = Some((domain.into(), rules.clone()));
            rules
        }
    };
    let is_paused = rules.is_paused;
    work.draft.site = Some(rules);
    if is_paused {
        Err(DropReason::Paused)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, steps::bench::Bench};

    #[test]
    fn a_site_is_found_by_any_of_its_domains_unless_paused() {
        let bench = Bench::new();
        let check = |domain: &str, expect: Result<(), DropReason>| {
            let hit = Hit::new(domain, "https://example.com/");
            assert_eq!(bench.run(run, &hit).0, expect, "{domain}");
        };
        check("example.com", Ok(()));
        check("EXAMPLE.com", Ok(()));
        check("paused.example", Err(DropReason::Paused));
        check("nobody.example", Err(DropReason::UnknownSite));
        check("", Err(DropReason::UnknownSite));
    }
}
