//! The figures that the management listener gives to Prometheus.

mod dashboard;
mod figures;

use std::collections::BTreeSet;

use crate::harness::DEADLINE;
use crate::harness::bridge::TestBridge;
use crate::harness::eventually::eventually;
use crate::harness::exposition::Exposition;

const UPLINKS: &str = "/v1/devices/pump-1/uplinks";

/// Two devices that share the one session of their connector.
fn devices(url: &str) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"{url}\"\nconnect = \"eager\"\n\
         secret = \"let me in\"\n\
         variables = {{ username = \"causeway\" }}\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n"
    )
}

async fn scrape(bridge: &TestBridge) -> Exposition {
    let reply = bridge.management.get("/metrics").await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(
        reply.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    Exposition::parse(reply.text())
}

/// Waits until a scrape has all of these.
async fn until(bridge: &TestBridge, expected: &[(&str, f64)]) {
    let what = format!("the figures to be {expected:?}");
    eventually(&what, DEADLINE, async || {
        let seen = scrape(bridge).await;
        expected
            .iter()
            .all(|(series, value)| seen.get(series) == Some(*value))
    })
    .await;
}

/// The metrics that the documentation names.
fn documented() -> BTreeSet<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/src/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    let names = page.lines().filter_map(|line| line.strip_prefix("| `"));
    names
        .map(|row| row[..row.find('`').unwrap()].to_owned())
        .collect()
}
