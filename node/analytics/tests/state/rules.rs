//! Each kind of rule by example: what reports show under it.

use bytes::Bytes;
use ringtail_analytics::{
    BotRules, ChannelRule, Condition, Dimension, GoalRule, PageRewrite, Pattern, RuleSet,
    SettingsRules, Subject, Unlisted, Without, ZoneRule,
};
use ringtail_proto::{DropReason, UnixMillis, Verdict, VisitorId, stored::ImportMark};

use crate::support::{HOUR, Hit, MINUTE, MONDAY, TestSite, custom, settings, view};

const KIOSK: &str = "Mozilla/5.0 Kiosk-Browser/2.1 (robot arm)";
const SCRAPER: &str = "Quiet-Scraper/1.0";
const ROBOT: Verdict = Verdict::Dropped(DropReason::Bot);

fn bots(are: &[&str], are_not: &[&str], unlisted: Unlisted) -> RuleSet {
    let patterns = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| Pattern::part_or_regex(text))
            .collect()
    };
    RuleSet {
        bots: Some(BotRules {
            are: patterns(are),
            are_not: patterns(are_not),
            unlisted,
        }),
        ..RuleSet::default()
    }
}

/// The values that an event dimension has, in order of their text.
fn values(site: &TestSite, dimension: Dimension) -> Vec<String> {
    let mut values: Vec<String> = site
        .hours()
        .into_iter()
        .filter_map(|hour| site.hour(hour, dimension))
        .flat_map(|table| {
            let cells = table.cells().iter();
            cells
                .map(|(value, _)| value.to_string())
                .collect::<Vec<_>>()
        })
        .collect();
    values.sort();
    values.dedup();
    values
}

/// Visits at kiosks and by scrapers, as live collection would have stored them if `wrongly` it took kiosks for robots.
fn history(wrongly: bool) -> Vec<Hit> {
    let mut hits = Vec::new();
    for visitor in 1..=6 {
        for step in 0..3 {
            let time = MONDAY + visitor as i64 * 5 * MINUTE + step * MINUTE;
            let hit = view(visitor, time, ["/", "/docs/a", "/thanks"][step as usize]);
            hits.push(match (visitor % 3, wrongly) {
                (0, true) => hit.by(KIOSK).dropped(DropReason::Bot),
                (0, false) => hit.by(KIOSK),
                (1, _) => hit.by(SCRAPER).dropped(DropReason::Bot),
                _ => hit,
            });
        }
    }
    hits
}

#[test]
fn a_bot_rule_that_dropped_real_visitors_is_repaired() {
    let rules = bots(&[], &["kiosk-browser"], Unlisted::Keep);
    let mut wrong = TestSite::with_settings(settings(30));
    wrong.apply(&history(true));
    let mut repaired = TestSite::under(&rules);
    let mut right = TestSite::new();
    for site in [&mut repaired, &mut right] {
        site.settings(settings(30));
    }
    let verdicts = repaired.apply(&history(true));
    assert_eq!(verdicts, right.apply(&history(false)));
    assert_eq!(repaired.total(|cell| cell.pageviews), 12);
    assert_eq!(wrong.total(|cell| cell.pageviews), 6);
    for site in [&mut repaired, &mut right] {
        site.apply(&[view(9, MONDAY + 30 * HOUR, "/")]);
        site.checkpoint();
        site.restart();
    }
    assert_eq!(repaired.hash(), right.hash());
    assert_ne!(repaired.hash(), wrong.hash());
    assert_eq!(repaired.rows.rows, right.rows.rows, "to the byte");
}

#[test]
fn a_robot_that_was_counted_is_dropped_and_other_reasons_stay() {
    let hits = [
        view(1, MONDAY, "/").by(SCRAPER),
        view(2, MONDAY, "/").by(SCRAPER).dropped(DropReason::Origin),
        view(3, MONDAY, "/").by(""),
        view(4, MONDAY, "/").by("curl/8.0").dropped(DropReason::Bot),
        view(5, MONDAY, "/").by(KIOSK).dropped(DropReason::Bot),
    ];
    let origin = Verdict::Dropped(DropReason::Origin);
    let check = |rules: RuleSet, expect: [Verdict; 5]| {
        assert_eq!(TestSite::under(&rules).apply(&hits), expect, "{rules:?}");
    };
    let counted = Verdict::Accepted;
    check(
        bots(&["scraper"], &["kiosk"], Unlisted::Keep),
        [ROBOT, origin, counted, ROBOT, counted],
    );
    check(
        bots(&["/^$/", "/^curl\\b/"], &[], Unlisted::Count),
        [counted, origin, ROBOT, ROBOT, counted],
    );
    check(
        bots(&["robot arm"], &["kiosk"], Unlisted::Keep),
        [counted, origin, counted, ROBOT, counted],
    );
    check(
        bots(&["r"], &["er/"], Unlisted::Keep),
        [counted, origin, counted, ROBOT, counted],
    );
}

