//! What a round of duties is going to do: computed, shown, then done.

use std::fmt;

use ringtail_proto::SiteGeneration;

use crate::{PartitionOptions, site_gauge::Reading};

/// What a round of duties is going to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DutyPlan {
    /// Dirty sites to write, the most urgent first.
    pub(crate) checkpoints: Vec<(SiteGeneration, Reason)>,
    /// Sites to put to rest once they are clean, the longest unused first, with the time of their last use.
    pub(crate) rests: Vec<(SiteGeneration, u64)>,
}

/// Why a site is written now. The order is the order of urgency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reason {
    /// Its state asks for it.
    Wanted,
    /// Late events have waited long enough.
    Late,
    /// Too much log would have to be replayed.
    LogBytes,
    /// It has been dirty long enough.
    Age,
    /// It makes room for others.
    Room,
    /// The node stops.
    Shutdown,
}

/// What the plan depends on beside the sites.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now_ms: u64,
    pub(crate) node_log_bytes: u64,
    pub(crate) is_shutdown: bool,
    /// Sites that the partition may keep active.
    pub(crate) sites_max: usize,
}

impl DutyPlan {
    /// A function of its arguments alone.
    pub(crate) fn compute(
        readings: &[(SiteGeneration, Reading)],
        moment: Moment,
        options: &PartitionOptions,
    ) -> Self {
        let mut due: Vec<(Reason, u64, SiteGeneration)> = readings
            .iter()
            .filter_map(|(site, reading)| {
                let reason = due(reading, moment, options)?;
                Some((reason, reading.dirty_at_ms, *site))
            })
            .collect();
        due.sort_unstable();
        if !moment.is_shutdown {
            due.truncate(options.round_checkpoints_max);
        }
        let mut plan = Self {
            checkpoints: due
                .into_iter()
                .map(|(reason, _, site)| (site, reason))
                .collect(),
            rests: rests(readings, moment, options),
        };
        plan.checkpoint_before_rest(readings);
        plan
    }

    /// Only what makes room: whoever waits for it must not wait for sites that stay.
    pub(crate) fn room(
        readings: &[(SiteGeneration, Reading)],
        moment: Moment,
        options: &PartitionOptions,
    ) -> Self {
        let mut plan = Self {
            checkpoints: Vec::new(),
            rests: rests(readings, moment, options),
        };
        plan.checkpoint_before_rest(readings);
        plan
    }

    /// Sites that make room are written first, whatever their age.
    fn checkpoint_before_rest(&mut self, readings: &[(SiteGeneration, Reading)]) {
        let planned: hashbrown::HashSet<SiteGeneration> =
            self.checkpoints.iter().map(|(site, _)| *site).collect();
        for (site, _) in &self.rests {
            let reading = readings.binary_search_by_key(site, |(site, _)| *site);
            let reading = reading.ok().and_then(|position| readings.get(position));
            let is_dirty = reading.is_some_and(|(_, reading)| reading.dirty_since.is_some());
            if is_dirty && !planned.contains(site) {
                self.checkpoints.push((*site, Reason::Room));
            }
        }
    }
}

fn due(reading: &Reading, moment: Moment, options: &PartitionOptions) -> Option<Reason> {
    reading.dirty_since?;
    if is_waiting(reading, moment) {
        return None;
    }
    let age = |since_ms: u64| moment.now_ms.saturating_sub(since_ms);
    let log_bytes = moment
        .node_log_bytes
        .saturating_sub(reading.dirty_at_log_bytes);
    if reading.wants_checkpoint {
        Some(Reason::Wanted)
    } else if reading
        .late_at_ms
        .is_some_and(|since_ms| age(since_ms) >= options.late_age_ms_max)
    {
        Some(Reason::Late)
    } else if log_bytes >= options.dirty_log_bytes_max {
        Some(Reason::LogBytes)
    } else if age(reading.dirty_at_ms) >= options.dirty_age_ms_max {
        Some(Reason::Age)
    } else {
        moment.is_shutdown.then_some(Reason::Shutdown)
    }
}

