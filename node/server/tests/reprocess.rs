//! History under other rules, on real nodes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::{fs, process::Output};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use support::{
    Node,
    ring::{BROWSER, LOOK, PATIENCE, SITE, count, is_settled, send, until_counted, until_ring},
};
use tokio::time::{Instant, sleep};

const OWN: &[(&str, &str)] = &[
    ("RINGTAIL_ARCHIVE", "own"),
    ("RINGTAIL_CHECKPOINT_DIRTY_SECONDS_MAX", "1"),
];
/// Taken for a robot because of what it calls itself beside.
const KIOSK: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; KioskBrowser/2.1)";
const KIOSKS_ARE_PEOPLE: &str = "[bots]\nare_not = \"KioskBrowser\"\n";

fn start() -> Node {
    Node::start_with(tempfile::tempdir().unwrap(), &[], OWN)
}

/// A node alone, as soon as it is sure that it uses all that it knows.
async fn start_alone() -> Node {
    let node = start();
    let token = node.token();
    until_ring(&node, &token, "the newest features are used", |ring| {
        ring["feature_gate"] == ring["feature_level"]
    })
    .await;
    node
}

async fn add_site(node: &Node, domain: &str) {
    let site = json!({"domain": domain});
    node.admin(Method::POST, "/api/v1/sites", site).await;
}

/// A page view as a browser sends it; the path makes it another event.
async fn beacon(node: &Node, user_agent: &str, page: u64) {
    let event = json!({
        "domain": SITE,
        "name": "pageview",
        "url": format!("https://{SITE}/{page}"),
    });
    let sent = reqwest::Client::new()
        .post(format!("{}/api/event", node.http))
        .header("user-agent", user_agent)
        .body(event.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), StatusCode::ACCEPTED);
}

fn path_of(domain: &str) -> String {
    format!("/api/v1/sites/{domain}/reprocess")
}

async fn state(node: &Node, token: &str, domain: &str) -> Value {
    let (status, state) = node
        .send(Method::GET, &path_of(domain), Some(token), "")
        .await;
    assert_eq!(status, StatusCode::OK, "{state}");
    state
}

/// Events in the archive, as a node knows it.
async fn sealed(node: &Node, token: &str) -> u64 {
    let path = "/api/v1/archive";
    let (status, archive) = node.send(Method::GET, path, Some(token), "").await;
    assert_eq!(status, StatusCode::OK, "{archive}");
    let groups = archive["groups"].as_array().unwrap().iter();
    let objects = groups.flat_map(|group| group["objects"].as_array().unwrap());
    let of_events = objects.filter(|object| object["table"] == json!("events"));
    of_events
        .map(|object| object["rows"].as_u64().unwrap())
        .sum()
}

/// Seals until the archive holds so many events, stored drops among them.
async fn until_sealed(node: &Node, token: &str, expect: u64) {
    let begin = Instant::now();
    loop {
        post(node, token, "/api/v1/archive/seal").await;
        let found = sealed(node, token).await;
        if found == expect {
            return;
        }
        assert!(found < expect && begin.elapsed() < PATIENCE, "{found}");
        sleep(LOOK).await;
    }
}

/// Waits until all replicas hold the next generation.
async fn until_built(node: &Node, token: &str, domain: &str) -> Value {
    let begin = Instant::now();
    loop {
        let state = state(node, token, domain).await;
        if state["next"]["is_complete"] == json!(true) {
            return state;
        }
        assert!(begin.elapsed() < PATIENCE, "{state:#}");
        sleep(LOOK).await;
    }
}

fn said(output: &Output) -> String {
    let (out, error) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(&[out.as_slice(), error.as_slice()].concat()).into_owned()
}

