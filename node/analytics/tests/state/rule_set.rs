//! Rule sets as data: their bytes, their limits, and what hostile ones run into.

use proptest::prelude::*;
use ringtail_analytics::{
    BotRules, ChannelRule, Condition, GoalRule, PageRewrite, Pattern, RuleSet, RuleSetError, Rules,
    SettingsRules, Subject, Unlisted, Without, ZoneRule,
};
use ringtail_proto::{UnixMillis, VisitorId};

use crate::{
    golden,
    support::{MONDAY, TestSite, view},
};

/// One of everything.
fn full() -> RuleSet {
    RuleSet {
        from: Some(UnixMillis(MONDAY)),
        bots: Some(BotRules {
            are: vec![Pattern::part_or_regex("/^curl/")],
            are_not: vec![Pattern::part_or_regex("kiosk")],
            unlisted: Unlisted::Count,
        }),
        channels: vec![ChannelRule {
            channel: "Letters".to_owned(),
            source: vec![Pattern::whole_or_regex("news*")],
            medium: vec![Pattern::whole_or_regex("email")],
            referrer_host: vec![Pattern::whole_or_regex("a.example")],
            campaign: vec![Pattern::whole_or_regex("")],
            was: vec![Pattern::whole_or_regex("Direct")],
        }],
        pages: vec![
            PageRewrite::Replace {
                pattern: r"/(\d+)".to_owned(),
                with: "/:$1".to_owned(),
            },
            PageRewrite::LowerCase,
            PageRewrite::DropTrailingSlash,
            PageRewrite::DropPrefix("/app".to_owned()),
            PageRewrite::DropQuery,
        ],
        settings: SettingsRules {
            revision_max: 7,
            visit_timeout_minutes: Some(45),
            goals: Some(vec![
                GoalRule {
                    id: 1,
                    name: "Sign up".to_owned(),
                    condition: Condition::EventName("signup".to_owned()),
                },
                GoalRule {
                    id: 2,
                    name: "Docs".to_owned(),
                    condition: Condition::PagePattern("/docs/**".to_owned()),
                },
            ]),
            zone: Some(ZoneRule {
                name: "Europe/Berlin".to_owned(),
                transitions: vec![(0, 3_600), (1_774_746_000_000, 7_200)],
            }),
        },
        without: vec![
            Without {
                subject: Subject::visitor(VisitorId(17)),
                until: Some(UnixMillis(MONDAY)),
            },
            Without {
                subject: Subject::user("jane", [VisitorId(18), VisitorId(18)]),
                until: None,
            },
        ],
    }
}

#[test]
fn a_rule_set_survives_its_bytes_and_they_stay_as_ever() {
    let bytes = full().encode().unwrap();
    assert_eq!(RuleSet::decode(&bytes).unwrap(), full());
    golden::check("rule_set_v1.bin", &bytes);
    let empty = RuleSet::default().encode().unwrap();
    assert_eq!(RuleSet::decode(&empty).unwrap(), RuleSet::default());
}

