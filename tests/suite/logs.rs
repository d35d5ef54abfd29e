//! What the program says while it runs: enough to see what has changed, in a form for people and one for machines.

use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::causeway::{causeway, configure, serving};
use crate::harness::http::Http;
use crate::harness::lines::Lines;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::proxy::{Cut, Proxy};

const UPLINKS: &str = "/v1/devices/pump-1/uplinks";

fn write(folder: &Path, broker: impl std::fmt::Display, more: &str) {
    let text = format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{broker}\"\nconnect = \"eager\"\n\
         [devices.pump-1]\nconnector = \"local\"\n{more}"
    );
    configure(folder, &text);
}

fn json(lines: &Lines) -> Vec<Value> {
    let parse = |line: &String| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
    };
    lines.all().iter().map(parse).collect()
}

/// Lines of one part of the program with a message that contains this.
fn said<'a>(lines: &'a [Value], target: &str, text: &str) -> Vec<&'a Value> {
    let is = |line: &&Value| {
        line["target"] == target && line["message"].as_str().unwrap().contains(text)
    };
    lines.iter().filter(is).collect()
}

#[tokio::test]
async fn machines_get_json_and_a_request_is_one_line_without_its_path() {
    let (folder, broker) = (TempDir::new().unwrap(), Mosquitto::start().await);
    write(folder.path(), broker.addr(), "");
    let env = [
        ("CAUSEWAY__LOG__FORMAT", "json"),
        ("CAUSEWAY__LOG__LEVEL", "debug"),
    ];
    let mut program = causeway(folder.path(), &["serve"], &env);
    let http = Http::new(serving(&program).await);
    assert_eq!(http.post(UPLINKS, "text/plain", "1").await.status, 200);
    assert_eq!(http.get("/v1/devices/s3cret-name?a=b").await.status, 400);
    assert_eq!(http.get("/s3cret/name").await.status, 404);
    assert!(program.terminate().await.success());

    let lines = json(program.stderr());
    let summary = &lines[0];
    assert_eq!(
        (&summary["level"], &summary["devices"]),
        (&"INFO".into(), &1.into())
    );
    assert_eq!(
        summary["connectors"][0]["url"],
        format!("mqtt://{}", broker.addr())
    );
    assert_eq!(summary["insecure"], serde_json::json!([]));
    let requests = said(&lines, "causeway::http::observer", "request");
    let told: Vec<_> = requests
        .iter()
        .map(|line| {
            (
                line["method"].as_str(),
                line["route"].as_str(),
                line["status"].as_u64(),
            )
        })
        .collect();
    let device = "/v1/devices/{device}";
    let uplinks = format!("{device}/uplinks");
    let get = Some("GET");
    assert_eq!(
        told,
        [
            (Some("POST"), Some(&*uplinks), Some(200)),
            (get, Some(device), Some(400)),
            (get, Some("other"), Some(404)),
        ]
    );
    assert_eq!(requests[2]["problem"], "no-route");
    assert!(
        requests
            .iter()
            .all(|line| line["level"] == "DEBUG" && line["elapsed"].is_string())
    );
    let all = program.stderr().all().join("\n");
    assert!(!all.contains("s3cret"), "{all}");
}

#[tokio::test]
async fn a_change_of_a_session_is_one_line_and_the_same_trouble_is_not_told_again() {
    let (folder, broker) = (TempDir::new().unwrap(), Mosquitto::start().await);
    let proxy = Proxy::start(broker.addr());
    // A second one, whose broker is never there.
    let nobody = Port::reserve();
    let more = format!(
        "[connectors.away]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n\
         override.connect.client_id = \"away\"\n[devices.pump-2]\nconnector = \"away\"\n",
        nobody.addr()
    );
    write(folder.path(), proxy.addr(), &more);
    let env = [
        ("CAUSEWAY__LOG__FORMAT", "json"),
        ("CAUSEWAY__LOG__LEVEL", "causeway::session=debug,info"),
    ];
    let mut program = causeway(folder.path(), &["serve"], &env);
    let http = Http::new(serving(&program).await);
    assert_eq!(http.post(UPLINKS, "text/plain", "1").await.status, 200);
    for posted in ["2", "3"] {
        proxy.cut(Cut::Fin);
        assert_eq!(http.post(UPLINKS, "text/plain", posted).await.status, 200);
    }
    // Attempts go on, at debug.
    let refused = |lines: &[String]| {
        let away = lines.iter().filter(|line| line.contains("\"away\""));
        away.filter(|line| line.contains("refused")).count()
    };
    program
        .stderr()
        .wait_until("four attempts", |lines| refused(lines) >= 4)
        .await;
    assert!(program.terminate().await.success());

    let lines = json(program.stderr());
    let task = "causeway::session::task";
    let away: Vec<_> = said(&lines, task, "refused")
        .iter()
        .map(|line| line["level"].as_str().unwrap())
        .collect();
    assert_eq!(away[0], "WARN");
    assert!(away[1..].iter().all(|level| *level == "DEBUG"), "{away:?}");

    // Each connection was lost with the same words: the first time is news, and so is the end of it.
    let of_local = |line: &&Value| line["connector"] == "local" && line["level"] != "DEBUG";
    let of_local = lines.iter().filter(of_local);
    let told: Vec<_> = of_local
        .map(|line| line["level"].as_str().unwrap())
        .collect();
    assert_eq!(told, ["INFO", "WARN", "INFO"], "{lines:#?}");
}

#[tokio::test]
async fn a_renewal_and_what_is_durable_first_are_routine() {
    let (folder, broker) = (TempDir::new().unwrap(), Mosquitto::start().await);
    write(folder.path(), broker.addr(), "");
    let mut program = causeway(folder.path(), &["serve"], &[]);
    let http = Http::new(serving(&program).await);
    for _ in 0..5 {
        let request = http.request(reqwest::Method::POST, UPLINKS);
        let request = request.header("prefer", "respond-async").body("1");
        assert_eq!(request.send().await.unwrap().status(), 202);
    }
    program.stderr().wait_for("connected").await;
    assert!(program.terminate().await.success());
    let lines = program.stderr().all();
    assert!(lines[0].starts_with("causeway "), "{lines:#?}");
    // The connection, the signal, and the end.
    let said: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("causeway::"))
        .collect();
    assert_eq!(said.len(), 3, "{said:#?}");
}