/// The last checkpoint failed, and the next try is not due yet. A shutdown does not wait.
const fn is_waiting(reading: &Reading, moment: Moment) -> bool {
    moment.now_ms < reading.retry_at_ms && !moment.is_shutdown
}

/// Clean sites that nobody has used for long; and when there are too many sites, the longest unused whatever they are,
/// but for those that cannot be written now.
fn rests(
    readings: &[(SiteGeneration, Reading)],
    moment: Moment,
    options: &PartitionOptions,
) -> Vec<(SiteGeneration, u64)> {
    let mut by_use: Vec<(u64, SiteGeneration, bool)> = readings
        .iter()
        .filter(|(_, reading)| reading.dirty_since.is_none() || !is_waiting(reading, moment))
        .map(|(site, reading)| {
            let unused_ms = moment.now_ms.saturating_sub(reading.used_at_ms);
            let is_idle = reading.dirty_since.is_none() && unused_ms >= options.site_idle_ms_max;
            (reading.used_at_ms, *site, is_idle)
        })
        .collect();
    by_use.sort_unstable();
    // An eighth more than needed, so that not every new site costs a round.
    let over = match readings.len() > moment.sites_max {
        true => readings.len() - moment.sites_max + moment.sites_max / 8,
        false => 0,
    };
    by_use
        .into_iter()
        .enumerate()
        .filter(|(position, (_, _, is_idle))| *is_idle || *position < over)
        .map(|(_, (used_at_ms, site, _))| (site, used_at_ms))
        .collect()
}

impl fmt::Display for DutyPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |wanted: Reason| {
            let reasons = self.checkpoints.iter().map(|(_, reason)| *reason);
            reasons.filter(|reason| *reason == wanted).count()
        };
        write!(formatter, "checkpoint {} sites", self.checkpoints.len())?;
        for (reason, name) in [
            (Reason::Wanted, "wanted"),
            (Reason::Late, "late"),
            (Reason::LogBytes, "log bytes"),
            (Reason::Age, "age"),
            (Reason::Room, "room"),
            (Reason::Shutdown, "shutdown"),
        ] {
            let sites = count(reason);
            if sites > 0 {
                write!(formatter, ", {sites} for {name}")?;
            }
        }
        write!(formatter, "; rest {} sites", self.rests.len())
    }
}

#[cfg(test)]
mod tests {
    use ringtail_proto::{LogIndex, SiteId};

    use super::*;

    const CLEAN: Reading = Reading {
        dirty_since: None,
        dirty_at_ms: 0,
        dirty_at_log_bytes: 0,
        late_at_ms: None,
        wants_checkpoint: false,
        used_at_ms: 0,
        failures: 0,
        retry_at_ms: 0,
    };

    const DIRTY: Reading = Reading {
        dirty_since: Some(LogIndex(5)),
        ..CLEAN
    };

    fn options() -> PartitionOptions {
        PartitionOptions {
            site_idle_ms_max: 100,
            dirty_age_ms_max: 50,
            late_age_ms_max: 20,
            dirty_log_bytes_max: 1_000,
            round_checkpoints_max: 2,
            ..PartitionOptions::default()
        }
    }

    const MOMENT: Moment = Moment {
        now_ms: 0,
        node_log_bytes: 0,
        is_shutdown: false,
        sites_max: 100,
    };

    const fn site(number: u64) -> SiteGeneration {
        SiteGeneration::first(SiteId(number))
    }

    fn check(readings: &[Reading], moment: Moment, expect: &str) {
        let readings: Vec<_> = (1..).map(site).zip(readings.iter().copied()).collect();
        let plan = DutyPlan::compute(&readings, moment, &options());
        assert_eq!(plan.to_string(), expect);
    }

