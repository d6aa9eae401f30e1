//! A state under rules is the state of the events that the rules make: the state machine fed with a history under rules
//! equals the plain one fed with a history that a simple model rewrote, whatever the order of arrival, checkpoints, restarts.

use proptest::prelude::*;
use ringtail_analytics::{
    BotRules, ChannelRule, PageRewrite, Pattern, RuleSet, SettingsRules, Subject, Unlisted, Without,
};
use ringtail_proto::{DropReason, UnixMillis, VisitorId};

use crate::{
    arrival_order::{arrival, arrive_at, distinct, hit},
    support::{HOUR, Hit, MONDAY, TestSite, settings},
};

/// A hit with all that rules look at.
fn rich_hit() -> impl Strategy<Value = Hit> {
    let agent = prop::sample::select(vec!["Firefox", "kiosk/1", "Scraper/2", ""]);
    let dropped = prop_oneof![
        4 => Just(None),
        2 => Just(Some(DropReason::Bot)),
        1 => Just(Some(DropReason::Origin)),
    ];
    let medium = prop::sample::select(vec!["", "email", "cpc"]);
    let user = prop::option::weighted(0.3, prop::sample::select(vec!["jane", "john"]));
    (hit(), agent, dropped, medium, user).prop_map(|(mut hit, agent, dropped, medium, user)| {
        hit.user_agent = agent.to_owned();
        hit.dropped = dropped;
        hit.medium = medium.to_owned();
        hit.channel = ["Direct", "Paid Search"][usize::from(medium == "cpc")].to_owned();
        hit.user_id = user.map(str::to_owned);
        hit
    })
}

/// Which rules there are.
#[derive(Clone, Copy, Debug)]
struct Plan {
    has_bots: bool,
    counts_unlisted: bool,
    has_channels: bool,
    has_pages: bool,
    has_subjects: bool,
    timeout_minutes: Option<u32>,
    from: Option<i64>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let timeout = prop::option::of(prop::sample::select(vec![1_u32, 60, 240]));
    let from = prop::option::weighted(0.3, (0..30_i64).prop_map(|hour| MONDAY + hour * HOUR));
    (any::<[bool; 5]>(), timeout, from).prop_map(|(has, timeout_minutes, from)| Plan {
        has_bots: has[0],
        counts_unlisted: has[1],
        has_channels: has[2],
        has_pages: has[3],
        has_subjects: has[4],
        timeout_minutes,
        from,
    })
}

impl Plan {
    fn rules(self) -> RuleSet {
        let whole = |text: &str| vec![Pattern::whole_or_regex(text)];
        let mut rules = RuleSet {
            from: self.from.map(UnixMillis),
            settings: SettingsRules {
                visit_timeout_minutes: self.timeout_minutes,
                ..SettingsRules::default()
            },
            ..RuleSet::default()
        };
        if self.has_bots {
            rules.bots = Some(BotRules {
                are: vec![Pattern::part_or_regex("scraper")],
                are_not: vec![Pattern::part_or_regex("/^kiosk/")],
                unlisted: [Unlisted::Keep, Unlisted::Count][usize::from(self.counts_unlisted)],
            });
        }
        if self.has_channels {
            let letters = ChannelRule {
                channel: "Letters".to_owned(),
                medium: whole("email"),
                ..ChannelRule::default()
            };
            let search = ChannelRule {
                channel: "Search".to_owned(),
                source: whole("goo*"),
                ..ChannelRule::default()
            };
            rules.channels = vec![letters, search];
        }
        if self.has_pages {
            rules.pages = vec![
                PageRewrite::DropPrefix("/docs".to_owned()),
                PageRewrite::Replace {
                    pattern: "^/([ab])$".to_owned(),
                    with: "/letter/$1".to_owned(),
                },
            ];
        }
        if self.has_subjects {
            let subjects = [
                Subject::visitor(VisitorId(3)),
                Subject::user("jane", [VisitorId(4), VisitorId(101)]),
            ];
            rules.without = subjects
                .map(|subject| Without {
                    subject,
                    until: None,
                })
                .into();
        }
        rules
    }

