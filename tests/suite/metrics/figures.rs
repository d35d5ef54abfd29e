//! Figures follow what happens: uplinks, downlinks, sessions, requests, and what waits.

use reqwest::Method;

use super::{UPLINKS, devices, documented, scrape, until};
use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::collector::Collector;
use crate::harness::eventually::eventually;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::Proxy;

#[tokio::test]
async fn figures_follow_what_happens() {
    let broker = Mosquitto::builder()
        .user("causeway", "let me in")
        .acl("user causeway\ntopic readwrite devices/pump-1/#\n")
        .start()
        .await;
    let collector = Collector::start();
    // With everything, so that all metrics are there.
    let telemetry = format!("[telemetry]\notlp_url = \"http://{}\"\n", collector.addr());
    let devices = devices(&format!("mqtt://{}", broker.addr()));
    let bridge = TestBridge::start(&(telemetry + &devices)).await;
    let of = |name: &str| format!("causeway_{name}{{connector=\"local\"}}");
    let with = |name: &str, label: &str, value: &str| {
        format!("causeway_{name}{{connector=\"local\",{label}=\"{value}\"}}")
    };
    let connected = &*with("sessions", "state", "connected");
    let delivered = &*with("uplinks_total", "outcome", "delivered");
    let refused = &*with("uplinks_total", "outcome", "refused");
    let queued = &*with("uplinks_total", "outcome", "queued");
    let invalid = &*with("uplinks_total", "outcome", "invalid");
    let confirmed = &*with("publishes_total", "outcome", "confirmed");
    let denied = &*with("publishes_total", "outcome", "refused");
    let connects = &*of("connects_total");
    let received = &*of("downlinks_received_total");
    let listeners = &*of("listeners");
    let backlog = &*of("backlog_uplinks");
    until(&bridge, &[(connected, 1.0), (connects, 1.0)]).await;

    let before = scrape(&bridge).await;
    for (series, value) in [
        (&*with("sessions", "state", "idle"), 0.0),
        (&*of("devices"), 2.0),
        (delivered, 0.0),
        (refused, 0.0),
        (&*with("uplinks_total", "outcome", "not_taken"), 0.0),
        (confirmed, 0.0),
        (&*of("publishes_repeated_total"), 0.0),
        (&*of("uplinks_in_flight"), 0.0),
        (&*of("uplinks_waiting"), 0.0),
        (&*with("reconnects_total", "cause", "lost"), 0.0),
        (received, 0.0),
        (&*of("downlinks_dropped_total"), 0.0),
        (&*with("downlinks_delivered_total", "source", "store"), 0.0),
        (listeners, 0.0),
        (backlog, 0.0),
        (&*of("backlog_oldest_age_seconds"), 0.0),
        ("causeway_backlog_orphaned_uplinks", 0.0),
        ("causeway_ready", 1.0),
        ("causeway_queue_bytes", 0.0),
        ("causeway_queue_limit_bytes", 67_108_864.0),
        ("causeway_store_writable", 1.0),
        ("causeway_store_uplinks", 0.0),
        ("causeway_store_failed_commits_total", 0.0),
    ] {
        assert_eq!(before.get(series), Some(value), "{series} in {before:?}");
    }
    let version = format!(
        "causeway_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(before.get(&version), Some(1.0));
    assert!(before.get("process_resident_memory_bytes") > Some(1e6));

    for _ in 0..2 {
        let reply = bridge.http.post(UPLINKS, "text/plain", "1").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let path = UPLINKS.replace("pump-1", "pump-2");
    let reply = bridge.http.post(&path, "text/plain", "1").await;
    assert_eq!(reply.status, 502, "{}", reply.text());
    let answered = [
        (delivered, 2.0),
        (refused, 1.0),
        (confirmed, 2.0),
        (denied, 1.0),
    ];
    until(&bridge, &answered).await;
    let path = format!("{UPLINKS}?qos=2");
    let reply = bridge.http.post(&path, "text/plain", "1").await;
    assert_eq!(reply.status, 400, "{}", reply.text());

    let request = bridge.http.request(Method::POST, UPLINKS);
    let reply = Reply::to(request.header("prefer", "respond-async").body("2")).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let settled = [
        (queued, 1.0),
        (invalid, 1.0),
        (delivered, 2.0),
        (confirmed, 3.0),
        (backlog, 0.0),
    ];
    until(&bridge, &settled).await;

    let path = "/v1/devices/pump-1/downlinks";
    let listener = bridge.http.events(path, None).await;
    until(&bridge, &[(listeners, 1.0)]).await;
    let access = broker.access().user("causeway", "let me in");
    let message = Message::new("devices/pump-1/down/led", "on");
    access.publish(&message).await.accepted();
    listener.wait_count(1).await;
    let stored = [
        (received, 1.0),
        ("causeway_store_downlinks", 1.0),
        (&*with("downlinks_delivered_total", "source", "memory"), 1.0),
    ];
    until(&bridge, &stored).await;
    drop(listener);
    until(&bridge, &[(listeners, 0.0)]).await;

    let after = scrape(&bridge).await;
    let took = |suffix| {
        with(
            &format!("uplink_duration_seconds_{suffix}"),
            "outcome",
            "delivered",
        )
    };
    assert_eq!(after.get(&took("count")), Some(2.0));
    assert!(after.get(&took("sum")) > Some(0.0), "{after:?}");
    let count = "causeway_store_commit_duration_seconds_count";
    assert!(after.get(count) > before.get(count), "{after:?}");
    assert!(after.get("causeway_store_downlinks_bytes") > Some(0.0));
    assert_eq!(after.get(connected), Some(1.0));
    // A kind of problem alone comes with its first time.
    let stays = |series: &&str| !series.starts_with("causeway_http_problems_total");
    assert!(
        before.series().eq(after.series().filter(stays)),
        "no series comes or goes: {before:?} {after:?}"
    );
    for series in after.series() {
        assert!(!series.contains("pump"), "a device in a label: {series}");
    }
    // Of several replicas there is nothing to say.
    let mut expected = documented();
    expected.retain(|name| !name.starts_with("causeway_cluster_"));
    assert_eq!(*after.families(), expected);
}

#[tokio::test]
async fn requests_are_counted_by_their_route() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&devices(&format!("mqtt://{}", broker.addr()))).await;
    let series = |route: &str, method: &str, status: &str| {
        format!(
            "causeway_http_requests_total{{route=\"{route}\",method=\"{method}\",status=\"{status}\"}}"
        )
    };
    // What is described is there from the start, so that a new route cannot be forgotten.
    let before = scrape(&bridge).await;
    let contract = bridge.http.get("/openapi.json").await.json();
    for (path, operations) in contract["paths"].as_object().unwrap() {
        let methods = operations.as_object().unwrap().keys();
        for method in methods.filter(|key| ["get", "post", "put", "delete"].contains(&&***key)) {
            let method = method.to_uppercase();
            for status in ["2xx", "3xx", "4xx", "5xx"] {
                let series = series(path, &method, status);
                assert_eq!(before.get(&series), Some(0.0), "{series}");
            }
            let took = format!(
                "causeway_http_request_duration_seconds_count{{route=\"{path}\",method=\"{method}\"}}"
            );
            assert_eq!(before.get(&took), Some(0.0), "{took}");
        }
    }

    let odd = "%F0%9F%92%A1%22%0A";
    for (method, path, status) in [
        (Method::POST, UPLINKS.to_owned(), 200),
        (Method::POST, format!("{UPLINKS}/alerts/critical"), 200),
        (Method::POST, format!("{UPLINKS}/alerts/other"), 200),
        (Method::POST, UPLINKS.replace("pump-1", "nobody"), 404),
        (Method::GET, UPLINKS.to_owned(), 405),
        (Method::GET, format!("/v1/devices/{odd}"), 400),
        (Method::HEAD, "/v1/devices".to_owned(), 200),
        (Method::GET, format!("/{odd}"), 404),
        (
            Method::from_bytes(b"BREW").unwrap(),
            "/kettle".to_owned(),
            404,
        ),
    ] {
        let request = bridge.http.request(method.clone(), &path);
        let reply = Reply::to(request.header("content-type", "text/plain").body("1")).await;
        assert_eq!(reply.status, status, "{method} {path}: {}", reply.text());
    }
    let device = "/v1/devices/{device}";
    let uplinks = format!("{device}/uplinks");
    let problem = |kind: &str| format!("causeway_http_problems_total{{kind=\"{kind}\"}}");
    let seen = scrape(&bridge).await;
    for (series, value) in [
        (series(&uplinks, "POST", "2xx"), 1.0),
        (series(&uplinks, "POST", "4xx"), 1.0),
        (series(&uplinks, "GET", "4xx"), 1.0),
        (
            series(&format!("{uplinks}/{{subtopic}}"), "POST", "2xx"),
            2.0,
        ),
        (series(device, "GET", "4xx"), 1.0),
        (series("/v1/devices", "HEAD", "2xx"), 1.0),
        (series("other", "GET", "4xx"), 1.0),
        (series("other", "other", "4xx"), 1.0),
        (series("/metrics", "GET", "2xx"), 1.0),
        (problem("unknown-device"), 1.0),
        (problem("method"), 1.0),
        (problem("malformed"), 1.0),
        (problem("no-route"), 2.0),
        ("causeway_http_connections".to_owned(), 1.0),
        ("causeway_http_connections_accepted_total".to_owned(), 1.0),
    ] {
        assert_eq!(seen.get(&series), Some(value), "{series} in {seen:?}");
    }
    let took = format!(
        "causeway_http_request_duration_seconds_count{{route=\"{uplinks}\",method=\"POST\"}}"
    );
    assert_eq!(seen.get(&took), Some(2.0));
    for series in seen.series() {
        let free = ["pump", "nobody", "alerts", "kettle", "BREW"];
        assert!(!free.iter().any(|text| series.contains(text)), "{series}");
    }
}

