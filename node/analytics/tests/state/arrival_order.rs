//! Derived state is a function of the set of accepted events: any order of arrival, with checkpoints, restarts, hour
//! roll-over and late events, gives the state hash and the cells of a plain sort-and-sessionise reference.

use proptest::prelude::*;
use ringtail_analytics::Dimension;
use ringtail_proto::Verdict;

use crate::support::{
    HOUR, Hit, MINUTE, MONDAY, TestSite, custom, engagement, reference, settings, view,
};

const TABLES: [(&str, Dimension); 11] = [
    ("total", Dimension::Total),
    ("page", Dimension::Page),
    ("hostname", Dimension::Hostname),
    ("event", Dimension::EventName),
    ("goal", Dimension::Goal),
    ("plan", Dimension::Property(0)),
    ("source", Dimension::Source),
    ("country", Dimension::Country),
    ("browser", Dimension::Browser),
    ("entry_page", Dimension::EntryPage),
    ("exit_page", Dimension::ExitPage),
];

/// How an event reaches the site.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    delay_ms: i64,
    /// What happens after it: 0 checkpoint, 1 checkpoint and restart, else nothing.
    then: u8,
}

pub fn hit() -> impl Strategy<Value = Hit> {
    let when = prop_oneof![
        3 => (0..8_i64).prop_map(|hour| hour * HOUR),
        2 => (20..30_i64).prop_map(|hour| hour * HOUR),
        1 => Just(23 * HOUR),
    ];
    let what = (0..8_u8, 0..4_usize, 0..3_usize, 1..200_u8);
    (1..5_u64, when, 0..HOUR, any::<bool>(), what).prop_map(
        |(who, hour, within, is_cookieless, (kind, page, source, size))| {
            let time = MONDAY + hour + within;
            let page = ["/", "/docs/a", "/docs/b", "/pricing"][page];
            let day = (time - MONDAY).div_euclid(24 * HOUR) as u64;
            let (visitor, previous) = match is_cookieless && who < 3 {
                true => (who * 100 + day + 1, who * 100 + day),
                false => (who, 0),
            };
            let hit = match kind {
                0..=3 => view(visitor, time, page),
                4 => custom(visitor, time, "signup").with("plan", ["free", "pro"][source % 2]),
                5 => {
                    let mut hit = custom(visitor, time, "scrolled far");
                    hit.is_interactive = false;
                    hit
                }
                6 => custom(visitor, time, "bought").paid(i64::from(size) * 10_000, "EUR"),
                _ => engagement(visitor, time, page, u32::from(size) * 100, size.min(100)),
            };
            hit.previously(previous)
                .via(["", "Google", "Mastodon"][source])
        },
    )
}

pub fn arrival() -> impl Strategy<Value = Arrival> {
    let delay = prop_oneof![
        4 => 0..5_000_i64,
        2 => 0..90 * MINUTE,
        2 => 0..36 * HOUR,
    ];
    (delay, 0..12_u8).prop_map(|(delay_ms, then)| Arrival { delay_ms, then })
}