    /// What the rules make of a hit, said plainly.
    fn model(self, hit: &Hit) -> Option<Hit> {
        let mut hit = hit.clone();
        if self.has_subjects && self.is_left_out(&hit) {
            return None;
        }
        if self.from.is_some_and(|from| hit.time < from) {
            return Some(hit);
        }
        if self.has_bots && hit.dropped != Some(DropReason::Origin) {
            hit.dropped = match hit.user_agent.as_str() {
                "kiosk/1" => None,
                "Scraper/2" => Some(DropReason::Bot),
                _ if self.counts_unlisted => None,
                _ => hit.dropped,
            };
        }
        if self.has_channels {
            if hit.medium == "email" {
                hit.channel = "Letters".to_owned();
            } else if hit.source == "Google" {
                hit.channel = "Search".to_owned();
            }
        }
        if self.has_pages {
            hit.page = match hit.page.as_str() {
                "/docs/a" => "/letter/a".to_owned(),
                "/docs/b" => "/letter/b".to_owned(),
                _ => hit.page,
            };
        }
        Some(hit)
    }

    fn is_left_out(self, hit: &Hit) -> bool {
        let is = |visitor: u64| hit.visitor == visitor || hit.previous == visitor;
        match hit.user_id.as_deref() {
            Some("jane") => true,
            Some(_) => is(3),
            None => is(3) || is(4) || is(101),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_history_under_rules_is_the_history_that_the_model_makes_of_it(
        hits in prop::collection::vec(rich_hit(), 1..40),
        arrivals in prop::collection::vec(arrival(), 40),
        other_arrivals in prop::collection::vec(arrival(), 40),
        plan in plan(),
    ) {
        let hits = distinct(hits);
        let rewritten: Vec<Hit> = hits.iter().filter_map(|hit| plan.model(hit)).collect();
        let mut expect = TestSite::with_settings(settings(plan.timeout_minutes.unwrap_or(30)));
        arrive_at(&mut expect, &rewritten, &other_arrivals);
        for arrivals in [&arrivals, &other_arrivals] {
            let mut site = TestSite::under(&plan.rules());
            site.settings(settings(30));
            arrive_at(&mut site, &hits, arrivals);
            prop_assert_eq!(site.hash(), expect.hash());
            site.checkpoint();
            site.restart();
            prop_assert_eq!(site.hash(), expect.hash());
        }
    }

    #[test]
    fn rules_without_effect_give_the_rows_of_no_rules_to_the_byte(
        hits in prop::collection::vec(rich_hit(), 1..40),
        arrivals in prop::collection::vec(arrival(), 40),
    ) {
        let hits = distinct(hits);
        let idle = RuleSet {
            bots: Some(BotRules::default()),
            pages: vec![PageRewrite::DropPrefix("/nowhere".to_owned())],
            channels: vec![ChannelRule {
                channel: "Nobody".to_owned(),
                source: vec![Pattern::part_or_regex("nobody")],
                ..ChannelRule::default()
            }],
            without: vec![Without { subject: Subject::visitor(VisitorId(9_999)), until: None }],
            ..RuleSet::default()
        };
        let mut plain = TestSite::with_settings(settings(30));
        let verdicts = arrive_at(&mut plain, &hits, &arrivals);
        plain.checkpoint();
        for rules in [RuleSet::default(), idle] {
            let mut site = TestSite::under(&rules);
            site.settings(settings(30));
            prop_assert_eq!(&arrive_at(&mut site, &hits, &arrivals), &verdicts);
            site.checkpoint();
            prop_assert_eq!(&site.rows.rows, &plain.rows.rows);
            prop_assert_eq!(site.hash(), plain.hash());
        }
    }
}