#[tokio::test]
async fn a_backlog_has_its_connector_and_an_age() {
    let broker = Mosquitto::start().await;
    let proxy = Proxy::start(broker.addr());
    let config = |device: &str| {
        let url = format!("mqtt://{}", proxy.addr());
        format!(
            "[connectors.local]\nprofile = \"plain\"\nurl = \"{url}\"\n[connectors.other]\nprofile = \"plain\"\n\
             url = \"{url}\"\noverride.connect.client_id = \"other\"\n[devices.{device}]\nconnector = \"local\"\n[devices.pump-3]\nconnector = \"other\"\n"
        )
    };
    proxy.refuse().await;
    let bridge = TestBridge::start(&config("pump-1")).await;
    for _ in 0..3 {
        let request = bridge.http.request(Method::POST, UPLINKS);
        let reply = Reply::to(request.header("prefer", "respond-async").body("12345")).await;
        assert_eq!(reply.status, 202, "{}", reply.text());
    }
    // One that still waits for its broker is in memory.
    let path = UPLINKS.replace("pump-1", "pump-3");
    let request = bridge.http.request(Method::POST, &path);
    let asking = tokio::spawn(Reply::to(request.header("prefer", "wait=30").body("1")));
    until(
        &bridge,
        &[("causeway_uplinks_waiting{connector=\"other\"}", 1.0)],
    )
    .await;
    let seen = scrape(&bridge).await;
    assert_eq!(seen.get("causeway_queue_bytes"), Some(1.0));
    asking.abort();
    let unreachable = "causeway_reconnects_total{connector=\"local\",cause=\"unreachable\"}";
    eventually("an attempt to connect", DEADLINE, async || {
        scrape(&bridge).await.get(unreachable) > Some(0.0)
    })
    .await;
    let seen = scrape(&bridge).await;
    assert_eq!(
        seen.get("causeway_backlog_uplinks{connector=\"local\"}"),
        Some(3.0)
    );
    assert!(seen.get("causeway_backlog_bytes{connector=\"local\"}") > Some(15.0));
    assert!(seen.get("causeway_backlog_oldest_age_seconds{connector=\"local\"}") > Some(0.0));
    assert_eq!(
        seen.get("causeway_backlog_uplinks{connector=\"other\"}"),
        Some(0.0)
    );

    // A device that is gone from the configuration leaves its backlog behind.
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config("pump-2")).await;
    let seen = scrape(&bridge).await;
    assert_eq!(
        seen.get("causeway_backlog_uplinks{connector=\"local\"}"),
        Some(0.0)
    );
    assert_eq!(seen.get("causeway_backlog_orphaned_uplinks"), Some(3.0));
}

#[tokio::test]
async fn without_a_store_there_are_no_figures_of_it() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::without_store(&devices(&format!("mqtt://{}", broker.addr()))).await;
    let seen = scrape(&bridge).await;
    assert_eq!(
        seen.get("causeway_listeners{connector=\"local\"}"),
        Some(0.0)
    );
    assert!(
        !seen
            .families()
            .iter()
            .any(|name| name.contains("_store_") || name.contains("_backlog_")),
        "{seen:?}"
    );
}