pub fn distinct(mut hits: Vec<Hit>) -> Vec<Hit> {
    for (position, hit) in hits.iter_mut().enumerate() {
        hit.id = (position as u128 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    }
    hits
}

/// Lets the hits arrive as planned.
fn arrive(hits: &[Hit], plan: &[Arrival], timeout_minutes: u32) -> TestSite {
    let mut site = TestSite::with_settings(settings(timeout_minutes));
    for verdict in arrive_at(&mut site, hits, plan) {
        assert!(
            matches!(verdict, Verdict::Accepted | Verdict::Late),
            "{verdict:?}"
        );
    }
    site
}

/// Lets the hits arrive at a site as planned; the verdicts are in the order of arrival.
pub fn arrive_at(site: &mut TestSite, hits: &[Hit], plan: &[Arrival]) -> Vec<Verdict> {
    let mut arriving: Vec<(i64, &Hit, Arrival)> = hits
        .iter()
        .zip(plan)
        .map(|(hit, arrival)| (hit.time + arrival.delay_ms, hit, *arrival))
        .collect();
    arriving.sort_by_key(|(stamp, hit, _)| (*stamp, hit.id));
    let mut verdicts = Vec::new();
    for (stamp, hit, arrival) in arriving {
        verdicts.extend(site.apply_at(stamp, std::slice::from_ref(hit)));
        if arrival.then <= 1 {
            site.checkpoint();
        }
        if arrival.then == 1 {
            site.restart();
        }
    }
    verdicts
}

fn check_against_reference(site: &TestSite, hits: &[Hit], timeout_minutes: u32) {
    let hour_of = |time: i64| time.div_euclid(HOUR) * HOUR;
    let timeout_ms = i64::from(timeout_minutes) * MINUTE;
    let expect = reference::tables(hits, timeout_ms, &hour_of);
    for (name, dimension) in TABLES {
        let expect = expect.get(name).cloned().unwrap_or_default();
        let found = site.table(dimension);
        assert!(
            found == expect,
            "{name}\n--- found\n{found}\n--- expected\n{expect}\n--- hits {hits:#?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_arrival_order_gives_the_cells_of_the_reference(
        hits in prop::collection::vec(hit(), 1..40),
        plan in prop::collection::vec(arrival(), 40),
        timeout_minutes in prop_oneof![Just(30_u32), Just(240), Just(1)],
    ) {
        let hits = distinct(hits);
        let mut site = arrive(&hits, &plan, timeout_minutes);
        site.checkpoint();
        check_against_reference(&site, &hits, timeout_minutes);
        site.restart();
        check_against_reference(&site, &hits, timeout_minutes);
    }

    #[test]
    fn any_arrival_order_gives_the_same_state_hash(
        hits in prop::collection::vec(hit(), 1..40),
        plan in prop::collection::vec(arrival(), 40),
        other_plan in prop::collection::vec(arrival(), 40),
        timeout_minutes in prop_oneof![Just(30_u32), Just(240)],
    ) {
        let hits = distinct(hits);
        let site = arrive(&hits, &plan, timeout_minutes);
        let mut other = arrive(&hits, &other_plan, timeout_minutes);
        prop_assert_eq!(site.hash(), other.hash());
        let before = other.hash();
        other.checkpoint();
        other.restart();
        prop_assert_eq!(before, other.hash());
    }

    #[test]
    fn a_crash_at_any_index_replays_to_the_same_state(
        hits in prop::collection::vec(hit(), 2..40),
        plan in prop::collection::vec(arrival(), 40),
        crash_after in 0..40_usize,
    ) {
        let hits = distinct(hits);
        let mut order: Vec<(i64, &Hit, Arrival)> = hits
            .iter()
            .zip(&plan)
            .map(|(hit, arrival)| (hit.time + arrival.delay_ms, hit, *arrival))
            .collect();
        order.sort_by_key(|(stamp, hit, _)| (*stamp, hit.id));
        let mut never_crashed = TestSite::with_settings(settings(30));
        never_crashed.checkpoint();
        let mut crashed = never_crashed.clone();
        let mut applied_by_store = 0;
        for (position, (stamp, hit, arrival)) in order.iter().enumerate() {
            never_crashed.apply_at(*stamp, std::slice::from_ref(*hit));
            if position < crash_after {
                crashed.apply_at(*stamp, std::slice::from_ref(*hit));
                if arrival.then <= 1 {
                    crashed.checkpoint();
                    applied_by_store = position + 1;
                }
            }
        }
        crashed.restart();
        crashed.index = crashed.state().index().0;
        crashed.stamp = MONDAY;
        for (stamp, hit, _) in order.iter().skip(applied_by_store) {
            crashed.apply_at(*stamp, std::slice::from_ref(*hit));
        }
        prop_assert_eq!(crashed.hash(), never_crashed.hash());
        prop_assert_eq!(crashed.index, never_crashed.index);
    }
}
