//! What rules cost: events per second of one core through a site's state without rules, with rules that change nothing and with
//! rules that change most events; live (1,000 sites in each entry) and in a replay (one site).
//!
//! Prints one line of JSON per run. `RINGTAIL_BENCH_EVENTS` sets the number of events (default 500,000).

#![allow(
    missing_docs,
    unreachable_pub,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout
)]
#![allow(clippy::disallowed_methods)]

mod support;

use std::{sync::Arc, time::Instant};

use ringtail_analytics::{
    BotRules, ChannelRule, PageRewrite, Pattern, RuleSet, RuledState, Rules, Subject, Without,
};
use ringtail_proto::{
    LogIndex, SiteId, UnixMillis, VisitorId,
    stored::{PartitionEntry, partition_entry::Body},
};

use support::{NoRows, SITES, entries_of, events_wanted};

fn main() {
    let events = events_wanted(500_000);
    let compiling = Instant::now();
    let sets = [
        ("none", None),
        ("empty", Some(RuleSet::default())),
        ("idle", Some(idle())),
        ("busy", Some(busy())),
    ];
    let rules = sets.map(|(name, set)| (name, set.map(|set| Arc::new(Rules::of(&set).unwrap()))));
    let compile_ms = compiling.elapsed().as_secs_f64() * 1e3;
    for (kind, sites) in [("live", SITES), ("replay", 1)] {
        let entries: Vec<PartitionEntry> = entries_of(sites, events)
            .into_iter()
            .map(|entry| PartitionEntry::from_log(entry).unwrap())
            .collect();
        let us = rules
            .each_ref()
            .map(|(name, rules)| format!("\"{name}\":{:.3}", us_per_event(&entries, sites, rules)));
        println!(
            "{{\"run\":\"{kind}\",\"events\":{events},\"sites\":{sites},\"apply_us_per_event\":{{{}}},\"compile_ms\":{compile_ms:.1}}}",
            us.join(",")
        );
    }
}

/// The best of three passes.
fn us_per_event(entries: &[PartitionEntry], sites: usize, rules: &Option<Arc<Rules>>) -> f64 {
    let pass = || {
        let mut states: Vec<RuledState> = (0..sites)
            .map(|site| RuledState::new(SiteId(site as u64), rules.clone()))
            .collect();
        let mut applied = 0;
        let applying = Instant::now();
        for (index, entry) in entries.iter().enumerate() {
            let Some(Body::Events(batch)) = &entry.body else {
                continue;
            };
            for slice in &batch.sites {
                let at = (LogIndex(index as u64 + 1), UnixMillis(entry.stamp_ms));
                let verdicts = states[slice.site as usize]
                    .apply_events(at.0, at.1, batch, slice, &NoRows)
                    .unwrap();
                applied += verdicts.len();
            }
        }
        applying.elapsed().as_secs_f64() * 1e6 / applied as f64
    };
    (0..3).map(|_| pass()).fold(f64::INFINITY, f64::min)
}

/// A rule set of ordinary size that no event meets.
fn idle() -> RuleSet {
    rules("nothing like it", "/nowhere")
}

/// The same, and every page and most channels are rewritten.
fn busy() -> RuleSet {
    rules("Source ", "/section")
}

fn rules(source: &str, prefix: &str) -> RuleSet {
    let whole = |text: String| vec![Pattern::whole_or_regex(&text)];
    RuleSet {
        bots: Some(BotRules {
            are: (0..100)
                .map(|number| Pattern::part_or_regex(&format!("robot{number}/")))
                .chain([Pattern::part_or_regex(r"/^curl\/|\bwget\b/")])
                .collect(),
            are_not: vec![Pattern::part_or_regex("kiosk")],
            ..BotRules::default()
        }),
        channels: (0..20)
            .map(|number| ChannelRule {
                channel: format!("Own {number}"),
                source: whole(format!("{source}*{number}")),
                ..ChannelRule::default()
            })
            .collect(),
        pages: vec![
            PageRewrite::DropPrefix(prefix.to_owned()),
            PageRewrite::Replace {
                pattern: format!("^{prefix}/(\\d+)/|/[0-9a-f]{{32}}$"),
                with: "/$1".to_owned(),
            },
            PageRewrite::LowerCase,
            PageRewrite::DropTrailingSlash,
        ],
        without: (0..10)
            .map(|number| Without {
                subject: Subject::visitor(VisitorId(number)),
                until: None,
            })
            .collect(),
        ..RuleSet::default()
    }
}