#[test]
fn the_first_channel_rule_that_holds_names_the_channel() {
    let whole = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| Pattern::whole_or_regex(text))
            .collect()
    };
    let rules = RuleSet {
        channels: vec![
            ChannelRule {
                channel: "Letters".to_owned(),
                medium: whole(&["email", "e-mail"]),
                ..ChannelRule::default()
            },
            ChannelRule {
                channel: "Partners".to_owned(),
                referrer_host: whole(&["*.partner.example", "partner.example"]),
                source: whole(&["/^p/", "x"]),
                ..ChannelRule::default()
            },
            ChannelRule {
                channel: "Search".to_owned(),
                was: whole(&["organic search"]),
                campaign: whole(&[""]),
                ..ChannelRule::default()
            },
        ],
        ..RuleSet::default()
    };
    let mut next = 0;
    let mut hit = |source: &str, medium: &str, referrer: &str, channel: &str| {
        next += 1;
        let mut hit = view(next, MONDAY, "/").via(source);
        hit.medium = medium.to_owned();
        hit.referrer = referrer.to_owned();
        hit.channel = channel.to_owned();
        hit
    };
    for (hit, expect) in [
        (hit("p", "EMAIL", "partner.example/a", "x"), "Letters"),
        (hit("p", "", "shop.partner.example/a", "x"), "Partners"),
        (hit("q", "", "shop.partner.example/a", "x"), "x"),
        (hit("p", "", "partner.example.org", "x"), "x"),
        (hit("", "", "", "Organic Search"), "Search"),
        (hit("", "", "", "Direct"), "Direct"),
    ] {
        let mut site = TestSite::under(&rules);
        site.apply(std::slice::from_ref(&hit));
        assert_eq!(values(&site, Dimension::Channel), [expect], "{hit:?}");
    }
}

#[test]
fn pages_are_rewritten_in_order() {
    let replace = |pattern: &str, with: &str| PageRewrite::Replace {
        pattern: pattern.to_owned(),
        with: with.to_owned(),
    };
    let check = |pages: &[PageRewrite], page: &str, expect: &str| {
        let rules = RuleSet {
            pages: pages.to_vec(),
            ..RuleSet::default()
        };
        let mut site = TestSite::under(&rules);
        site.apply(&[view(1, MONDAY, page)]);
        let found = values(&site, Dimension::Page);
        assert_eq!(found, [expect], "{page} under {pages:?}");
        assert_eq!(values(&site, Dimension::EntryPage), found);
    };
    let ids = replace(r"/(\d+|[0-9a-f]{8,})(?<end>/|$)", "/:id${end}");
    check(
        std::slice::from_ref(&ids),
        "/user/42/edit",
        "/user/:id/edit",
    );
    check(
        std::slice::from_ref(&ids),
        "/order/deadbeef01",
        "/order/:id",
    );
    check(std::slice::from_ref(&ids), "/v2/user", "/v2/user");
    check(
        &[replace("^/(..)/(.*)$", "/$2?lang=$1")],
        "/de/a",
        "/a?lang=de",
    );
    check(&[replace("x", "$$")], "/axbx", "/a$b$");
    check(&[replace("^.*$", "")], "/gone", "/");
    check(&[replace("b*", "-")], "/abc", "-/-a-c-");
    check(&[PageRewrite::LowerCase], "/A/B?Q=C", "/a/b?q=c");
    check(&[PageRewrite::DropTrailingSlash], "/a//?q=1", "/a?q=1");
    check(&[PageRewrite::DropTrailingSlash], "/", "/");
    check(&[PageRewrite::DropTrailingSlash], "/?q=/", "/?q=/");
    check(&[PageRewrite::DropQuery], "/a?q=1#x", "/a");
    check(&[PageRewrite::DropQuery], "/#/cart", "/");
    let app = PageRewrite::DropPrefix("/app/".to_owned());
    check(std::slice::from_ref(&app), "/app/a", "/a");
    check(std::slice::from_ref(&app), "/app?x=1", "/?x=1");
    check(std::slice::from_ref(&app), "/apple", "/apple");
    check(
        &[PageRewrite::LowerCase, app.clone(), ids],
        "/APP/7/",
        "/:id/",
    );
    // Half a letter is never left behind; a rewrite that would do so is none.
    check(&[replace("(?s-u:\\xC3)", "")], "/ü", "/ü");
    check(&[replace("ü", "ue")], "/grün", "/gruen");
    let long = format!("/{}", "ü".repeat(1_000));
    let grown = format!("/{}", "ü-ü".repeat(1_000));
    let mut cut = grown.clone();
    cut.truncate(cut.floor_char_boundary(RuleSet::PAGE_BYTES_MAX));
    check(&[replace("(ü)", "$1-$1")], &long, &cut);
}

