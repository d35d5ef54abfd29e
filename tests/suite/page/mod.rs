//! The live page and the API page: what is served, and what a real browser makes of it.

mod everybody;
mod examples;
mod live;
mod safety;
mod served;

use std::fmt::Write as _;

use serde_json::json;

use crate::harness::bridge::TestBridge;
use crate::harness::browser::Browser;
use crate::harness::mosquitto::Mosquitto;

/// Rows of the list of devices.
const ROWS: &str = "document.querySelectorAll('#devices-rows tr').length";

fn config(broker: &Mosquitto, devices: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    let mut config = format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n",
        broker.addr()
    );
    for device in devices {
        // A JSON string is a TOML one, too.
        let _ = writeln!(
            config,
            "[devices.{}]\nconnector = \"local\"",
            json!(device.as_ref())
        );
    }
    config
}

async fn open(browser: &Browser, bridge: &TestBridge, path: &str) {
    let url = format!("http://{}{path}", bridge.addr());
    browser.open(&url).await;
}

/// The page is live and shows the bridge's figures and devices, or that there are none.
async fn until_live(browser: &Browser) {
    browser.until_text("#link-text", "Live").await;
    let figures = "!document.querySelector('#connected').textContent.includes('–')";
    browser.until("figures", figures).await;
    let devices = "document.querySelector('#devices-empty').dataset.why !== 'asking'";
    browser.until("devices", devices).await;
}

/// Nothing was complained of, and nothing was asked for but of the bridge.
async fn assert_well_behaved(browser: &Browser, bridge: &TestBridge, expected: &[&str]) {
    let complaints = browser.console().await;
    let unexpected = |line: &&String| !expected.iter().any(|part| line.contains(part));
    let complaints: Vec<_> = complaints.iter().filter(unexpected).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    let own = format!("http://{}/", bridge.addr());
    let requested = browser.requested().await;
    assert!(!requested.is_empty());
    for url in requested {
        // The browser's own first page is none of ours.
        assert!(
            url.starts_with(&own) || url.starts_with("data:") || url.starts_with("chrome:"),
            "{url}"
        );
    }
}

async fn assert_accessible(browser: &Browser, what: &str) {
    let wrong = browser.script(include_str!("accessibility.js"), &[]).await;
    assert_eq!(wrong, json!([]), "{what}");
}