/// Runs the command line; it has to succeed.
fn cli(node: &Node, arguments: &[&str]) -> String {
    let output = node.cli(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", said(&output));
    said(&output)
}

/// Runs the command line; it has to fail and to say why.
fn refused(node: &Node, arguments: &[&str], why: &str) {
    let output = node.cli(arguments);
    let said = said(&output);
    assert!(!output.status.success(), "{arguments:?}: {said}");
    assert!(said.contains(why), "{arguments:?}: {said}");
}

#[tokio::test]
async fn a_rule_that_dropped_real_visitors_is_repaired_compared_switched_and_undone() {
    let node = start_alone().await;
    let token = node.token();
    add_site(&node, SITE).await;
    for page in 0..3 {
        beacon(&node, BROWSER, page).await;
    }
    for page in 0..4 {
        beacon(&node, KIOSK, page).await;
    }
    until_counted(&node, &token, 3).await;
    until_sealed(&node, &token, 7).await;
    // These are in the log alone when the generation begins.
    beacon(&node, KIOSK, 4).await;
    beacon(&node, BROWSER, 5).await;
    until_counted(&node, &token, 4).await;

    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("kiosks.toml");
    fs::write(&rules, KIOSKS_ARE_PEOPLE).unwrap();
    let rules = rules.to_str().unwrap();
    let built = cli(&node, &["reprocess", "--site", SITE, "--rules", rules]);
    assert!(built.contains("kiosks.toml"), "{built}");
    assert_eq!(count(&node, &token).await, Some(4), "the old one serves");

    let diff = cli(&node, &["reprocess", "diff", "--site", SITE, "--json"]);
    let diff: Value = serde_json::from_str(&diff).unwrap();
    let metrics = diff["metrics"].as_array().unwrap();
    let of = |name: &str| {
        let place = metrics.iter().position(|metric| metric == name).unwrap();
        let row = &diff["rows"][0];
        (row["before"][place].clone(), row["after"][place].clone())
    };
    assert_eq!(of("pageviews"), (json!(4), json!(9)), "{diff:#}");
    assert_eq!(of("visitors"), (json!(1), json!(2)), "{diff:#}");
    assert_eq!(metrics.len(), 9, "{metrics:?}");
    let by = ["reprocess", "diff", "--site", SITE, "--by", "event:page"];
    let by_page = cli(&node, &by);
    assert!(by_page.contains("/4"), "{by_page}");

    cli(&node, &["reprocess", "switch", "--site", SITE]);
    assert_eq!(count(&node, &token).await, Some(9));
    // Both are fed: the new one under its rules, the former one as ever.
    beacon(&node, KIOSK, 6).await;
    until_counted(&node, &token, 10).await;
    cli(&node, &["reprocess", "undo", "--site", SITE]);
    assert_eq!(count(&node, &token).await, Some(4));
    cli(&node, &["reprocess", "undo", "--site", SITE]);
    assert_eq!(count(&node, &token).await, Some(10));
    cli(&node, &["reprocess", "accept", "--site", SITE]);
    let undo = ["reprocess", "undo", "--site", SITE];
    refused(&node, &undo, "no former generation");

    let node = Node::start_with(node.kill(), &[], OWN);
    until_counted(&node, &token, 10).await;
    beacon(&node, KIOSK, 7).await;
    until_counted(&node, &token, 11).await;
    let status = cli(&node, &["reprocess", "status", "--site", SITE]);
    assert!(
        status.contains("serving") && !status.contains("former"),
        "{status}"
    );
}

#[tokio::test]
async fn what_cannot_be_reprocessed_is_refused_with_its_reason() {
    let node = Node::start();
    add_site(&node, SITE).await;
    let begin = ["reprocess", "--site", SITE];
    refused(&node, &begin, "archives nothing");
    refused(&node, &["reprocess", "--site", "no.test"], "no site");
    refused(&node, &["reprocess"], "--site");

    let node = start_alone().await;
    add_site(&node, SITE).await;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.toml");
    let rules = rules.to_str().unwrap();
    let under = ["reprocess", "--site", SITE, "--rules", rules];
    for (text, why) in [
        ("[bots]\nare = 7\n", "line 2"),
        ("[robots]\n", "robots"),
        ("[bots]\nare = '/(/'\n", "bots.are"),
        ("[settings]\ntimezone = \"Mars/Olympus\"\n", "Mars/Olympus"),
        ("[settings]\nvisit_timeout_minutes = 900\n", "1 to 240"),
    ] {
        fs::write(rules, text).unwrap();
        refused(&node, &under, why);
    }
    fs::write(rules, KIOSKS_ARE_PEOPLE).unwrap();
    let from = ["--from", "yesterday"];
    let yesterday = [under.as_slice(), from.as_slice()].concat();
    refused(&node, &yesterday, "neither a date");
    refused(&node, &["reprocess", "undo", "--site", SITE], "no former");
    for step in ["switch", "cancel", "pause", "resume"] {
        let command = ["reprocess", step, "--site", SITE];
        refused(&node, &command, "not being reprocessed");
    }
    refused(
        &node,
        &["reprocess", "diff", "--site", SITE],
        "one generation only",
    );
}

#[tokio::test]
async fn a_build_is_paused_goes_on_and_is_given_up() {
    let node = start_alone().await;
    let token = node.token();
    add_site(&node, SITE).await;
    for number in 0..10 {
        send(&node, &token, number).await;
    }
    until_sealed(&node, &token, 10).await;
    cli(&node, &["reprocess", "--site", SITE, "--detach"]);
    cli(&node, &["reprocess", "pause", "--site", SITE]);
    let again = ["reprocess", "--site", SITE, "--detach"];
    refused(&node, &again, "already");
    let state_now = state(&node, &token, SITE).await;
    assert_eq!(state_now["next"]["is_paused"], json!(true));
    cli(&node, &["reprocess", "resume", "--site", SITE]);
    let state_now = until_built(&node, &token, SITE).await;
    assert_eq!(state_now["next"]["progress"], json!(1.0));
    cli(&node, &["reprocess", "cancel", "--site", SITE]);
    let switch = ["reprocess", "switch", "--site", SITE];
    refused(&node, &switch, "not being reprocessed");
    // A number is never used again.
    cli(&node, &["reprocess", "--site", SITE]);
    let state_now = state(&node, &token, SITE).await;
    assert_eq!(state_now["next"]["generation"], json!(2));
    assert_eq!(count(&node, &token).await, Some(10));
}

#[tokio::test]
async fn rules_may_spare_what_came_before_a_date() {
    let node = start_alone().await;
    let token = node.token();
    add_site(&node, SITE).await;
    beacon(&node, BROWSER, 1).await;
    beacon(&node, KIOSK, 2).await;
    until_counted(&node, &token, 1).await;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("kiosks.toml");
    fs::write(&rules, KIOSKS_ARE_PEOPLE).unwrap();
    let rules = rules.to_str().unwrap();
    for (from, expect) in [
        ("2999-01-01", "nothing differs"),
        ("2000-01-01T00:00:00Z", "pageviews"),
    ] {
        let begin = [
            "reprocess",
            "--site",
            SITE,
            "--rules",
            rules,
            "--from",
            from,
        ];
        cli(&node, &begin);
        let diff = cli(&node, &["reprocess", "diff", "--site", SITE]);
        assert!(diff.contains(expect), "from {from}: {diff}");
        cli(&node, &["reprocess", "cancel", "--site", SITE]);
    }
}

#[tokio::test]
async fn imported_history_is_archived_and_reprocessed() {
    let node = start_alone().await;
    let token = node.token();
    add_site(&node, SITE).await;
    let log = node.path("access.log");
    let lines = ["/a?q=1", "/a?q=2", "/b"].map(|page| {
        format!("192.0.2.7 - - [03/May/2025:10:00:00 +0000] \"GET {page} HTTP/1.1\" 200 9 \"-\" \"{BROWSER}\"\n")
    });
    fs::write(&log, lines.concat()).unwrap();
    let import = [
        "import",
        "access-log",
        "--site",
        SITE,
        log.to_str().unwrap(),
    ];
    cli(&node, &import);
    until_counted(&node, &token, 3).await;
    until_sealed(&node, &token, 3).await;
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("pages.toml");
    fs::write(
        &rules,
        "[[pages]]\nreplace = '^/a.*'\nwith = \"/all-of-a\"\n",
    )
    .unwrap();
    let begin = [
        "reprocess",
        "--site",
        SITE,
        "--rules",
        rules.to_str().unwrap(),
    ];
    cli(&node, &begin);
    cli(&node, &["reprocess", "switch", "--site", SITE]);
    let pages = json!({
        "site_id": SITE,
        "metrics": ["pageviews"],
        "date_range": "all",
        "dimensions": ["event:page"],
    });
    let report = node.admin(Method::POST, "/api/v2/query", pages).await;
    let rows = report["results"].as_array().unwrap().iter();
    let rows: Vec<_> = rows
        .map(|row| (row["dimensions"][0].clone(), row["metrics"][0].clone()))
        .collect();
    assert_eq!(
        rows,
        [(json!("/all-of-a"), json!(2)), (json!("/b"), json!(1))]
    );
    // The import goes on where it was: its position is part of every generation.
    cli(&node, &import);
    assert_eq!(count(&node, &token).await, Some(3));
}

#[tokio::test]
async fn nobody_switches_before_every_replica_has_said_that_it_is_ready() {
    let first = start();
    let token = first.token();
    add_site(&first, SITE).await;
    let second = first.start_joining_with(OWN);
    let third = first.start_joining_with(OWN);
    for node in [&first, &second, &third] {
        until_ring(node, &token, "settled on three", |ring| is_settled(ring, 3)).await;
    }
    send(&first, &token, 1).await;
    post(&second, &token, &path_of(SITE)).await;
    until_built(&second, &token, SITE).await;
    third.freeze();
    let path = format!("{}/switch", path_of(SITE));
    let (status, answer) = first.send(Method::POST, &path, Some(&token), "{}").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
    assert!(answer.to_string().contains("does not answer"), "{answer}");
    third.go_on();
    post(&first, &token, &path).await;
    // Who has seen the new generation sees no other one again, whichever node answers.
    let mut query = json!({"site_id": SITE, "metrics": ["pageviews"], "date_range": "all"});
    for node in [&first, &second, &third, &first] {
        let begin = Instant::now();
        let report = loop {
            let path = "/api/v2/query";
            let (status, report) = node
                .send(Method::POST, path, Some(&token), query.to_string())
                .await;
            if status.is_success() {
                break report;
            }
            assert!(begin.elapsed() < PATIENCE, "{status} {report}");
            sleep(LOOK).await;
        };
        assert_eq!(report["meta"]["generation"], json!(1), "{report:#}");
        assert_eq!(report["results"][0]["metrics"][0], json!(1));
        query["session"] = report["meta"]["session"].clone();
    }
}

/// A request that succeeds, perhaps not at once: a busy node may be late to say that it is there.
async fn post(node: &Node, token: &str, path: &str) -> Value {
    let begin = Instant::now();
    loop {
        let (status, answer) = node.send(Method::POST, path, Some(token), "{}").await;
        if status.is_success() {
            return answer;
        }
        let is_possible = status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(
            is_possible && begin.elapsed() < PATIENCE,
            "{path}: {status} {answer}"
        );
        sleep(LOOK).await;
    }
}

/// The hashes of all sites' generations on a node.
async fn hashes(node: &Node, token: &str) -> Vec<(String, String)> {
    let (status, answer) = node
        .send(Method::GET, "/api/v1/ring/hashes", Some(token), "")
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let groups = answer["groups"].as_array().unwrap().iter();
    groups
        .flat_map(|group| group["sites"].as_object().unwrap())
        .map(|(site, hash)| (site.clone(), hash.as_str().unwrap().to_owned()))
        .collect()
}

/// Sends an event to each of many sites in one request.
async fn send_to_sites(node: &Node, token: &str, sites: usize, number: u64) {
    for site in 0..sites {
        let id = uuid::Uuid::from_u128((u128::from(number) << 64) + site as u128 + 1);
        let visitor = format!("visitor {}", number % 3);
        let event = json!({
            "site": format!("site-{site}.test"),
            "events": [{
                "id": id,
                "name": "pageview",
                "url": format!("https://site-{site}.test/{number}"),
                "user_agent": BROWSER,
                "visitor": visitor,
            }],
        });
        let begin = Instant::now();
        loop {
            let path = "/api/v1/events";
            let (status, answer) = node
                .send(Method::POST, path, Some(token), event.to_string())
                .await;
            if status.is_success() {
                break;
            }
            assert!(begin.elapsed() < PATIENCE, "{site}: {status} {answer}");
            sleep(LOOK).await;
        }
    }
}

#[tokio::test]
async fn under_unchanged_rules_every_replica_has_the_same_state_again() {
    let sites: usize =
        std::env::var("RINGTAIL_REPROCESSED_SITES").map_or(1_000, |sites| sites.parse().unwrap());
    let first = start();
    let token = first.token();
    for site in 0..sites {
        add_site(&first, &format!("site-{site}.test")).await;
    }
    let second = first.start_joining_with(OWN);
    let third = first.start_joining_with(OWN);
    let mut nodes = vec![first, second, third];
    for node in &nodes {
        until_ring(node, &token, "settled on three", |ring| is_settled(ring, 3)).await;
    }
    for number in 0..4 {
        send_to_sites(&nodes[number as usize % 3], &token, sites, number).await;
    }
    // Seals of whoever leads what, until most of it is in the archive.
    let begin = Instant::now();
    while sealed(&nodes[0], &token).await < 3 * sites as u64 {
        for node in &nodes {
            post(node, &token, "/api/v1/archive/seal").await;
        }
        assert!(begin.elapsed() < PATIENCE, "nothing is sealed");
        sleep(LOOK).await;
    }
    for site in 0..sites {
        let path = path_of(&format!("site-{site}.test"));
        post(&nodes[site % 3], &token, &path).await;
    }
    // One dies in the middle of it and comes back; its groups are led by others meanwhile.
    let last = nodes.pop().unwrap();
    let last = Node::start_with(last.kill(), &[], OWN);
    nodes.push(last);
    send_to_sites(&nodes[0], &token, sites, 4).await;
    for site in 0..sites {
        until_built(&nodes[1], &token, &format!("site-{site}.test")).await;
    }
    send_to_sites(&nodes[0], &token, sites, 5).await;
    for node in &nodes {
        let begin = Instant::now();
        loop {
            let hashes = hashes(node, &token).await;
            // What was fed last may not be applied on this replica yet, but it is applied to both generations at once.
            let pairs = (1..=sites).map(|site| {
                let of = |generation: u32| {
                    let name = match generation {
                        0 => site.to_string(),
                        later => format!("{site}#{later}"),
                    };
                    let found = hashes.iter().find(|(site, _)| *site == name);
                    found.map(|(_, hash)| hash.clone())
                };
                (site, of(0), of(1))
            });
            let differing: Vec<_> = pairs
                .filter(|(_, before, after)| before.is_none() || before != after)
                .collect();
            if differing.is_empty() {
                break;
            }
            let is_missing = differing
                .iter()
                .all(|(_, before, after)| before.is_none() || after.is_none());
            assert!(
                is_missing && begin.elapsed() < PATIENCE,
                "{}: {differing:?}",
                node.http
            );
            sleep(LOOK).await;
        }
    }
}