#[test]
fn goals_meet_rewritten_pages_and_count_since_ever() {
    let goal = |id: u64, condition: Condition| GoalRule {
        id,
        name: format!("goal {id}"),
        condition,
    };
    let rules = RuleSet {
        pages: vec![PageRewrite::LowerCase],
        settings: SettingsRules {
            goals: Some(vec![
                goal(5, Condition::PagePattern("/thanks/*".to_owned())),
                goal(6, Condition::EventName("bought".to_owned())),
            ]),
            ..SettingsRules::default()
        },
        ..RuleSet::default()
    };
    let mut site = TestSite::under(&rules);
    // Before the first settings command, too.
    site.apply(&[
        view(1, MONDAY, "/Thanks/A"),
        custom(1, MONDAY + 1, "bought"),
    ]);
    let mut command = settings(30);
    for goal in &mut command.goals {
        goal.since_ms = MONDAY + 100 * HOUR;
    }
    site.settings(command);
    site.apply(&[
        view(2, MONDAY + 2 * MINUTE, "/THANKS/b"),
        custom(2, MONDAY + 3 * MINUTE, "signup"),
    ]);
    assert_eq!(values(&site, Dimension::Goal), ["5", "6"]);
}

#[test]
fn settings_are_replaced_up_to_a_revision() {
    let rules = RuleSet {
        settings: SettingsRules {
            revision_max: 1,
            visit_timeout_minutes: Some(5),
            ..SettingsRules::default()
        },
        ..RuleSet::default()
    };
    let mut site = TestSite::under(&rules);
    let timeout = |site: &TestSite| site.state().view().settings().visit_timeout_ms / MINUTE;
    assert_eq!(timeout(&site), 5);
    site.settings(settings(30));
    assert_eq!(timeout(&site), 5);
    site.apply(&[view(1, MONDAY, "/"), view(1, MONDAY + 10 * MINUTE, "/")]);
    assert_eq!(site.total(|cell| cell.visits), 2);
    let mut later = settings(60);
    later.revision = 2;
    site.settings(later);
    assert_eq!(timeout(&site), 60);
}

#[test]
fn the_zone_can_change_although_the_site_has_events() {
    let rules = RuleSet {
        settings: SettingsRules {
            zone: Some(ZoneRule {
                name: "Asia/Kolkata".to_owned(),
                transitions: vec![(0, 19_800)],
            }),
            ..SettingsRules::default()
        },
        ..RuleSet::default()
    };
    let mut site = TestSite::under(&rules);
    site.apply(&[view(1, MONDAY + 45 * MINUTE, "/")]);
    site.settings(settings(30));
    site.apply(&[view(1, MONDAY + 50 * MINUTE, "/")]);
    let view = site.state().view();
    assert_eq!(view.zone().name(), "Asia/Kolkata");
    let hours: Vec<i64> = site.hours().iter().map(|hour| hour.0 - MONDAY).collect();
    assert_eq!(hours, [30 * MINUTE]);
    let mut restarted = site.clone();
    restarted.checkpoint();
    restarted.restart();
    assert_eq!(restarted.hash(), site.hash());
    assert_eq!(
        TestSite::under(&rules).state().view().zone().name(),
        "Asia/Kolkata"
    );
}

