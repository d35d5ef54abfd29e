//! What can be registered, and what is said of what cannot.

use futures_util::future::join_all;

use super::*;
use crate::harness::causeway::{causeway, configure, serving};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::subscriber::Subscriber;

#[tokio::test]
async fn a_registered_device_is_used_at_once_and_is_there_after_a_restart() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let text = config(broker.addr());
    let bridge = TestBridge::start(&text).await;
    let http = &bridge.http;
    let device = json!({
        "connector": "own", "secret": "hunter2", "variables": {"username": "pump"},
    });
    let reply = put(http, "pump-7", &device).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let shown = json!({
        "id": "pump-7", "connector": "own", "profile": "plain", "has_secret": true,
        "variables": {"username": "pump"}, "origin": "api", "state": "idle",
    });
    assert_eq!(reply.json(), shown);
    delivered(http, "pump-7", "1").await;
    assert_eq!(connects(&bridge, "pump-7").await, 1);

    // The same once more changes nothing, however often and by whomever.
    let again = join_all((0..20).map(|_| put(http, "pump-7", &device))).await;
    assert!(again.iter().all(|reply| reply.status == 200));
    delivered(http, "pump-7", "2").await;
    assert_eq!(connects(&bridge, "pump-7").await, 1);

    let bridge = TestBridge::start_in(bridge.stop().await, &text).await;
    assert_eq!(bridge.http.get("/v1/devices/pump-7").await.json(), shown);
    delivered(&bridge.http, "pump-7", "3").await;
    let list = bridge.http.get("/v1/devices").await.json();
    let list: Vec<_> = list["devices"].as_array().unwrap().iter().collect();
    let origins = list.iter().map(|device| device["origin"].as_str().unwrap());
    assert_eq!(origins.collect::<Vec<_>>(), ["configuration", "api"]);

    let gone = delete(&bridge.http, "pump-7", "").await;
    assert_eq!((gone.status, gone.text()), (204, ""));
    problem(
        &delete(&bridge.http, "pump-7", "").await,
        404,
        "unknown-device",
    );
    problem(
        &post(&bridge.http, "pump-7", "wait=30", "x").await,
        404,
        "unknown-device",
    );
    let bridge = TestBridge::start_in(bridge.stop().await, &text).await;
    problem(
        &bridge.http.get("/v1/devices/pump-7").await,
        404,
        "unknown-device",
    );
    let seen = observer.wait_count(3).await;
    let seen: Vec<_> = seen.iter().map(|message| message.text()).collect();
    assert_eq!(seen, ["1", "2", "3"]);
}

