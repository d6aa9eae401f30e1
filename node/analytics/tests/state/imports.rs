//! Imports are idempotent by their own position.

use bytes::Bytes;
use ringtail_proto::{
    DropReason, Verdict,
    stored::{ImportMark, site_command::Change},
};

use crate::support::{HOUR, Hit, MONDAY, TestSite, settings, view};

const YEAR_BEFORE: i64 = MONDAY - 365 * 24 * HOUR;

/// Lines from..=to of a log, one hit each; every line is the same request.
fn lines(from: u64, to: u64) -> (Vec<Hit>, ImportMark) {
    let hits = (from..=to)
        .map(|line| {
            let mut hit = view(1, YEAR_BEFORE, "/same");
            hit.id = u128::from(line);
            hit
        })
        .collect();
    let mark = ImportMark {
        source: Bytes::from_static(b"access.log"),
        first_line: from,
        last_line: to,
        prefix_hash: Bytes::from(vec![to as u8; 32]),
        lines: (0..=(to - from) as u32).collect(),
    };
    (hits, mark)
}

fn import(site: &mut TestSite, from: u64, to: u64) -> Vec<Verdict> {
    let (hits, mark) = lines(from, to);
    site.apply_marked(site.stamp, &hits, Some(mark))
}

fn events(site: &mut TestSite) -> u64 {
    site.checkpoint();
    site.restart();
    site.total(|cell| cell.events)
}

#[test]
fn the_same_lines_add_nothing_and_resumed_lines_continue() {
    let mut site = TestSite::with_settings(settings(30));
    assert_eq!(import(&mut site, 1, 10), [Verdict::Late; 10]);
    assert_eq!(events(&mut site), 10);
    assert_eq!(import(&mut site, 1, 10), [Verdict::Duplicate; 10]);
    assert_eq!(events(&mut site), 10);
    let verdicts = import(&mut site, 8, 12);
    assert_eq!(verdicts[..3], [Verdict::Duplicate; 3]);
    assert_eq!(verdicts[3..], [Verdict::Late; 2]);
    assert_eq!(events(&mut site), 12);
    let view = site.state().view();
    let progress = view.import(b"access.log").unwrap();
    assert_eq!(progress.last_line, 12);
    assert_eq!(progress.prefix_hash, vec![12; 32]);
}

#[test]
fn exact_repeats_of_a_line_count_both() {
    let mut site = TestSite::with_settings(settings(30));
    let (mut hits, mark) = lines(1, 2);
    hits[1].id = hits[0].id;
    let verdicts = site.apply_marked(MONDAY, &hits, Some(mark));
    assert_eq!(verdicts, [Verdict::Late; 2]);
    assert_eq!(events(&mut site), 2);
}

#[test]
fn a_gap_is_refused_and_changes_nothing() {
    let mut site = TestSite::with_settings(settings(30));
    let refused = Verdict::Dropped(DropReason::Malformed);
    assert_eq!(import(&mut site, 2, 3), [refused; 2]);
    import(&mut site, 1, 3);
    assert_eq!(import(&mut site, 5, 6), [refused; 2]);
    assert_eq!(events(&mut site), 3);
}

#[test]
fn a_mark_that_contradicts_itself_is_refused() {
    let mut site = TestSite::with_settings(settings(30));
    let refused = Verdict::Dropped(DropReason::Malformed);
    let broken: [fn(&mut ImportMark); 5] = [
        |mark| mark.lines.truncate(1),
        |mark| mark.first_line = 0,
        |mark| mark.last_line = 0,
        |mark| mark.lines[2] = 7,
        |mark| mark.source = Bytes::from(vec![b'x'; 1_000]),
    ];
    for spoil in broken {
        let (hits, mut mark) = lines(1, 3);
        spoil(&mut mark);
        assert_eq!(site.apply_marked(MONDAY, &hits, Some(mark)), [refused; 3]);
    }
    assert_eq!(events(&mut site), 0);
}

#[test]
fn a_finished_import_asks_for_a_checkpoint_that_merges_it() {
    let mut site = TestSite::with_settings(settings(30));
    import(&mut site, 1, 3);
    assert!(!site.state().wants_checkpoint());
    site.command(Change::ImportFinished(Bytes::from_static(b"access.log")));
    assert!(site.state().wants_checkpoint());
    assert_eq!(events(&mut site), 3);
    assert!(!site.state().wants_checkpoint());
    assert!(
        site.state()
            .view()
            .import(b"access.log")
            .unwrap()
            .is_finished
    );
}

#[test]
fn an_import_before_the_first_live_event_is_counted_with_it() {
    let mut site = TestSite::with_settings(settings(30));
    import(&mut site, 1, 3);
    site.apply(&[view(2, MONDAY, "/live")]);
    assert_eq!(events(&mut site), 4);
    let first_hour = site.state().view().first_hour().unwrap();
    assert_eq!(first_hour.0, YEAR_BEFORE.div_euclid(HOUR) * HOUR);
}
