//! Many uplinks in one request.

mod answers;
mod streams;

use std::net::SocketAddr;

use serde_json::Value;

const NDJSON: &str = "application/x-ndjson";

fn plain(addr: SocketAddr) -> String {
    let device = |number| format!("[devices.pump-{number}]\nconnector = \"local\"\n");
    let devices: String = (1..=5).map(device).collect();
    format!("[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{addr}\"\n{devices}")
}

fn results(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line:?}")))
        .collect()
}