#[test]
fn a_subject_is_left_out_as_if_it_had_never_come() {
    let without = |subject: Subject, until: Option<i64>| Without {
        subject,
        until: until.map(UnixMillis),
    };
    let rules = RuleSet {
        without: vec![
            without(Subject::visitor(VisitorId(1)), None),
            without(Subject::visitor(VisitorId(2)), Some(MONDAY + HOUR)),
            without(Subject::user("jane", [VisitorId(3)]), None),
        ],
        ..RuleSet::default()
    };
    let gone = [
        view(1, MONDAY, "/1"),
        view(10, MONDAY, "/1 the day after").previously(1),
        view(1, MONDAY + 1, "/1").dropped(DropReason::Bot),
        view(2, MONDAY + HOUR, "/2"),
        view(3, MONDAY, "/3"),
        view(4, MONDAY, "/4").of_user("jane"),
    ];
    let kept = [
        view(2, MONDAY + HOUR + 1, "/2"),
        view(3, MONDAY, "/3 on a shared device").of_user("john"),
        view(4, MONDAY + 1, "/4"),
        view(5, MONDAY, "/5").of_user("Jane"),
        view(6, MONDAY, "/6").dropped(DropReason::Bot),
    ];
    let mut all: Vec<Hit> = Vec::new();
    for (position, hit) in gone.iter().enumerate() {
        all.push(hit.clone());
        all.extend(kept.get(position).cloned());
    }
    let mut site = TestSite::under(&rules);
    let mut never = TestSite::new();
    for site in [&mut site, &mut never] {
        site.settings(settings(30));
        site.apply_at(MONDAY, &[]);
    }
    let erased = Verdict::Dropped(DropReason::Erased);
    let counted = Verdict::Accepted;
    assert_eq!(
        site.apply_at(MONDAY + HOUR, &all),
        [
            erased, counted, erased, counted, erased, counted, erased, counted, erased, ROBOT,
            erased
        ]
    );
    never.apply_at(MONDAY + HOUR, &kept);
    site.checkpoint();
    never.checkpoint();
    assert_eq!(site.hash(), never.hash());
    assert_eq!(site.rows.rows, never.rows.rows, "to the byte");
}

#[test]
fn an_import_covers_the_lines_of_subjects_that_are_left_out() {
    let rules = RuleSet {
        without: vec![Without {
            subject: Subject::visitor(VisitorId(2)),
            until: None,
        }],
        ..RuleSet::default()
    };
    let erased = Verdict::Dropped(DropReason::Erased);
    let import = |site: &mut TestSite, first: u64, last: u64, lines: Vec<u32>| {
        let hits: Vec<Hit> = (first..=last)
            .map(|line| view(1 + line % 2, MONDAY - 400 * 24 * HOUR + line as i64, "/"))
            .collect();
        let mark = ImportMark {
            source: Bytes::from_static(b"access.log"),
            first_line: first,
            last_line: last,
            prefix_hash: Bytes::from(vec![last as u8; 32]),
            lines,
        };
        site.apply_marked(MONDAY, &hits, Some(mark))
    };
    let mut site = TestSite::under(&rules);
    let verdicts = import(&mut site, 1, 4, vec![0, 1, 2, 3]);
    assert_eq!(verdicts, [erased, Verdict::Late, erased, Verdict::Late]);
    let progress = site.state().view().import(b"access.log").cloned().unwrap();
    assert_eq!(progress.last_line, 4);
    let verdicts = import(&mut site, 3, 6, vec![0, 1, 2, 3]);
    assert_eq!(
        verdicts,
        [erased, Verdict::Duplicate, erased, Verdict::Late]
    );
    site.checkpoint();
    assert_eq!(site.total(|cell| cell.pageviews), 3);
    // The only line that is out of place is one of the subject's: the mark stays refused, nobody's events count.
    let refused = Verdict::Dropped(DropReason::Malformed);
    assert_eq!(import(&mut site, 7, 8, vec![9, 1]), [refused; 2]);
    assert_eq!(import(&mut site, 7, 8, vec![0, 1]), [erased, Verdict::Late]);
}

#[test]
fn event_rules_hold_from_their_time_on() {
    let rules = RuleSet {
        from: Some(UnixMillis(MONDAY + HOUR)),
        pages: vec![PageRewrite::LowerCase],
        ..bots(&[SCRAPER], &[], Unlisted::Keep)
    };
    let mut site = TestSite::under(&rules);
    let verdicts = site.apply_at(
        MONDAY + HOUR,
        &[
            view(1, MONDAY + HOUR - 1, "/Before"),
            view(1, MONDAY + HOUR, "/After"),
            view(2, MONDAY + HOUR - 1, "/Robot").by(SCRAPER),
            view(2, MONDAY + HOUR, "/Robot").by(SCRAPER),
            // Without a time of its own it happened at the stamp.
            view(3, 0, "/Now"),
        ],
    );
    let counted = Verdict::Accepted;
    assert_eq!(verdicts, [counted, counted, counted, ROBOT, counted]);
    let pages = values(&site, Dimension::Page);
    assert_eq!(pages, ["/Before", "/Robot", "/after", "/now"]);
}
