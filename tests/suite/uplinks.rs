//! The road out, with a real Mosquitto at its end.

use serde_json::json;

use crate::harness::access::Version;
use crate::harness::bridge::TestBridge;
use crate::harness::certificates::Authority;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::subscriber::Subscriber;

/// A connector to `url` and a device on it.
fn plain(url: &str, more: &str) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"{url}\"\n{more}\n\
         [devices.pump-1]\nconnector = \"local\"\n[devices.pump-2]\nconnector = \"local\"\n"
    )
}

fn delivered(reply: &Reply) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["status"], "delivered");
}

#[tokio::test]
async fn an_uplink_is_confirmed_and_arrives_whole() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    let path = "/v1/devices/pump-1/uplinks";

    delivered(
        &bridge
            .http
            .post(path, "application/json", r#"{"bar":2.5}"#)
            .await,
    );
    delivered(
        &bridge
            .http
            .post(&format!("{path}/alerts/critical"), "text/plain", "hot")
            .await,
    );
    delivered(
        &bridge
            .http
            .post(
                "/v1/devices/pump-2/uplinks",
                "image/png",
                b"\x89\0\xff".as_slice(),
            )
            .await,
    );

    let seen = observer.wait_count(3).await;
    let seen: Vec<_> = seen
        .iter()
        .map(|m| {
            (
                m.topic.as_str(),
                m.content_type.as_deref(),
                m.payload.as_slice(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (
                "devices/pump-1/up",
                Some("application/json"),
                br#"{"bar":2.5}"#.as_slice()
            ),
            (
                "devices/pump-1/up/alerts/critical",
                Some("text/plain"),
                b"hot"
            ),
            ("devices/pump-2/up", Some("image/png"), b"\x89\0\xff"),
        ]
    );
}

#[tokio::test]
async fn mqtt_3_1_1_carries_the_payload_alone() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access().version(Version::V311), &["devices/#"]).await;
    let config = plain(
        &format!("mqtt://{}", broker.addr()),
        "mqtt_version = \"3.1.1\"",
    );
    let bridge = TestBridge::start(&config).await;
    delivered(
        &bridge
            .http
            .post("/v1/devices/pump-1/uplinks", "application/json", "[1]")
            .await,
    );
    assert_eq!(bridge.session("pump-1").await["mqtt_version"], "3.1.1");
    assert_eq!(observer.wait_count(1).await[0].payload, b"[1]");
}

#[tokio::test]
async fn a_refused_uplink_names_the_brokers_reason() {
    let acl = "user causeway\ntopic readwrite devices/pump-1/#\n";
    let broker = Mosquitto::builder()
        .user("causeway", "let me in")
        .acl(acl)
        .start()
        .await;
    let login = "secret = \"let me in\"\nvariables = { username = \"causeway\" }";
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), login)).await;

    delivered(
        &bridge
            .http
            .post("/v1/devices/pump-1/uplinks", "text/plain", "1")
            .await,
    );
    let refused = bridge
        .http
        .post("/v1/devices/pump-2/uplinks", "text/plain", "1")
        .await;
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert_eq!(refused.header("content-type"), "application/problem+json");
    let problem = refused.json();
    assert_eq!(problem["reason_code"], 0x87);
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("not authorized"),
        "{problem}"
    );
}

#[tokio::test]
async fn wrong_credentials_are_told_at_once_with_a_hint() {
    let broker = Mosquitto::builder()
        .user("causeway", "let me in")
        .start()
        .await;
    let login = "secret = \"wr0ng\"\nvariables = { username = \"causeway\" }";
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), login)).await;
    let refused = bridge
        .http
        .post("/v1/devices/pump-1/uplinks", "text/plain", "1")
        .await;
    assert_eq!(refused.status, 502, "{}", refused.text());
    assert_eq!(refused.json()["queued"], false);
    assert!(!refused.text().contains("wr0ng"));
    let session = bridge.session("pump-1").await;
    assert_eq!(session["state"], "refused");
    assert!(session["last_error"]["hint"].is_string(), "{session}");
}

