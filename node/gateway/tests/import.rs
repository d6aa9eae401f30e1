//! Access logs become events with their original times.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use ringtail_gateway::ImportKey;
use ringtail_proto::DropReason;
use support::World;

/// Lines of a real server's log, and one that broke.
const LINES: &str = r#"83.149.9.216 - - [17/May/2015:10:05:03 +0000] "GET /presentations/logstash-monitorama-2013/images/kibana-search.png HTTP/1.1" 200 203023 "http://semicomplete.com/presentations/logstash-monitorama-2013/" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36"
83.149.9.216 - - [17/May/2015:10:05:12 +0000] "GET /presentations/ HTTP/1.1" 200 7697 "http://www.google.com/search?q=logstash" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36"
83.149.9.216 - - [17/May/2015:10:05:12 +0000] "GET /presentations/ HTTP/1.1" 200 7697 "http://www.google.com/search?q=logstash" "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_9_1) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/32.0.1700.77 Safari/537.36"
66.249.73.135 - - [17/May/2015:11:05:32 +0000] "GET /blog/tags/ipv6 HTTP/1.1" 200 12251 "-" "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
50.16.19.13 - - [17/May/2015:10:05:10 +0000] "GET /blog/tags/puppet?flav=rss20 HTTP/1.1" 200 14872 "-" "-"
a broken line
192.0.2.1 - - [17/May/2015:12:05:10 +0200] "GET / HTTP/1.1" 200 14872
"#;

#[test]
fn each_line_is_an_event_or_dropped_with_its_reason() {
    let world = World::new();
    let site = world.gateway.site("example.com").unwrap();
    let importer = world.gateway.importer(site, "access.log").unwrap();
    let chunk = importer.enrich(LINES.as_bytes(), 1);
    assert_eq!(chunk.lines, 7);
    assert_eq!(
        chunk.dropped,
        [(0, DropReason::NotAPageview), (5, DropReason::Malformed)]
    );
    assert_eq!(chunk.event_lines, [1, 2, 3, 4, 6]);
    let dropped: Vec<_> = chunk.events.iter().map(|event| event.dropped).collect();
    assert_eq!(
        dropped,
        [
            None,
            None,
            Some(DropReason::Bot),
            Some(DropReason::Bot),
            None
        ]
    );
    let (first, repeat) = (&chunk.events[0], &chunk.events[1]);
    assert_eq!(
        (first.page.as_str(), first.hostname.as_str()),
        ("/presentations/", "example.com")
    );
    assert_eq!(first.time.unwrap().0, 1_431_857_112_000);
    assert_eq!(first.acquisition.channel.as_str(), "Organic Search");
    assert_eq!(
        (first.client.browser.as_str(), first.place.country.as_str()),
        ("Chrome", "RU")
    );
    // The same line twice is two hits of one visitor.
    assert_ne!(first.id, repeat.id);
    assert_eq!(
        (first.visitor, first.visitor_previous),
        (repeat.visitor, None)
    );
    // The common format knows no robots.
    assert_eq!(chunk.events[4].client.browser.as_str(), "");
}

#[test]
fn an_import_is_the_same_however_it_is_cut_until_its_key_is_forgotten() {
    let world = World::new();
    let site = world.gateway.site("example.com").unwrap();
    let facts = |importer: &ringtail_gateway::Importer, cut: usize| {
        let (first, second) = LINES.split_at(cut);
        let lines = first.matches('\n').count() as u64;
        let mut events = importer.enrich(first.as_bytes(), 1).events;
        events.extend(importer.enrich(second.as_bytes(), 1 + lines).events);
        events
            .iter()
            .map(|event| (event.id, event.visitor))
            .collect::<Vec<_>>()
    };
    let ends: Vec<usize> = LINES
        .match_indices('\n')
        .map(|(position, _)| position + 1)
        .collect();
    let importer = world.gateway.importer(site.clone(), "access.log").unwrap();
    let whole = facts(&importer, 0);
    assert!(world.salts_file().contains("import 1/"));
    for cut in ends {
        let again = world.gateway.importer(site.clone(), "access.log").unwrap();
        assert_eq!(facts(&again, cut), whole, "cut at {cut}");
    }
    let id = site.id();
    assert!(world.gateway.holds_import_key(id, "access.log"));
    world.gateway.finish_import(id, "access.log").unwrap();
    assert!(!world.gateway.holds_import_key(id, "access.log"));
    assert!(!world.salts_file().contains("import"));
    let later = world.gateway.importer(site, "access.log").unwrap();
    let (id, visitor) = facts(&later, 0)[0];
    assert_eq!(id, whole[0].0);
    assert_ne!(visitor, whole[0].1);
}

#[test]
fn ends_of_lines_and_names_of_hosts_are_understood() {
    let world = World::new();
    let site = world.gateway.site("example.com").unwrap();
    let importer = world
        .gateway
        .importer(site, "with blanks in its name")
        .unwrap();
    let line =
        |host: &str| format!("{host} - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 1");
    let log = format!(
        "{}\r\n{}\n\n{}",
        line("a.example"),
        line("b.example"),
        line("a.example")
    );
    let chunk = importer.enrich(log.as_bytes(), 1);
    assert_eq!(
        (chunk.lines, chunk.dropped.as_slice()),
        (4, [(2, DropReason::Malformed)].as_slice())
    );
    let visitors: Vec<_> = chunk.events.iter().map(|event| event.visitor).collect();
    assert_eq!(visitors[0], visitors[2]);
    assert_ne!(visitors[0], visitors[1]);
    assert_eq!(importer.enrich(b"", 1).lines, 0);
}

#[test]
fn two_nodes_that_share_a_key_see_the_same_visitors() {
    let (first, second) = (World::new(), World::new());
    let visitors = |world: &World| {
        let site = world.gateway.site("example.com").unwrap();
        let importer = world.gateway.importer(site, "access.log").unwrap();
        let events = importer.enrich(LINES.as_bytes(), 1).events;
        events.iter().map(|event| event.visitor).collect::<Vec<_>>()
    };
    let id = first.gateway.site("example.com").unwrap().id();
    let key = first.gateway.import_key(id, "access.log").unwrap();
    let key = ImportKey::from_bytes(key.to_bytes());
    second
        .gateway
        .adopt_import_key(id, "access.log", key)
        .unwrap();
    assert_eq!(visitors(&first), visitors(&second));
    // A key that is held is not replaced.
    second
        .gateway
        .adopt_import_key(id, "access.log", ImportKey::from_bytes([7; 16]))
        .unwrap();
    assert_eq!(visitors(&first), visitors(&second));
}
