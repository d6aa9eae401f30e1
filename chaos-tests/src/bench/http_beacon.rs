//! Single beacons over HTTP: the server's processor time for one durable event, beside a bare echo of the same body.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use super::{Figure, Goal, probe, stand::Stand};
use crate::client::USER_AGENT;

/// Browsers that send at the same time.
const CONNECTIONS: usize = 64;
/// How long each side is measured.
const LASTING: Duration = Duration::from_secs(8);
const DOMAIN: &str = "beacon.example";

/// One run on each side.
pub(super) async fn measure() -> anyhow::Result<Vec<Figure>> {
    let stand = Stand::start().await?;
    stand.add_sites(&[DOMAIN.to_owned()]).await?;
    load(&stand.node.http, Duration::from_secs(1)).await?;
    let before = stand.count(DOMAIN, "events").await?;
    let node = sample(stand.pid()?, &stand.node.http).await?;
    stand
        .wait_for_events(DOMAIN, before + node.requests)
        .await?;
    stand.end().await?;

    let mut echo = Command::new(std::env::current_exe()?)
        .arg("--echo")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut line = String::new();
    let stdout = echo.stdout.take().context("stdout is piped")?;
    BufReader::new(stdout).read_line(&mut line).await?;
    let address = line.trim().to_owned();
    load(&address, Duration::from_secs(1)).await?;
    let bare = sample(echo.id().context("the echo runs")?, &address).await?;
    echo.kill().await?;

    Ok(vec![
        Figure::new(
            "http_beacon",
            node.micros() / bare.micros(),
            "times the CPU of a bare echo",
        )
        .goal(Goal::AtMost(2.0))
        .detail("server_cpu_us_per_event", node.micros())
        .detail("echo_cpu_us_per_request", bare.micros())
        .detail(
            "durable_events_per_second",
            node.requests as f64 / LASTING.as_secs_f64(),
        )
        .detail(
            "echo_requests_per_second",
            bare.requests as f64 / LASTING.as_secs_f64(),
        )
        .detail("connections", CONNECTIONS),
    ])
}

struct Sample {
    requests: u64,
    processor: Duration,
}

impl Sample {
    fn micros(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / self.requests as f64
    }
}

async fn sample(pid: u32, http: &str) -> anyhow::Result<Sample> {
    let before = probe::processor_time(pid)?;
    let requests = load(http, LASTING).await?;
    Ok(Sample {
        requests,
        processor: probe::processor_time(pid)? - before,
    })
}

/// Closed loop: each connection sends its next beacon when the last is answered.
async fn load(http: &str, lasting: Duration) -> anyhow::Result<u64> {
    let client = reqwest::Client::builder()
        .pool_max_idle_per_host(CONNECTIONS)
        .build()?;
    let started = Instant::now();
    let browsers = (0..CONNECTIONS).map(|browser| {
        let (client, url) = (client.clone(), format!("http://{http}/api/event"));
        tokio::spawn(async move {
            let mut sent = 0_u64;
            while started.elapsed() < lasting {
                let body = format!(
                    r#"{{"domain":"{DOMAIN}","name":"pageview","url":"https://{DOMAIN}/page/{}","referrer":"https://www.google.com/"}}"#,
                    (sent + browser as u64) % 200
                );
                let response = client
                    .post(&url)
                    .header("user-agent", USER_AGENT)
                    .header("content-type", "text/plain")
                    .body(body)
                    .send()
                    .await?;
                let status = response.status();
                ensure!(status.is_success(), "a beacon is answered {status}");
                response.bytes().await?;
                sent += 1;
            }
            anyhow::Ok(sent)
        })
    });
    let sent: Vec<anyhow::Result<u64>> = try_join_all(browsers).await?;
    sent.into_iter().sum()
}
