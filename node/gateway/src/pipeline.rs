//! Enrich: a hit goes through this list, in this order.

use std::sync::Arc;

use ringtail_proto::{DropReason, Event, UnixMillis};

use crate::{
    Hit, SiteRules,
    enricher::{Draft, Enricher, Mode, Work},
    memo::Memo,
    steps,
};

/// One step: looks at the hit, adds to the draft, or gives the reason for a drop.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) run: fn(&mut Work<'_, '_>) -> Result<(), DropReason>,
}

/// All that happens to an event between being understood and being routed.
///
/// Limits come first after the site, because no later step should have to work on endless text.
pub(crate) const STEPS: [Step; 11] = [
    Step {
        name: "site lookup",
        run: steps::site::run,
    },
    Step {
        name: "limits",
        run: steps::limits::run,
    },
    Step {
        name: "url privacy",
        run: steps::url_privacy::run,
    },
    Step {
        name: "origin check",
        run: steps::origin::run,
    },
    Step {
        name: "consent",
        run: steps::consent::run,
    },
    Step {
        name: "bot",
        run: steps::bot::run,
    },
    Step {
        name: "user agent",
        run: steps::user_agent::run,
    },
    Step {
        name: "country",
        run: steps::country::run,
    },
    Step {
        name: "acquisition",
        run: steps::acquisition::run,
    },
    Step {
        name: "visitor id",
        run: steps::visitor::run,
    },
    Step {
        name: "stored drops",
        run: steps::stored_drops::run,
    },
];

/// An event and the site that it belongs to. [`Event::dropped`] is set when it only travels on to be kept for repair.
pub(crate) struct Enriched {
    pub(crate) site: Arc<SiteRules>,
    pub(crate) event: Event,
}

/// Runs the list. A reason that is stored lets the event travel on; any other ends its way here.
pub(crate) fn enrich(
    enricher: &Enricher,
    memo: &mut Memo,
    hit: &Hit<'_>,
    receipt: UnixMillis,
    mode: Mode<'_>,
) -> Result<Enriched, DropReason> {
    let mut work = Work {
        enricher,
        memo,
        hit,
        receipt,
        mode,
        draft: Draft::new(enricher),
    };
    let ran = run(&mut work);
    let site = work.draft.site.clone();
    let result = ran.and_then(|()| {
        let site = work.site()?;
        Ok(Enriched {
            site,
            event: work.into_event()?,
        })
    });
    let reason = match &result {
        Ok(enriched) => enriched.event.dropped,
        Err(reason) => Some(*reason),
    };
    if let Some(reason) = reason {
        enricher.counters.dropped(reason, 1);
        if let (Some(id), Some(site)) = (hit.id, site) {
            enricher.recent_drops.note(site.id(), id, reason);
        }
    }
    result
}

fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    for step in &STEPS {
        match (step.run)(work) {
            Ok(()) => {}
            Err(reason) if reason.is_stored() && work.draft.dropped.is_none() => {
                tracing::trace!(step = step.name, %reason, "dropped, kept for repair");
                work.draft.dropped = Some(reason);
            }
            Err(reason) if reason.is_stored() && Some(reason) != work.draft.dropped => {}
            Err(reason) => {
                tracing::trace!(step = step.name, %reason, "dropped");
                return Err(reason);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::bench::Bench;

    #[test]
    fn steps_have_names_of_their_own() {
        let mut names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STEPS.len());
    }

    #[test]
    fn ten_thousand_urls_of_one_client_fit_into_the_same_memory() {
        let bench = Bench::new();
        for number in 0..10_000 {
            let hit = Hit {
                user_agent: bench.browser(),
                name: format!("event {number}").into(),
                referrer: format!("https://friend.example/{number}").into(),
                address: Some(std::net::Ipv4Addr::from(number).into()),
                ..Hit::new("example.com", format!("https://example.com/{number}"))
            };
            let event = bench.enrich(&hit).unwrap();
            assert_eq!(event.page.as_str(), format!("/{number}"));
        }
        bench.enricher.memos.with(|memo| {
            let held = [
                memo.pages.len(),
                memo.ways.len(),
                memo.places.len(),
                memo.words.len(),
            ];
            assert!(
                held.iter().all(|entries| *entries <= Memo::ENTRIES),
                "{held:?}"
            );
        });
    }

    #[test]
    fn the_first_reason_that_is_stored_is_the_one_kept() {
        let bench = Bench::new();
        let hit = Hit {
            user_agent: "curl/8.5.0".into(),
            ..Hit::new("strict.example", "https://evil.example/")
        };
        assert_eq!(
            bench.enrich(&hit).unwrap().dropped,
            Some(DropReason::Origin)
        );
        let refused = Hit {
            signals: crate::Signals {
                do_not_track: false,
                consent: Some(false),
            },
            ..hit
        };
        assert_eq!(bench.enrich(&refused).unwrap_err(), DropReason::Consent);
    }
}
