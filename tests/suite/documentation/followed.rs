//! Pages that are followed from their beginning to their end, as a reader does.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::{BOOK, page, pages, place};
use crate::harness::demo::Demo;
use crate::harness::markdown::Page;
use crate::harness::tutorial::Reader;

/// Pages that need no platform.
const LOCAL: [&str; 5] = [
    "first-uplink-mosquitto.md",
    "http.md",
    "profiles.md",
    "access.md",
    "troubleshooting.md",
];
/// Pages that are followed with a pretended platform.
const PRETENDED: [&str; 3] = ["first-uplink-akenza.md", "first-uplink-sap.md", "keys.md"];

#[test]
fn no_command_is_left_out_in_silence() {
    let followed = LOCAL.iter().chain(&PRETENDED);
    let followed: Vec<_> = followed.map(|name| Path::new(BOOK).join(name)).collect();
    let others = pages().into_iter();
    for page in others.filter(|p| !followed.contains(&p.path) && p.path != Path::new("README.md")) {
        for block in page.blocks.iter().filter(|b| b.language == "sh") {
            let says_why = block.remark().starts_with("needs ");
            assert!(
                says_why,
                "{}: not run, and no `# needs …`",
                place(&page, block)
            );
        }
    }
}

#[tokio::test]
async fn first_uplink_with_your_own_mosquitto() {
    Reader::sit_down()
        .follow(&page(LOCAL[0]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn the_http_interface() {
    Reader::sit_down()
        .follow(&page(LOCAL[1]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn profiles() {
    Reader::sit_down()
        .follow(&page(LOCAL[2]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn access_control() {
    Reader::sit_down()
        .follow(&page(LOCAL[3]), async |_, _| {})
        .await;
}

#[tokio::test]
async fn troubleshooting() {
    Reader::sit_down()
        .follow(&page(LOCAL[4]), async |_, _| {})
        .await;
}

/// What a page asks its reader to do on akenza's own pages, done on the pretended platform's.
async fn in_akenza(demo: &Demo, shown: &str, printed: &str) {
    let (path, kind, body) = match shown.lines().next() {
        Some("-----BEGIN PUBLIC KEY-----") => ("keys", "application/x-pem-file", printed),
        Some("event: downlink") => ("downlinks/led", "application/json", "{\"on\": true}"),
        _ => return,
    };
    let path = format!("/devices/70B3D57ED0001A2B/{path}");
    let reply = demo.console.post(&path, kind, body.to_owned()).await;
    assert!(reply.status < 300, "{}", reply.text());
}

#[tokio::test]
async fn keys_and_their_rotation() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let reader = Reader::sit_down().instead("mqtts://mqtt.akenza.io:8883", demo.text("mqtt"));
    let outside = async |shown: &str, printed: &str| in_akenza(&demo, shown, printed).await;
    reader.follow(&page(PRETENDED[2]), outside).await;
    assert_eq!(demo.taken("70B3D57ED0001A2B", 0).await.len(), 1);
}

#[tokio::test]
async fn first_uplink_with_akenza() {
    let page = page(PRETENDED[0]);
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let connector = demo.device("demo-secret-1");
    let text = |key: &str| connector[key].as_str().unwrap().to_owned();
    let reader = Reader::sit_down()
        .instead("mqtts://mqtt.akenza.io:8883", demo.text("mqtt"))
        .instead("6f2d8a0c4b1e", text("connector_id"))
        .instead("sensor-1", "demo-secret-1")
        .brings("secrets/office", text("secret").into());
    let outside = async |shown: &str, printed: &str| in_akenza(&demo, shown, printed).await;
    reader.follow(&page, outside).await;
    assert_eq!(demo.taken("70B3D57ED0001A2B", 0).await.len(), 2);
    assert_eq!(demo.taken("demo-secret-1", 0).await.len(), 1);
}

#[tokio::test]
async fn first_uplink_with_sap() {
    let page = page(PRETENDED[1]);
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let device = demo.device("demo-sap");
    let file = |key: &str| fs::read(device[key].as_str().unwrap()).unwrap();
    let url = format!(
        "{}\"\nca_file = \"{}",
        demo.text("sap"),
        demo.text("ca_file")
    );
    let reader = Reader::sit_down()
        .instead("mqtts://my-instance.eu10.cp.iot.sap:8883", url)
        .instead("pump-1", "demo-sap")
        .brings("sap/demo-sap.pem", file("identity_file"))
        .brings("sap/demo-sap.secret", file("passphrase_file"));
    let command = async |shown: &str, _: &str| {
        if shown.starts_with("event: downlink") {
            let sent = demo.console.post(
                "/devices/demo-sap/downlinks/commands",
                "application/json",
                r#"{"capabilityAlternateId": "valve", "sensorAlternateId": "s1", "command": {"open": true}}"#,
            );
            assert_eq!(sent.await.json()["connected"], 1);
        }
    };
    reader.follow(&page, command).await;
    assert_eq!(demo.taken("demo-sap", 0).await.len(), 3);
}

/// What stands in the README goes to the demo.
#[tokio::test]
async fn the_readme() {
    let page = Page::read("README.md".as_ref());
    let folder = tempfile::tempdir().unwrap();
    let demo = Demo::start(folder.path()).await;
    let printed = demo.printed().await;
    let mut curls = 0;
    for block in page.blocks.iter().filter(|block| block.language == "sh") {
        for line in block.text.lines().filter(|line| line.starts_with("curl ")) {
            let line = line
                .replace("http://127.0.0.1:8080", demo.text("http"))
                .replace("http://127.0.0.1:8090", demo.text("console"));
            if line.starts_with("curl -N") {
                let listener = crate::harness::shell::begin(&line);
                listener.stdout().wait_for("retry: ").await;
            } else {
                let said = crate::harness::shell::paste(&line).await;
                assert!(!said.contains("\"status\":4"), "{line}: {said}");
            }
            curls += 1;
        }
    }
    assert!(curls >= 2, "{curls} of {printed:?}");
    assert_eq!(demo.refused().await, [Value::Null; 0]);
}
