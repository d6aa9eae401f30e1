//! Rule files: what they mean, and what is said of those that are wrong.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use ringtail_analytics::{
    BotRules, ChannelRule, Condition, GoalRule, PageRewrite, Pattern, RuleSet, SettingsRules,
    Unlisted, ZoneRule,
};
use ringtail_proto::stored::ZoneTransition;
use ringtail_rule_file::{RuleFile, RuleFileError};

const FULL: &str = r#"
[bots]
are = ["acme-monitor", '/^curl\//']
are_not = "KioskBrowser"
others = "count"

[[channels]]
channel = "Newsletter"
source = ["spring-letter", "*.mailer.example"]
medium = ""

[[channels]]
channel = "Rest"

[[pages]]
replace = '/user/(\d+)'
with = "/user/:$1"

[[pages]]
lower_case = true

[[pages]]
drop_trailing_slash = true

[[pages]]
drop_prefix = "/app"

[[pages]]
drop_query = true

[settings]
visit_timeout_minutes = 45
timezone = "Europe/Berlin"
goals = [{ name = "Sign up", event = "signup" }, { name = "Docs", page = "/docs/**" }]
"#;

fn berlin(name: &str) -> Result<Vec<ZoneTransition>, String> {
    match name {
        "Europe/Berlin" => Ok(vec![ZoneTransition {
            from_ms: 0,
            offset_seconds: 3_600,
        }]),
        _ => Err(format!("there is no time zone {name:?}")),
    }
}

#[test]
fn a_file_becomes_the_rule_set_that_it_says() {
    let file = RuleFile::parse(FULL).unwrap();
    assert_eq!(file.timezone(), Some("Europe/Berlin"));
    let names: Vec<&str> = file.goal_names().unwrap().collect();
    assert_eq!(names, ["Sign up", "Docs"]);
    let rules = file
        .rule_set(|name| name.len() as u64 + 10, berlin)
        .unwrap();
    let contains = |text: &str| Pattern::Contains(text.to_owned());
    let whole = |text: &str| Pattern::Whole(text.to_owned());
    let expect = RuleSet {
        from: None,
        bots: Some(BotRules {
            are: vec![
                contains("acme-monitor"),
                Pattern::Regex(r"^curl\/".to_owned()),
            ],
            are_not: vec![contains("KioskBrowser")],
            unlisted: Unlisted::Count,
        }),
        channels: vec![
            ChannelRule {
                channel: "Newsletter".to_owned(),
                source: vec![whole("spring-letter"), whole("*.mailer.example")],
                medium: vec![whole("")],
                ..ChannelRule::default()
            },
            ChannelRule {
                channel: "Rest".to_owned(),
                ..ChannelRule::default()
            },
        ],
        pages: vec![
            PageRewrite::Replace {
                pattern: r"/user/(\d+)".to_owned(),
                with: "/user/:$1".to_owned(),
            },
            PageRewrite::LowerCase,
            PageRewrite::DropTrailingSlash,
            PageRewrite::DropPrefix("/app".to_owned()),
            PageRewrite::DropQuery,
        ],
        settings: SettingsRules {
            revision_max: u64::MAX,
            visit_timeout_minutes: Some(45),
            goals: Some(vec![
                GoalRule {
                    id: 17,
                    name: "Sign up".to_owned(),
                    condition: Condition::EventName("signup".to_owned()),
                },
                GoalRule {
                    id: 14,
                    name: "Docs".to_owned(),
                    condition: Condition::PagePattern("/docs/**".to_owned()),
                },
            ]),
            zone: Some(ZoneRule {
                name: "Europe/Berlin".to_owned(),
                transitions: vec![(0, 3_600)],
            }),
        },
        without: Vec::new(),
    };
    assert_eq!(rules, expect);
    rules.encode().unwrap();
}

