//! Obeys what the visitor wishes, where the site promised to.

use ringtail_proto::DropReason;

use crate::enricher::Work;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    let site = work.site()?;
    let signals = work.hit.signals;
    if site.obeys_do_not_track && signals.do_not_track {
        return Err(DropReason::DoNotTrack);
    }
    // A visitor who refused is not counted, whatever the site asks for.
    match signals.consent {
        Some(false) => Err(DropReason::Consent),
        None if site.requires_consent => Err(DropReason::Consent),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, Signals, steps::bench::Bench};

    #[test]
    fn wishes_are_obeyed_where_the_site_promised_to() {
        let bench = Bench::new();
        let check = |domain: &str,
                     do_not_track: bool,
                     consent: Option<bool>,
                     expect: Result<(), DropReason>| {
            let signals = Signals {
                do_not_track,
                consent,
            };
            let hit = Hit {
                signals,
                ..Hit::new(domain, "https://example.com/")
            };
            assert_eq!(bench.run(run, &hit).0, expect, "{domain} {signals:?}");
        };
        check("example.com", false, None, Ok(()));
        check("example.com", true, None, Ok(()));
        check("example.com", false, Some(true), Ok(()));
        check("example.com", false, Some(false), Err(DropReason::Consent));
        check("private.example", false, Some(true), Ok(()));
        check("private.example", false, None, Err(DropReason::Consent));
        check(
            "private.example",
            false,
            Some(false),
            Err(DropReason::Consent),
        );
        check(
            "private.example",
            true,
            Some(true),
            Err(DropReason::DoNotTrack),
        );
    }
}