#[tokio::test]
async fn of_many_who_register_the_same_device_at_once_one_makes_it() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(broker.addr())).await;
    let device = json!({"connector": "own"});
    let replies = join_all((0..20).map(|_| put(&bridge.http, "pump", &device))).await;
    let made = replies.iter().filter(|reply| reply.status == 201).count();
    let there = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!((made, there), (1, 19));

    let only_new = async |device: &str, condition: &str| {
        let request = (bridge.http).request(Method::PUT, &format!("/v1/devices/{device}"));
        let request = request.header("if-none-match", condition);
        Reply::to(request.body(r#"{"connector": "own"}"#)).await
    };
    assert_eq!(only_new("valve", "*").await.status, 201);
    problem(&only_new("valve", "*").await, 412, "exists");
    problem(&only_new("fixed", "*").await, 412, "exists");
    problem(&only_new("valve", "\"1\"").await, 400, "malformed");
}

#[tokio::test]
async fn what_is_no_device_is_refused_in_the_words_of_the_configuration() {
    let broker = Mosquitto::start().await;
    let more = r#"
[connectors.akenza]
profile = "akenza-device"
url = "mqtts://127.0.0.1:1"
[connectors.sap]
profile = "sap-iot"
url = "mqtts://127.0.0.1:1"
"#;
    let bridge = TestBridge::start(&format!("{}{more}", config(broker.addr()))).await;
    let long = "x".repeat(70_000);
    let cases = [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "must be a JSON object, not an array"),
        ("null", "must be a JSON object, not null"),
        ("{}", "connector: is missing"),
        (
            r#"{"connector": 1}"#,
            "connector: must be text in quotes, not an integer",
        ),
        (
            r#"{"connector": null}"#,
            "connector: must be text in quotes, not null",
        ),
        (
            r#"{"connector": "nowhere"}"#,
            "there is no connector \"nowhere\"; there are: akenza, local, own, sap",
        ),
        (
            r#"{"connector": "own", "connector": "own"}"#,
            "the same key stands there twice",
        ),
        (
            r#"{"connector": "own", "colour": 1}"#,
            "colour: there is no such key; there are: connector, secret, variables, via",
        ),
        (
            r#"{"connector": "own", "private_key_file": "/etc/passwd"}"#,
            "private_key_file: there is no such key",
        ),
        (r#"{"connector": "own", "secret": ""}"#, "secret: is empty"),
        (
            r#"{"connector": "own", "secret": ["hunter2"]}"#,
            "secret: must be text in quotes, not an array",
        ),
        (
            r#"{"connector": "local", "secret": "hunter2"}"#,
            "secret: one connection carries all devices of local",
        ),
        (
            r#"{"connector": "akenza", "secret": "hunter2"}"#,
            "has no use for a secret",
        ),
        (
            r#"{"connector": "own", "variables": {"colour": "red"}}"#,
            "variables.colour: the profile has no such variable",
        ),
        (
            r#"{"connector": "own", "variables": {"uplink_prefix": "a/#/"}}"#,
            "variables.uplink_prefix: the value is part of the profile's uplink topics",
        ),
        (
            r#"{"connector": "own", "variables": []}"#,
            "variables: must be a section, not an array",
        ),
        (
            r#"{"connector": "own", "via": "fixed"}"#,
            "via: the profile plain has no router devices",
        ),
        (
            r#"{"connector": "sap", "via": "nobody"}"#,
            "via: there is no device \"nobody\"",
        ),
        (
            r#"{"connector": "sap", "via": "fixed"}"#,
            "via: the router device \"fixed\" is on the connector local",
        ),
        (r#"{"connector": "sap"}"#, "needs a certificate file"),
    ];
    for (body, expected) in cases {
        let request = bridge.http.request(Method::PUT, "/v1/devices/odd");
        let reply = Reply::to(request.body(body)).await;
        let detail = problem(&reply, 400, "invalid-device");
        assert!(detail.contains(expected), "{body}: {detail}");
        assert!(!reply.text().contains("hunter2"), "{}", reply.text());
    }
    let send = async |content_type: &str, body: String| {
        let request = bridge.http.request(Method::PUT, "/v1/devices/odd");
        Reply::to(request.header("content-type", content_type).body(body)).await
    };
    problem(&send("application/json", long).await, 413, "too-large");
    problem(
        &send("text/plain", "{}".to_owned()).await,
        415,
        "content-type",
    );
    for path in ["%2B", "a%2Fb", "%24sys", "odd?x=1"] {
        let reply = put(&bridge.http, path, &json!({"connector": "own"})).await;
        problem(&reply, 400, "malformed");
    }
    problem(
        &bridge.http.get("/v1/devices/odd").await,
        404,
        "unknown-device",
    );

    // What the file has goes before.
    let configured = json!({"connector": "own"});
    problem(
        &put(&bridge.http, "fixed", &configured).await,
        409,
        "configured",
    );
    problem(&delete(&bridge.http, "fixed", "").await, 409, "configured");
    let query = delete(&bridge.http, "fixed", "?backlog=keep").await;
    problem(&query, 400, "malformed");

    // Two connections with one client id would throw each other off.
    let one = json!({"connector": "own", "variables": {"client_id": "x"}});
    assert_eq!(put(&bridge.http, "same", &one).await.status, 201);
}

#[tokio::test]
async fn two_devices_never_have_the_same_client_id() {
    let broker = Mosquitto::start().await;
    let text = format!(
        "[connectors.own]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\noverride.session = \"device\"\n",
        broker.addr()
    );
    let bridge = TestBridge::start(&text).await;
    let as_client = |id: &str| json!({"connector": "own", "variables": {"client_id": id}});
    assert_eq!(put(&bridge.http, "a", &as_client("one")).await.status, 201);
    let detail = problem(
        &put(&bridge.http, "b", &as_client("one")).await,
        400,
        "invalid-device",
    );
    assert!(
        detail.contains("the same client id as that of devices.a"),
        "{detail}"
    );
    // One that was given up is free again, by a change or by a deletion.
    assert_eq!(put(&bridge.http, "a", &as_client("two")).await.status, 200);
    assert_eq!(put(&bridge.http, "b", &as_client("one")).await.status, 201);
    assert_eq!(delete(&bridge.http, "a", "").await.status, 204);
    assert_eq!(put(&bridge.http, "c", &as_client("two")).await.status, 201);
}

#[tokio::test]
async fn a_changed_device_goes_on_with_what_was_on_its_way() {
    let broker = Mosquitto::builder().user("pump", "right").start().await;
    let login = broker.access().user("pump", "right");
    let observer = Subscriber::start(&login, &["#"]).await;
    let text = config(broker.addr()).replace("[devices.fixed]\nconnector = \"local\"\n", "");
    let bridge = TestBridge::start(&text).await;
    let with = |secret: &str, prefix: &str| {
        json!({
            "connector": "own", "secret": secret,
            "variables": {"username": "pump", "uplink_prefix": prefix},
        })
    };
    assert_eq!(
        put(&bridge.http, "pump", &with("wrong", "old/"))
            .await
            .status,
        201
    );
    let queued = post(&bridge.http, "pump", "respond-async", "1").await;
    assert_eq!(queued.status, 202, "{}", queued.text());
    bridge.until("pump", "refused").await;
    // The right secret is tried at once, and what was stored goes under the topic of now.
    assert_eq!(
        put(&bridge.http, "pump", &with("right", "new/"))
            .await
            .status,
        200
    );
    delivered(&bridge.http, "pump", "2").await;
    let seen = observer.wait_count(2).await;
    let seen: Vec<_> = seen.iter().map(|m| (m.topic.as_str(), m.text())).collect();
    assert_eq!(seen, [("new/pump/up", "1"), ("new/pump/up", "2")]);
}

#[tokio::test]
async fn a_secret_is_in_no_answer_and_no_line_of_the_log() {
    let broker = Mosquitto::start().await;
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), &config(broker.addr()));
    let env = [("RUST_LOG", "trace"), ("NO_COLOR", "1")];
    let mut bridge = causeway(folder.path(), &["serve"], &env);
    let http = Http::new(serving(&bridge).await);
    let device = json!({"connector": "own", "secret": "hunter2-of-pump"});
    let mut answers = put(&http, "pump", &device).await.text().to_owned();
    delivered(&http, "pump", "1").await;
    for path in [
        "/v1/devices",
        "/v1/devices/pump",
        "/v1/devices/pump/session",
    ] {
        answers += http.get(path).await.text();
    }
    let wrong = json!({"connector": "akenza", "secret": "hunter2-of-pump"});
    answers += put(&http, "pump", &wrong).await.text();
    assert_eq!(delete(&http, "pump", "").await.status, 204);
    bridge.terminate().await;
    let log = [bridge.stdout().all(), bridge.stderr().all()]
        .concat()
        .join("\n");
    assert!(
        !answers.contains("hunter2") && !log.contains("hunter2"),
        "{answers}\n{log}"
    );
}

