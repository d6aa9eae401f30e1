//! What a crash can leave at the end of the log is cut; damage anywhere else is refused, and nothing is changed.

#![allow(clippy::unwrap_used)]

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use ringtail_chaos::{
    process::{Node, NodeOptions},
    steady::Steady,
};

/// The exit code of a data directory that cannot be used.
const DATA_DIRECTORY: Option<i32> = Some(5);

fn newest_segment(data_dir: &Path) -> PathBuf {
    let names = fs::read_dir(data_dir.join("log"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|end| end == "segment");
    names.filter(is_segment).max().unwrap()
}

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new()
        .append(true)
        .open(path)
        .unwrap()
        .write_all(bytes)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_tail_of_any_kind_is_cut_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut node = Node::start(NodeOptions::new(folder.path().join("data")).unwrap())
        .await
        .unwrap();
    let mut steady = Steady::start(&node).await.unwrap();
    for kind in ["zeros", "garbage", "half a record", "one byte"] {
        steady.send(&node, 20).await.unwrap();
        let options = node.kill().await.unwrap();
        let segment = newest_segment(&options.data_dir);
        let whole = fs::read(&segment).unwrap();
        match kind {
            "zeros" => append(&segment, &[0; 5000]),
            "garbage" => append(&segment, &garbage(5000)),
            // The start of a record that was written before, as when a write ended halfway.
            "half a record" => append(&segment, whole.get(32..72).unwrap()),
            _ => append(&segment, &[7]),
        }
        node = Node::start(options)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error:#}"));
        steady
            .check(&node)
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error:#}"));
    }
    node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_below_the_durable_mark_is_refused_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let options = NodeOptions::new(folder.path().join("data")).unwrap();
    let node = Node::start(options).await.unwrap();
    let mut steady = Steady::start(&node).await.unwrap();
    steady.send(&node, 20).await.unwrap();
    // The restart writes down how far the log was good.
    let node = Node::start(node.kill().await.unwrap()).await.unwrap();
    steady.send(&node, 20).await.unwrap();
    let options = node.kill().await.unwrap();
    let segment = newest_segment(&options.data_dir);
    let good = fs::read(&segment).unwrap();
    for position in [good.len() / 3, 40, 2] {
        let mut bad = good.clone();
        *bad.get_mut(position).unwrap() ^= 0x40;
        fs::write(&segment, &bad).unwrap();
        let refusal = options.start_refused().await.unwrap();
        assert_eq!(refusal.status.code(), DATA_DIRECTORY, "{}", refusal.message);
        assert!(refusal.message.contains("segment"), "{}", refusal.message);
        assert_eq!(
            fs::read(&segment).unwrap(),
            bad,
            "a refused log is left as it is"
        );
    }
    fs::write(&segment, &good).unwrap();
    let node = Node::start(options).await.unwrap();
    steady.check(&node).await.unwrap();
    node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_its_segments_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(folder.path().join("data")).unwrap())
        .await
        .unwrap();
    let mut steady = Steady::start(&node).await.unwrap();
    steady.send(&node, 20).await.unwrap();
    // The drain leaves a checkpoint that knows of log entries.
    let options = node.terminate().await.unwrap();
    fs::remove_file(newest_segment(&options.data_dir)).unwrap();
    let refusal = options.start_refused().await.unwrap();
    assert_eq!(refusal.status.code(), DATA_DIRECTORY, "{}", refusal.message);
}

/// Bytes that look like nothing, the same in each run.
fn garbage(length: u32) -> Vec<u8> {
    let mixed = |position: u32| {
        position
            .wrapping_mul(2_654_435_761)
            .rotate_left(7)
            .to_le_bytes()[0]
    };
    (0..length).map(mixed).collect()
}