    #[test]
    fn a_dirty_site_is_written_when_a_limit_is_reached() {
        let at = |now_ms| Moment { now_ms, ..MOMENT };
        let nothing = "checkpoint 0 sites; rest 0 sites";
        check(&[DIRTY, CLEAN], at(49), nothing);
        check(
            &[DIRTY, CLEAN],
            at(50),
            "checkpoint 1 sites, 1 for age; rest 0 sites",
        );
        let log_bytes = |node_log_bytes| Moment {
            node_log_bytes,
            ..MOMENT
        };
        check(&[DIRTY], log_bytes(999), nothing);
        check(
            &[DIRTY],
            log_bytes(1_000),
            "checkpoint 1 sites, 1 for log bytes; rest 0 sites",
        );
        let late = Reading {
            late_at_ms: Some(10),
            ..DIRTY
        };
        check(&[late], at(29), nothing);
        check(
            &[late],
            at(30),
            "checkpoint 1 sites, 1 for late; rest 0 sites",
        );
        let wanted = Reading {
            wants_checkpoint: true,
            ..DIRTY
        };
        check(
            &[wanted],
            at(0),
            "checkpoint 1 sites, 1 for wanted; rest 0 sites",
        );
    }

    #[test]
    fn a_round_is_bounded_and_takes_the_oldest_but_a_shutdown_takes_all() {
        let dirty_at = |dirty_at_ms| Reading {
            dirty_at_ms,
            ..DIRTY
        };
        let readings = [
            (site(1), dirty_at(3)),
            (site(2), dirty_at(1)),
            (site(3), dirty_at(2)),
        ];
        let moment = Moment {
            now_ms: 60,
            ..MOMENT
        };
        let plan = DutyPlan::compute(&readings, moment, &options());
        let sites: Vec<u64> = plan
            .checkpoints
            .iter()
            .map(|(site, _)| site.site.0)
            .collect();
        assert_eq!(sites, [2, 3]);
        let shutdown = Moment {
            is_shutdown: true,
            ..MOMENT
        };
        check(
            &[DIRTY, CLEAN, DIRTY, DIRTY],
            shutdown,
            "checkpoint 3 sites, 3 for shutdown; rest 0 sites",
        );
    }

    #[test]
    fn a_site_that_cannot_be_written_waits_and_makes_no_room() {
        let failing = Reading {
            failures: 3,
            retry_at_ms: 80,
            ..DIRTY
        };
        let at = |now_ms| Moment {
            now_ms,
            sites_max: 1,
            ..MOMENT
        };
        let other = Reading {
            dirty_at_ms: 79,
            used_at_ms: 1,
            ..DIRTY
        };
        check(
            &[failing, other],
            at(79),
            "checkpoint 1 sites, 1 for room; rest 1 sites",
        );
        check(
            &[failing],
            at(80),
            "checkpoint 1 sites, 1 for age; rest 0 sites",
        );
        let shutdown = Moment {
            is_shutdown: true,
            ..at(0)
        };
        check(
            &[failing],
            shutdown,
            "checkpoint 1 sites, 1 for shutdown; rest 0 sites",
        );
    }

    #[test]
    fn clean_unused_sites_rest_and_dirty_ones_only_to_make_room() {
        let at = |now_ms| Moment { now_ms, ..MOMENT };
        let young_dirty = Reading {
            dirty_at_ms: 90,
            ..DIRTY
        };
        check(
            &[CLEAN, young_dirty],
            at(99),
            "checkpoint 0 sites; rest 0 sites",
        );
        check(
            &[CLEAN, young_dirty],
            at(100),
            "checkpoint 0 sites; rest 1 sites",
        );
        let crowded = Moment {
            sites_max: 2,
            ..MOMENT
        };
        check(
            &[DIRTY, CLEAN, CLEAN, CLEAN],
            crowded,
            "checkpoint 1 sites, 1 for room; rest 2 sites",
        );
    }
}