#[tokio::test]
async fn without_a_store_nothing_is_registered() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::without_store(&config(broker.addr())).await;
    let device = json!({"connector": "own"});
    let detail = problem(&put(&bridge.http, "pump", &device).await, 409, "no-store");
    assert!(detail.contains("the configuration has none"), "{detail}");
    delivered(&bridge.http, "fixed", "1").await;
}

#[tokio::test]
async fn a_device_without_its_connector_waits_for_it() {
    let broker = Mosquitto::start().await;
    let with = config(broker.addr());
    let without = with.replace("connectors.own", "connectors.other");
    let bridge = TestBridge::start(&with).await;
    created(&bridge.http, "pump", "own").await;
    let bridge = TestBridge::start_in(bridge.stop().await, &without).await;
    let detail = problem(
        &bridge.http.get("/v1/devices/pump").await,
        404,
        "unknown-device",
    );
    assert!(detail.contains("there is no connector \"own\""), "{detail}");
    delivered(&bridge.http, "fixed", "1").await;
    let bridge = TestBridge::start_in(bridge.stop().await, &with).await;
    delivered(&bridge.http, "pump", "1").await;
    // It can be registered anew, and deleted, meanwhile.
    let bridge = TestBridge::start_in(bridge.stop().await, &without).await;
    let anew = put(&bridge.http, "pump", &json!({"connector": "other"})).await;
    assert_eq!(anew.status, 200, "{}", anew.text());
    delivered(&bridge.http, "pump", "1").await;
    let bridge = TestBridge::start_in(bridge.stop().await, &with).await;
    assert_eq!(delete(&bridge.http, "pump", "").await.status, 204);
}
