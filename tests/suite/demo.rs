//! `causeway demo` by a stranger's hands: the lines that it prints, pasted as they are.

use std::fs;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::demo::Demo;
use crate::harness::shell::{begin, paste, paste_json};

/// The lines that are printed for one device.
struct Lines {
    uplink: String,
    subtopic: String,
    listen: String,
    downlink: String,
    received: String,
}

impl Lines {
    fn of(printed: &[String], device: &str) -> Self {
        let head = format!("{device}: ");
        let mut lines = printed
            .iter()
            .skip_while(|line| !line.starts_with(&head))
            .skip(1)
            .take_while(|line| line.trim().starts_with("curl "))
            .map(|line| line.trim().to_owned());
        let mut next = || lines.next().unwrap_or_else(|| panic!("{printed:#?}"));
        Self {
            uplink: next(),
            subtopic: next(),
            listen: next(),
            downlink: next(),
            received: next(),
        }
    }
}

#[tokio::test]
async fn the_printed_lines_work_as_printed() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let printed = demo.printed().await;
    for device in ["demo-rsa", "demo-ec", "demo-secret-1"] {
        let lines = Lines::of(&printed, device);
        for line in [&lines.uplink, &lines.subtopic] {
            let receipt = paste_json(line).await;
            assert_eq!(receipt["status"], "delivered", "{line}: {receipt}");
            assert_eq!(receipt["device"], device);
        }
        let received = paste_json(&lines.received).await;
        let seen: Vec<_> = received.as_array().unwrap().iter().collect();
        assert_eq!(seen.len(), 2, "{received}");
        assert_eq!(seen[0]["topic"], "default");
        assert_eq!(seen[0]["payload"], json!({"temperature": 21.5}));
        assert_eq!(seen[1]["topic"], "alerts_critical");
        assert_eq!(seen[1]["payload"], json!({"level": "high"}));
        for uplink in seen {
            assert_eq!(uplink["device"], device);
            assert_eq!(uplink["content_type"], "application/json");
            assert!(uplink["received_at"].is_string());
        }

        let listener = begin(&lines.listen);
        listener.stdout().wait_for("retry: ").await;
        let sent = paste_json(&lines.downlink).await;
        assert_eq!(sent["connected"], 1, "{sent}");
        let data = listener.stdout().wait_for("data: ").await;
        let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(event["device"], device);
        assert_eq!(event["topic"], "settings");
        assert_eq!(event["payload"], json!({"valve": "open"}));
        assert!(listener.stdout().all().contains(&"event: downlink".into()));
    }
    let refused = printed.iter().find_map(|l| l.split_once("refused:"));
    assert_eq!(paste_json(refused.unwrap().1).await, json!([]));
    assert_eq!(demo.complaints(), [""; 0]);
    assert_eq!(demo.stop().await.code(), Some(0));
}

#[tokio::test]
async fn demo_json_has_the_form_that_scripts_expect() {
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    for (name, scheme) in [
        ("http", "http://"),
        ("management", "http://"),
        ("console", "http://"),
        ("mqtt", "mqtt://"),
        ("mqtts", "mqtts://"),
        ("sap", "mqtts://"),
    ] {
        let url = demo.text(name);
        assert!(url.starts_with(scheme), "{url}");
        let port = url.rsplit_once(':').unwrap().1;
        assert_ne!(port.parse::<u16>().unwrap(), 0);
    }
    let pem = |file: &Value| fs::read_to_string(file.as_str().unwrap()).unwrap();
    assert!(pem(&demo.summary["ca_file"]).starts_with("-----BEGIN CERTIFICATE-----"));
    for (id, algorithm) in [("demo-rsa", "RS256"), ("demo-ec", "ES256")] {
        let device = demo.device(id);
        assert_eq!(device["profile"], "akenza-device");
        assert_eq!(device["algorithm"], algorithm);
        assert!(pem(&device["private_key_file"]).contains("PRIVATE KEY-----"));
        assert!(pem(&device["public_key_file"]).starts_with("-----BEGIN PUBLIC KEY-----"));
    }
    let (one, two) = (demo.device("demo-secret-1"), demo.device("demo-secret-2"));
    assert_eq!(one["profile"], "akenza-secret");
    for key in ["connector", "connector_id", "secret"] {
        assert!(one[key].is_string(), "{one}");
        assert_eq!(one[key], two[key]);
    }
    for path in ["/livez", "/readyz"] {
        let url = format!("{}{path}", demo.text("management"));
        paste(&format!("curl -sSf {url}")).await;
    }
    assert_eq!(demo.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_run_on_the_folder_has_the_same_devices() {
    let dir = TempDir::new().unwrap();
    let first = Demo::start(dir.path()).await;
    let keys = |demo: &Demo| {
        let files = ["private_key_file", "public_key_file"];
        let of = |id| files.map(|file| fs::read(demo.device(id)[file].as_str().unwrap()).unwrap());
        (
            of("demo-rsa"),
            of("demo-ec"),
            demo.summary["devices"].clone(),
        )
    };
    let before = keys(&first);
    assert_eq!(first.stop().await.code(), Some(0));

    let second = Demo::start(dir.path()).await;
    assert_eq!(keys(&second), before);
    for device in ["demo-rsa", "demo-ec", "demo-secret-1", "demo-secret-2"] {
        let path = format!("/v1/devices/{device}/uplinks");
        let reply = second.http.post(&path, "application/json", "[1]").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        assert_eq!(second.taken(device, 0).await[0].payload, json!([1]));
    }
    assert_eq!(second.stop().await.code(), Some(0));
}