#[test]
fn what_is_wrong_is_named_with_its_place_and_what_is_allowed() {
    let check = |text: &str, expect: &str| {
        let error = RuleFile::parse(text).unwrap_err();
        assert_eq!(error.to_string(), expect, "{text}");
    };
    check(
        "[bots]\nare = [\"a\"]\nnever = 1\n",
        "line 3, column 1: unknown field `never`, expected one of `are`, `are_not`, `others`",
    );
    check(
        "[bot]\nare = \"a\"\n",
        "line 1, column 2: unknown field `bot`, expected one of `bots`, `channels`, `pages`, `settings`",
    );
    check(
        "[bots]\nothers = \"people\"\n",
        "line 2, column 10: unknown variant `people`, expected `keep` or `count`",
    );
    check(
        "[bots]\nare = 7\n",
        "line 2, column 7: invalid type: integer `7`, expected a text or a list of texts",
    );
    check(
        "[[channels]]\nchannel = \"x\"\nsource = []\n",
        "line 3, column 10: invalid length 0, expected at least one text",
    );
    check(
        "[[channels]]\nsource = \"x\"\n",
        "line 1, column 1: missing field `channel`",
    );
    check(
        "[[pages]]\n",
        "pages[0]: it says nothing; allowed is exactly one of `replace` (with `with`), `lower_case`, \
           `drop_trailing_slash`, `drop_prefix`, `drop_query`",
    );
    let page = |text: &str, expect: &str| {
        let error = RuleFile::parse(&format!("[[pages]]\n{text}\n")).unwrap_err();
        let expect = format!("pages[0]: {expect}; allowed is ");
        assert!(error.to_string().starts_with(&expect), "{error}");
    };
    page("lower_case = true\ndrop_query = true", "it says two things");
    page("lower_case = false", "a switch can only be true");
    page("replace = \"a\"", "`replace` needs `with`");
    page("lower_case = true\nwith = \"a\"", "`with` needs `replace`");
    check(
        "[[pages]]\nlower_case = true\n[[pages]]\nreplace = '('\nwith = ''\n",
        "pages[1].replace: unclosed group",
    );
    check(
        "[bots]\nare = ['/a{1000}{1000}{1000}/']\n",
        "bots.are[0]: Compiled regex exceeds size limit of 262144 bytes.",
    );
    check(
        "[settings]\nvisit_timeout_minutes = 241\n",
        "settings.visit_timeout_minutes is 241, allowed is 1 to 240",
    );
    check(
        "[settings]\nvisit_timeout_minutes = -1\n",
        "line 2, column 25: invalid value: integer `-1`, expected u32",
    );
    check(
        "[settings]\ngoals = [{ name = \"a\", event = \"b\", page = \"/\" }]\n",
        "settings.goals[0]: a goal has either `event` or `page`",
    );
    check(
        "[settings]\ngoals = [{ name = \"a\", page = \"thanks\" }]\n",
        "settings.goals[0].page: \"thanks\" does not begin with / or *",
    );
    check(
        "[settings]\ngoals = [{ name = \"a\", page = \"/\" }, { name = \"a\", event = \"b\" }]\n",
        "settings.goals[1]: a goal before it is called \"a\", too",
    );
    check(
        "",
        "the rule file: it changes nothing; allowed are bots, channels, pages and settings",
    );
    check(
        &"#".repeat(RuleFile::BYTES_MAX + 1),
        "the rule file has 262145 bytes, at most 262144 are allowed",
    );
    assert!(matches!(
        RuleFile::parse("[bots\n"),
        Err(RuleFileError::Syntax { line: 1, .. })
    ));
}

#[test]
fn a_zone_that_there_is_not_is_refused() {
    let file = RuleFile::parse("[settings]\ntimezone = \"Mars/Olympus\"\n").unwrap();
    let error = file.rule_set(|_| 1, berlin).unwrap_err();
    assert_eq!(
        error.to_string(),
        "settings.timezone: there is no time zone \"Mars/Olympus\""
    );
}

#[test]
fn goals_that_share_an_id_are_refused() {
    let file = RuleFile::parse(FULL).unwrap();
    let error = file.rule_set(|_| 1, berlin).unwrap_err();
    assert!(matches!(error, RuleFileError::Rule(_)), "{error}");
}

#[test]
fn no_goals_are_another_thing_than_goals_that_stay() {
    let none = RuleFile::parse("[settings]\ngoals = []\n").unwrap();
    let rules = none.rule_set(|_| 1, berlin).unwrap();
    assert_eq!(rules.settings.goals, Some(Vec::new()));
    let stay = RuleFile::parse("[settings]\nvisit_timeout_minutes = 1\n").unwrap();
    assert_eq!(stay.rule_set(|_| 1, berlin).unwrap().settings.goals, None);
}
