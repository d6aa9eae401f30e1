//! Keeps what is stored of dropped events within the site's budget, so that robots cannot fill its log.

use ringtail_proto::DropReason;

use crate::enricher::Work;

pub(crate) fn run(work: &mut Work<'_, '_>) -> Result<(), DropReason> {
    let Some(reason) = work.draft.dropped else {
        return Ok(());
    };
    let site = work.site()?;
    let rate = work.enricher.settings.stored_drops_rate;
    site.stored_drops.take(rate, work.receipt, 1).map_err(|_| {
        work.enricher.counters.stored_drop_shed();
        reason
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Hit, steps::bench::Bench};

    #[test]
    fn dropped_events_travel_on_within_the_budget() {
        let bench = Bench::new();
        let robot = Hit {
            user_agent: "curl/8.5.0".into(),
            ..Hit::new("example.com", "https://example.com/")
        };
        let budget = bench.enricher.settings.stored_drops_rate.burst_events;
        for _ in 0..budget {
            assert_eq!(bench.enrich(&robot).unwrap().dropped, Some(DropReason::Bot));
        }
        assert_eq!(bench.enrich(&robot).unwrap_err(), DropReason::Bot);
        let person = Hit {
            user_agent: bench.browser(),
            ..robot
        };
        assert_eq!(bench.enrich(&person).unwrap().dropped, None);
    }
}
