//! The requests that the API page shows: each is pasted into a shell, and answered as described.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::harness::bridge::TestBridge;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::shell::begin;

/// Streams end when a client has had enough of them; everything else is to be answered in time.
fn patience(line: &str) -> u32 {
    if line.contains(" -N ") { 4 } else { 60 }
}

struct Example {
    operation: String,
    method: String,
    /// Status codes that are described, and those of success.
    described: BTreeSet<String>,
    line: String,
}

fn examples(description: &Value) -> Vec<Example> {
    let mut all = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Some(responses) = operation["responses"].as_object() else {
                continue;
            };
            let samples = operation["x-codeSamples"].as_array();
            let samples = samples.unwrap_or_else(|| panic!("{method} {path} has no example"));
            all.extend(samples.iter().map(|sample| Example {
                operation: format!("{method} {path}"),
                method: method.clone(),
                described: responses.keys().cloned().collect(),
                line: sample["source"].as_str().unwrap().to_owned(),
            }));
        }
    }
    // What is deleted is not there for the others.
    all.sort_by_key(|example| example.method == "delete");
    all
}

/// Runs a line and says the status of its answer.
async fn status(line: &str) -> String {
    let patience = patience(line);
    let line = format!("{line} --max-time {patience} -o /dev/null -w '%{{http_code}}'");
    let mut program = begin(&line);
    let exit = program.exit().await;
    let complaints = program.stderr().all();
    assert_ne!(
        exit.code(),
        Some(127),
        "{complaints:?}; install it with: apt-get install curl"
    );
    let printed = program.stdout().all();
    // 28: the time is over, which is how a stream ends here.
    assert!(
        matches!(exit.code(), Some(0 | 28)),
        "{line}: {exit}, {complaints:?}"
    );
    printed.concat()
}

#[tokio::test]
async fn every_example_is_answered_as_described() {
    let broker = Mosquitto::start().await;
    let config = format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{0}\"\n\
         [connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{0}\"\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n\
         [devices.signer]\nconnector = \"akenza\"\n",
        broker.addr()
    );
    let bridge = TestBridge::start(&config).await;
    let description = bridge.http.get("/openapi.json").await.json();

    // Ids that the description makes up stand for real ones.
    let receipt = bridge
        .http
        .post("/v1/devices/pump-1/uplinks", "text/plain", "1")
        .await
        .json();
    let keys = "/v1/devices/signer/keys";
    let mut kids = Vec::new();
    for _ in 0..2 {
        let key = bridge
            .http
            .post(keys, "application/json", r#"{"algorithm":"ES256"}"#)
            .await;
        assert_eq!(key.status, 201, "{}", key.text());
        kids.push(key.json()["kid"].as_str().unwrap().to_owned());
    }
    let parameter = |path: &str, name: &str| -> String {
        let parameters = description["paths"][path]["get"]["parameters"]
            .as_array()
            .unwrap();
        let parameter = parameters
            .iter()
            .find(|parameter| parameter["name"] == name);
        parameter.unwrap()["example"].as_str().unwrap().to_owned()
    };
    let made_up_id = parameter("/v1/uplinks/{id}", "id");
    let made_up_kid = parameter("/v1/devices/{device}/keys/{kid}", "kid");

    let examples = examples(&description);
    assert!(examples.len() > 15, "{}", examples.len());
    for example in examples {
        let mut line = example
            .line
            .replace("http://127.0.0.1:8080", bridge.http.base())
            .replace("http://127.0.0.1:9090", bridge.management.base())
            .replace(&made_up_id, receipt["id"].as_str().unwrap());
        if example.operation.contains("/keys") {
            // The key that signs is not deleted.
            let kid = if example.method == "delete" {
                &kids[1]
            } else {
                &kids[0]
            };
            line = line
                .replace("/pump-1/", "/signer/")
                .replace(&made_up_kid, kid);
        }
        let status = status(&line).await;
        assert!(
            example.described.contains(&status),
            "{}: {line}: {status}",
            example.operation
        );
        assert!(
            status.starts_with('2'),
            "{}: {line}: {status}",
            example.operation
        );
    }
}