#[test]
fn what_is_no_rule_set_is_refused() {
    let bytes = full().encode().unwrap();
    for end in 0..bytes.len() {
        assert!(RuleSet::decode(&bytes[..end]).is_err(), "{end}");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(matches!(
        RuleSet::decode(&longer),
        Err(RuleSetError::Malformed { .. })
    ));
    let newer = RuleSet::decode(&[&[2], &bytes[1..]].concat()).unwrap_err();
    assert_eq!(
        newer.to_string(),
        "the rule set has version 2, this binary knows up to 1"
    );
    assert!(Rules::decode(&bytes).unwrap().is_some());
    assert!(
        Rules::decode(&[]).unwrap().is_none(),
        "no bytes are no rules"
    );
    assert!(Rules::decode(&bytes[..9]).is_err());
    let large = vec![1; RuleSet::ENCODED_BYTES_MAX + 1];
    assert!(matches!(
        RuleSet::decode(&large),
        Err(RuleSetError::TooLarge { .. })
    ));
}

#[test]
fn the_subject_of_an_erasure_is_not_in_its_rule() {
    let visitor = VisitorId(0x0123_4567_89AB_CDEF);
    let rules = RuleSet {
        without: [
            Subject::visitor(visitor),
            Subject::user("jane@shop.example", [visitor]),
        ]
        .map(|subject| Without {
            subject,
            until: None,
        })
        .into(),
        ..RuleSet::default()
    };
    let bytes = rules.encode().unwrap();
    let contains = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let varint = postcard::to_allocvec(&visitor.0).unwrap();
    assert!(!contains(b"jane"));
    assert!(!contains(&visitor.0.to_le_bytes()) && !contains(&visitor.0.to_be_bytes()));
    assert!(!contains(&varint));
    let Subject::Visitor(hash) = Subject::visitor(visitor) else {
        panic!("a visitor is a visitor");
    };
    assert!(contains(&postcard::to_allocvec(&hash).unwrap()));
}

#[test]
fn every_limit_names_what_is_over_it() {
    let check = |change: &dyn Fn(&mut RuleSet), expect: &str| {
        let mut rules = full();
        change(&mut rules);
        let error = rules.check().unwrap_err().to_string();
        assert_eq!(error, expect);
        assert!(rules.encode().is_err());
    };
    let bots = |are: Vec<Pattern>| {
        move |rules: &mut RuleSet| {
            rules.bots = Some(BotRules {
                are: are.clone(),
                ..BotRules::default()
            });
        }
    };
    let part = |text: &str| Pattern::Contains(text.to_owned());
    check(
        &bots(vec![part("x"); 2_001]),
        "bots.are has 2001 entries, at most 2000 are allowed",
    );
    check(&bots(vec![part("x"), part("")]), "bots.are[1] is empty");
    check(
        &bots(vec![part(&"x".repeat(1_001))]),
        "bots.are[0] has 1001 bytes, at most 1000 are allowed",
    );
    check(
        &bots(vec![part("x"), Pattern::Regex("a(b".to_owned())]),
        "bots.are[1]: unclosed group",
    );
    check(
        &|rules| rules.channels[0].channel.clear(),
        "channels[0].channel is empty",
    );
    check(
        &|rules| rules.channels[0].medium = vec![part("x"); 101],
        "channels[0].medium has 101 entries, at most 100 are allowed",
    );
    check(
        &|rules| rules.channels = vec![rules.channels[0].clone(); 201],
        "channels has 201 entries, at most 200 are allowed",
    );
    check(
        &|rules| rules.pages = vec![PageRewrite::LowerCase; 51],
        "pages has 51 entries, at most 50 are allowed",
    );
    let replace = |pattern: &str, with: &str| PageRewrite::Replace {
        pattern: pattern.to_owned(),
        with: with.to_owned(),
    };
    check(
        &|rules| rules.pages[1] = replace("(a)", "$1b"),
        "pages[1].with: the expression has no group \"1b\"; write `${1}x` for group 1 before a letter, `$$` for a \
         dollar sign",
    );
    check(
        &|rules| rules.pages[1] = replace("(a)", &"x".repeat(501)),
        "pages[1].with has 501 bytes, at most 500 are allowed",
    );
    check(
        &|rules| rules.pages[1] = replace("", "x"),
        "pages[1].replace is empty",
    );
    check(
        &|rules| rules.pages[1] = PageRewrite::DropPrefix("/".to_owned()),
        "pages[1].drop_prefix is empty",
    );
    check(
        &|rules| rules.settings.visit_timeout_minutes = Some(0),
        "settings.visit_timeout_minutes is 0, allowed is 1 to 240",
    );
    check(
        &|rules| rules.settings.visit_timeout_minutes = Some(241),
        "settings.visit_timeout_minutes is 241, allowed is 1 to 240",
    );
    let goals = |change: fn(&mut Vec<GoalRule>)| {
        move |rules: &mut RuleSet| change(rules.settings.goals.as_mut().unwrap())
    };
    check(
        &goals(|goals| goals[1].id = 1),
        "settings.goals[1].id is 1, allowed is an id that no goal before it has",
    );
    check(
        &goals(|goals| goals[0].condition = Condition::PagePattern("thanks".to_owned())),
        "settings.goals[0].page: \"thanks\" does not begin with / or *",
    );
    check(
        &goals(|goals| goals[0].condition = Condition::EventName(String::new())),
        "settings.goals[0].event is empty",
    );
    let zone = |transitions: Vec<(i64, i32)>| {
        move |rules: &mut RuleSet| {
            rules.settings.zone.as_mut().unwrap().transitions = transitions.clone();
        }
    };
    check(&zone(Vec::new()), "settings.zone.transitions is empty");
    check(
        &zone(vec![(1, 0), (1, 3_600)]),
        "settings.zone.transitions is out of order, allowed is each instant after the one before",
    );
    check(
        &zone(vec![(0, 64_801)]),
        "settings.zone.transitions is 64801 s, allowed is at most 18 hours from UTC",
    );
    check(
        &|rules| rules.without = vec![rules.without[0].clone(); 10_001],
        "without has 10001 entries, at most 10000 are allowed",
    );
}

#[test]
fn a_rule_set_over_its_size_is_refused() {
    let rules = RuleSet {
        without: vec![Without {
            subject: Subject::user("jane", (0..40_000).map(VisitorId)),
            until: None,
        }],
        ..RuleSet::default()
    };
    rules.check().unwrap();
    assert!(matches!(rules.encode(), Err(RuleSetError::TooLarge { .. })));
}

#[test]
fn nothing_grows_out_of_hand_under_hostile_rewrites() {
    let doubling = PageRewrite::Replace {
        pattern: "(.*)".to_owned(),
        with: "$1".repeat(250),
    };
    let between = PageRewrite::Replace {
        pattern: "x*".to_owned(),
        with: "y".repeat(500),
    };
    let nested = PageRewrite::Replace {
        pattern: "^(a|a?)+$|(a*)*b|(.*)*c".to_owned(),
        with: "z".to_owned(),
    };
    let rules = RuleSet {
        pages: [doubling, between, nested]
            .into_iter()
            .cycle()
            .take(48)
            .collect(),
        ..RuleSet::default()
    };
    let mut site = TestSite::under(&rules);
    let page = format!("/{}", "a".repeat(7_999));
    site.apply(&[view(1, MONDAY, &page)]);
    let bytes = site.state().dictionary_bytes();
    assert!(bytes < 8 * RuleSet::PAGE_BYTES_MAX, "{bytes}");
    assert_eq!(site.total(|cell| cell.pageviews), 1);
}

#[test]
fn as_many_patterns_as_are_allowed_compile() {
    let number = |prefix: &str, number: usize| format!("{prefix} agent number {number}");
    let rules = RuleSet {
        bots: Some(BotRules {
            are: (0..RuleSet::BOT_PATTERNS_MAX)
                .map(|position| Pattern::Contains(number("robot", position)))
                .collect(),
            ..BotRules::default()
        }),
        channels: (0..RuleSet::CHANNELS_MAX)
            .map(|position| ChannelRule {
                channel: "x".to_owned(),
                source: vec![Pattern::Whole(number("*source", position))],
                ..ChannelRule::default()
            })
            .collect(),
        ..RuleSet::default()
    };
    rules.encode().unwrap();
    let mut site = TestSite::under(&rules);
    let verdicts = site.apply(&[
        view(1, MONDAY, "/").by("A ROBOT AGENT NUMBER 1999 here"),
        view(2, MONDAY, "/").by("a robot agent number"),
    ]);
    let codes: Vec<u8> = verdicts.iter().map(|verdict| verdict.code()).collect();
    assert_eq!(codes, [16 + 6, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn altered_bytes_are_refused_or_a_rule_set_and_never_a_panic(
        position in 0..1_000_usize,
        byte in any::<u8>(),
    ) {
        let mut bytes = full().encode().unwrap();
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(rules) = RuleSet::decode(&bytes) {
            let is_accepted = rules.check().is_ok();
            prop_assert!(!is_accepted || Rules::of(&rules).is_ok());
        }
    }

    #[test]
    fn no_expression_takes_a_check_down(pattern in "[a-c(){}|*+?\\[\\]\\\\^$0-9.:<>u-]{1,40}") {
        let rules = RuleSet {
            pages: vec![PageRewrite::Replace { pattern: pattern.clone(), with: "$0".to_owned() }],
            ..RuleSet::default()
        };
        if rules.check().is_ok() {
            let mut site = TestSite::under(&rules);
            site.apply(&[view(1, MONDAY, "/abc/cab?a=(b)")]);
            // Every match gives way to itself.
            prop_assert!(site.table(ringtail_analytics::Dimension::Page).contains("\"/abc/cab?a=(b)\""), "{}", pattern);
        }
    }
}
