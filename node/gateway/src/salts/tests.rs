use std::{
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicI64, Ordering},
};

use super::*;

struct Bench {
    folder: tempfile::TempDir,
    now: Arc<AtomicI64>,
}

impl Bench {
    fn at(hours: i64) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            now: Arc::new(AtomicI64::new(hours * HOUR_MS)),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("salts")
    }

    fn open(&self) -> Result<Salts, SaltsError> {
        let now = self.now.clone();
        Salts::open(
            &self.path(),
            Clock::new(move || UnixMillis(now.load(Ordering::Relaxed))),
        )
    }

    fn set(&self, hours: i64) {
        self.now.store(hours * HOUR_MS, Ordering::Relaxed);
    }
}

/// 2026-11-21, and its first hour in UTC.
const DAY: i32 = 20_778;
const MIDNIGHT: i64 = DAY as i64 * 24;

#[test]
fn a_salt_exists_from_12_h_before_the_first_zone_to_2_h_after_the_last() {
    let bench = Bench::at(MIDNIGHT - 27);
    let salts = bench.open().unwrap();
    let check = |hours: i64, expect: bool| {
        bench.set(MIDNIGHT + hours);
        salts.maintain().unwrap();
        assert_eq!(
            salts.day(DAY).is_some(),
            expect,
            "{hours} h from midnight in UTC"
        );
        let file = fs::read_to_string(bench.path()).unwrap();
        assert_eq!(
            file.contains(&format!("day {DAY} ")),
            expect,
            "{hours} h, in the file"
        );
    };
    check(-27, false);
    check(-26, true);
    check(0, true);
    check(37, true);
    check(38, false);
}

#[test]
fn a_salt_never_changes_while_it_lasts_and_every_day_has_its_own() {
    let bench = Bench::at(MIDNIGHT);
    let salts = bench.open().unwrap();
    let (today, yesterday) = (salts.day(DAY).unwrap(), salts.day(DAY - 1).unwrap());
    assert_ne!(today, yesterday);
    bench.set(MIDNIGHT + 12);
    salts.maintain().unwrap();
    assert!(salts.day(DAY) == Some(today));
    drop(salts);
    let reopened = bench.open().unwrap();
    assert!(reopened.day(DAY) == Some(today));
    assert!(reopened.day(DAY - 1) == Some(yesterday));
}

#[test]
fn a_day_that_maintenance_missed_is_made_when_it_is_asked_for() {
    let bench = Bench::at(MIDNIGHT);
    let salts = bench.open().unwrap();
    bench.set(MIDNIGHT + 24 * 30);
    let made = salts.day(DAY + 30).unwrap();
    assert!(bench.open().unwrap().day(DAY + 30) == Some(made));
    assert!(salts.day(DAY).is_none());
}

