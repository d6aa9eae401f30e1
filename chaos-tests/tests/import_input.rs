//! What an import does with files that are not as they should be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::{fs, path::Path};

use ringtail_chaos::process::{Node, NodeOptions};
use serde_json::{Value, json};

const SITE: &str = "shop.example";
const REFUSED: Option<i32> = Some(4);
const UNREADABLE: Option<i32> = Some(8);
const LINE: &str = r#"192.0.2.7 - - [17/May/2015:10:05:03 +0000] "GET /a HTTP/1.1" 200 17 "-" "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0""#;

async fn node_with_site(folder: &Path) -> Node {
    let node = Node::start(NodeOptions::new(folder.join("data")).unwrap())
        .await
        .unwrap();
    node.add_site(SITE, "UTC").await.unwrap();
    node
}

async fn import(node: &Node, file: &Path, source: &str) -> Value {
    let file = file.to_str().unwrap();
    let arguments = [
        "import",
        "access-log",
        "--site",
        SITE,
        "--source",
        source,
        file,
    ];
    node.ask(&arguments).await.unwrap()
}

async fn import_refused(node: &Node, site: &str, file: &Path) -> (Option<i32>, String) {
    let file = file.to_str().unwrap();
    let arguments = [
        "import",
        "access-log",
        "--site",
        site,
        "--source",
        "log",
        file,
    ];
    let output = node.command(&arguments).await.unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.trim().lines().count(), 1, "one line: {message}");
    (output.status.code(), message)
}

async fn pageviews(node: &Node) -> Value {
    let body = json!({
        "site_id": SITE, "date_range": ["2015-05-17", "2015-05-18"], "metrics": ["pageviews"],
    });
    let answer = node
        .ask(&["query", "--body", &body.to_string()])
        .await
        .unwrap();
    answer["results"][0]["metrics"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_lines_are_counted_and_the_rest_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let node = node_with_site(folder.path()).await;
    let log = folder.path().join("log");
    let mut bytes = format!("{LINE}\nnot a line of any log\n").into_bytes();
    bytes.extend(b"\xff\xfe broken UTF-8 \x00\n\n");
    bytes.extend(LINE.replace("10:05:03", "99:99:99").bytes());
    bytes.extend(format!("\n{LINE}\n").bytes());
    fs::write(&log, &bytes).unwrap();
    let counted = import(&node, &log, "log").await;
    // An exact repeat of a line is a real hit.
    assert_eq!(counted["accepted"], json!(2), "{counted}");
    assert_eq!(counted["lines"], json!(6), "{counted}");
    let dropped: u64 = counted["dropped"]
        .as_object()
        .unwrap()
        .values()
        .filter_map(Value::as_u64)
        .sum();
    assert_eq!(dropped, 4, "every line has its fate: {counted}");
    assert_eq!(pageviews(&node).await, json!(2));
    node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_longer_file_resumes_and_another_prefix_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let node = node_with_site(folder.path()).await;
    let log = folder.path().join("log");
    fs::write(&log, format!("{LINE}\n{LINE}\n")).unwrap();
    assert_eq!(import(&node, &log, "log").await["accepted"], json!(2));
    fs::write(&log, format!("{LINE}\n{LINE}\n{LINE}\n")).unwrap();
    assert_eq!(import(&node, &log, "log").await["accepted"], json!(1));
    assert_eq!(import(&node, &log, "log").await["accepted"], json!(0));
    fs::write(
        &log,
        format!("{}\n{LINE}\n{LINE}\n{LINE}\n", LINE.replace("/a", "/b")),
    )
    .unwrap();
    let (code, message) = import_refused(&node, SITE, &log).await;
    assert_eq!(code, REFUSED, "{message}");
    assert_eq!(pageviews(&node).await, json!(3));
    node.terminate().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_files_and_unknown_sites_are_told_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let node = node_with_site(folder.path()).await;
    let missing = folder.path().join("missing.log");
    let (code, message) = import_refused(&node, SITE, &missing).await;
    assert_eq!(code, UNREADABLE, "{message}");
    assert!(message.contains("missing.log"), "{message}");
    let (code, message) = import_refused(&node, SITE, folder.path()).await;
    assert_eq!(code, UNREADABLE, "{message}");
    let torn = folder.path().join("torn.gz");
    fs::write(&torn, b"\x1f\x8b\x08\x00 this is no gzip").unwrap();
    let (code, message) = import_refused(&node, SITE, &torn).await;
    assert_eq!(code, UNREADABLE, "{message}");
    let log = folder.path().join("log");
    fs::write(&log, format!("{LINE}\n")).unwrap();
    let (code, message) = import_refused(&node, "nobody.example", &log).await;
    assert_eq!(code, REFUSED, "{message}");
    assert_eq!(pageviews(&node).await, json!(0));
    node.terminate().await.unwrap();
}