#[tokio::test]
async fn tls_and_a_password_with_both_versions() {
    let authority = Authority::new("Plant CA");
    let broker = Mosquitto::builder()
        .tls(&authority)
        .user("causeway", "let me in")
        .start()
        .await;
    let access = broker.tls_access().user("causeway", "let me in");
    let observer = Subscriber::start(&access, &["devices/#"]).await;
    for version in ["5", "3.1.1"] {
        let settings = format!(
            "ca_file = \"{}\"\nsecret = \"let me in\"\nmqtt_version = \"{version}\"\n\
             variables = {{ username = \"causeway\", client_id = \"bridge-{version}\" }}",
            authority.ca_file().display()
        );
        let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
        let bridge = TestBridge::start(&plain(&url, &settings)).await;
        delivered(
            &bridge
                .http
                .post("/v1/devices/pump-1/uplinks", "text/csv", "1,2")
                .await,
        );
    }
    let types: Vec<_> = observer
        .wait_count(2)
        .await
        .into_iter()
        .map(|m| m.content_type)
        .collect();
    assert_eq!(types, [Some("text/csv".to_owned()), None]);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_named_with_its_issuer() {
    let (authority, other) = (Authority::new("Plant CA"), Authority::new("Another CA"));
    let cases = [
        (authority.server(), &other, "CN=Plant CA"),
        (authority.expired_server(), &authority, "has expired"),
        (
            authority.server_for("elsewhere.example"),
            &authority,
            "elsewhere.example",
        ),
    ];
    for (identity, trusted, expected) in cases {
        let broker = Mosquitto::builder()
            .tls_with(&authority, identity)
            .start()
            .await;
        let url = format!("mqtts://localhost:{}", broker.tls_addr().port());
        let settings = format!("ca_file = \"{}\"", trusted.ca_file().display());
        let bridge = TestBridge::without_store(&plain(&url, &settings)).await;
        let request = bridge
            .http
            .request(reqwest::Method::POST, "/v1/devices/pump-1/uplinks");
        let reply = Reply::to(request.header("prefer", "wait=2").body("1")).await;
        assert_eq!(reply.status, 503, "{}", reply.text());
        assert!(
            reply.text().contains(expected),
            "{expected}: {}",
            reply.text()
        );
        assert!(!reply.header("retry-after").is_empty());
    }
}

#[tokio::test]
async fn qos_0_is_sent_and_retain_and_expiry_are_carried() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    let reply = bridge
        .http
        .post("/v1/devices/pump-1/uplinks?qos=0", "text/plain", "0")
        .await;
    assert_eq!(
        (reply.status, reply.json()["status"].clone()),
        (200, json!("sent")),
        "{}",
        reply.text()
    );
    delivered(
        &bridge
            .http
            .post(
                "/v1/devices/pump-1/uplinks?retain=true&expiry=600",
                "text/plain",
                "kept",
            )
            .await,
    );
    assert_eq!(observer.wait_count(2).await[0].qos, 0);
    let late = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let kept = &late.wait_count(1).await[0];
    assert_eq!((kept.text(), kept.retain), ("kept", true));
}

#[tokio::test]
async fn a_trace_goes_along() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = bridge
        .http
        .request(reqwest::Method::POST, "/v1/devices/pump-1/uplinks");
    delivered(&Reply::to(request.header("traceparent", trace).body("1")).await);
    let seen = &observer.wait_count(1).await[0].user_properties;
    assert_eq!(seen, &[("traceparent".to_owned(), trace.to_owned())]);
}

#[tokio::test]
async fn uplinks_of_one_device_keep_their_order() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&plain(&format!("mqtt://{}", broker.addr()), "")).await;
    for number in 0..300 {
        delivered(
            &bridge
                .http
                .post(
                    "/v1/devices/pump-1/uplinks",
                    "text/plain",
                    number.to_string(),
                )
                .await,
        );
    }
    let seen = observer.wait_count(300).await;
    assert!(
        seen.iter()
            .enumerate()
            .all(|(number, message)| message.text() == number.to_string())
    );
}