#[test]
fn only_the_owner_can_read_the_file() {
    let bench = Bench::at(MIDNIGHT);
    let salts = bench.open().unwrap();
    salts.import_key("1/abc").unwrap();
    let mode = fs::metadata(bench.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(bench.folder.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn an_import_keeps_its_key_until_it_is_finished() {
    let bench = Bench::at(MIDNIGHT);
    let salts = bench.open().unwrap();
    let key = salts.import_key("1/abc").unwrap().0;
    assert_ne!(key, salts.import_key("2/abc").unwrap().0);
    drop(salts);
    let reopened = bench.open().unwrap();
    assert_eq!(reopened.import_key("1/abc").unwrap().0, key);
    reopened.finish_import("1/abc").unwrap();
    reopened.finish_import("1/abc").unwrap();
    assert!(!fs::read_to_string(bench.path()).unwrap().contains("1/abc"));
    assert_ne!(reopened.import_key("1/abc").unwrap().0, key);
    let given = reopened.keep_import_key("3/abc", || [7; 16]).unwrap();
    assert_eq!(given.0, [7; 16]);
    let held = reopened.keep_import_key("3/abc", || [8; 16]).unwrap();
    assert_eq!(held.0, [7; 16]);
    assert!(matches!(
        reopened.import_key("with space"),
        Err(SaltsError::ImportName)
    ));
}

#[test]
fn the_file_is_written_as_the_golden_one_and_read_back() {
    let golden = include_str!("../../tests/golden/salts_v1.txt");
    let held = Held {
        days: vec![
            (DAY - 1, [0xab; 16]),
            (DAY, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]),
        ],
        imports: vec![("42/9f8e7d".to_owned(), [0; 16])],
    };
    assert_eq!(format::write(&held), golden);
    assert!(format::read(golden).is_ok_and(|read| read == held));
}

#[test]
fn a_foreign_file_is_refused_with_its_line() {
    let check = |text: &str, expect: &str| {
        let bench = Bench::at(MIDNIGHT);
        fs::write(bench.path(), text).unwrap();
        let message = bench.open().map(|_| ()).unwrap_err().to_string();
        assert!(message.ends_with(expect), "{message}");
        assert_eq!(
            fs::read_to_string(bench.path()).unwrap(),
            text,
            "a refused file is left alone"
        );
    };
    check("", "line 1: not a salt or a key");
    check("something else\n", "line 1: not a salt or a key");
    check(
        "ringtail salts 2\nday x\n",
        "has version 2, this binary knows up to 1",
    );
    check(
        "ringtail salts 1\nday 20778 abc\n",
        "line 2: not a salt or a key",
    );
    check(
        "ringtail salts 1\nday 20778 000102030405060708090a0b0c0d0e0f more\n",
        "line 2: not a salt or a key",
    );
    check(
        "ringtail salts 1\nnight 20778 000102030405060708090a0b0c0d0e0f\n",
        "line 2: not a salt or a key",
    );
    check(
        "ringtail salts 1\nday 20778 +00102030405060708090a0b0c0d0e0f\n",
        "line 2: not a salt or a key",
    );
}

#[test]
fn an_unwritable_folder_keeps_salts_in_memory() {
    let bench = Bench::at(MIDNIGHT);
    let salts = bench.open().unwrap();
    let moved = bench.folder.path().with_extension("gone");
    fs::rename(bench.folder.path(), &moved).unwrap();
    bench.set(MIDNIGHT + 48);
    assert!(matches!(salts.maintain(), Err(SaltsError::File { .. })));
    assert!(salts.day(DAY + 2).is_some());
    fs::rename(&moved, bench.folder.path()).unwrap();
}

#[test]
fn another_nodes_salts_are_taken_over_and_survive() {
    let (leader, follower) = (Bench::at(MIDNIGHT), Bench::at(MIDNIGHT));
    let (first, second) = (leader.open().unwrap(), follower.open().unwrap());
    second.import_key("both").unwrap();
    second.import_key("forgotten").unwrap();
    let key = first.import_key("both").unwrap();
    assert_ne!(first.day(DAY), second.day(DAY));
    second.adopt(&first.export()).unwrap();
    assert_eq!(first.day(DAY), second.day(DAY));
    assert!(!second.holds_import_key("forgotten"));
    assert_eq!(second.import_key("both").unwrap().0, key.0);
    drop(second);
    assert_eq!(follower.open().unwrap().day(DAY), first.day(DAY));
}

#[test]
fn salts_that_are_over_are_not_taken_over_and_garbage_changes_nothing() {
    let (old, bench) = (Bench::at(MIDNIGHT - 24 * 5), Bench::at(MIDNIGHT));
    let salts = bench.open().unwrap();
    let before = salts.export();
    salts.adopt(&old.open().unwrap().export()).unwrap();
    assert_eq!(salts.export(), before);
    for garbage in [
        "",
        "junk",
        "ringtail salts 9\n",
        "ringtail salts 1\nday x y\n",
    ] {
        assert!(salts.adopt(garbage).is_err(), "{garbage:?}");
    }
    assert_eq!(salts.export(), before);
}
