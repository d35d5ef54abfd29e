//! Traces, as a collector gets them.

use std::fs;
use std::time::Duration;

use reqwest::Method;

use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::collector::{Answer, Collector, Span};
use crate::harness::eventually::eventually;
use crate::harness::exposition::Exposition;
use crate::harness::http::Reply;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::Subscriber;

const UPLINKS: &str = "/v1/devices/pump-1/uplinks";
const POST: &str = "POST /v1/devices/{device}/uplinks";
const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn config(broker: impl std::fmt::Display, telemetry: &str) -> String {
    format!(
        "[telemetry]\n{telemetry}\n[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{broker}\"\n\
         [devices.pump-1]\nconnector = \"local\"\n"
    )
}

fn to(collector: &Collector, more: &str) -> String {
    format!("otlp_url = \"http://{}\"\n{more}", collector.addr())
}

async fn post(bridge: &TestBridge, header: Option<(&str, &str)>) -> Reply {
    let mut request = bridge.http.request(Method::POST, UPLINKS).body("payload-1");
    if let Some((name, value)) = header {
        request = request.header(name, value);
    }
    Reply::to(request.header("content-type", "text/plain")).await
}

fn user_properties(messages: &[Message]) -> Vec<&str> {
    let all = messages.iter().flat_map(|message| &message.user_properties);
    all.map(|(_, value)| &**value).collect()
}

#[tokio::test]
async fn a_request_and_its_publish_are_one_trace_that_goes_on_at_the_broker() {
    let (broker, collector) = (Mosquitto::start().await, Collector::start());
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let resource = "resource = { \"deployment.environment.name\" = \"plant-7\" }";
    let bridge = TestBridge::start(&config(broker.addr(), &to(&collector, resource))).await;
    let reply = post(&bridge, Some(("traceparent", CLIENT))).await;
    assert_eq!(reply.status, 200, "{}", reply.text());

    let request = collector.wait_for(POST).await;
    let publish = collector.wait_for("publish").await;
    assert_eq!(request.trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!((&*request.parent, request.kind), ("00f067aa0ba902b7", 2));
    assert_eq!(publish.trace, request.trace);
    assert_eq!((&publish.parent, publish.kind), (&request.id, 4));
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/devices/{device}/uplinks"),
        ("http.response.status_code", "200"),
        ("error.type", ""),
    ] {
        assert_eq!(request.attribute(key), value, "{request:?}");
    }
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    for (key, value) in [
        ("messaging.system", "mqtt"),
        ("messaging.message.body.size", "9"),
        ("causeway.connector", "local"),
        ("causeway.device", "pump-1"),
        ("causeway.outcome", "delivered"),
        ("causeway.uplink.id", &id),
    ] {
        assert_eq!(publish.attribute(key), value, "{publish:?}");
    }
    assert!(!request.failed && !publish.failed);
    assert!(request.times.0 <= publish.times.0 && publish.times.0 <= publish.times.1);
    assert_eq!(request.resource["service.name"], "causeway");
    assert_eq!(
        request.resource["service.version"],
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(request.resource["deployment.environment.name"], "plant-7");

    // The broker's side continues from the publish.
    let seen = observer.wait_count(1).await;
    assert_eq!(user_properties(&seen), [publish.traceparent()]);

    // Without a trace of the client's, one begins here.
    assert_eq!(post(&bridge, None).await.status, 200);
    let mine = |span: &Span| span.name == "publish" && span.trace != request.trace;
    let spans = collector
        .spans()
        .wait_until("a trace of its own", |spans| spans.iter().any(mine));
    let spans = spans.await;
    let publish = spans.iter().find(|span| mine(span)).unwrap();
    let request = spans.iter().find(|span| span.id == publish.parent);
    assert_eq!(request.unwrap().parent, "");
    let seen = observer.wait_count(2).await;
    assert_eq!(user_properties(&seen)[1], publish.traceparent());

    // Neither what was sent nor where to.
    for body in collector.bodies() {
        let body = String::from_utf8_lossy(&body);
        assert!(!body.contains("payload-1") && !body.contains("devices/pump-1"));
    }
}

#[tokio::test]
async fn what_is_not_to_be_recorded_is_passed_on_as_it_came() {
    let (broker, collector) = (Mosquitto::start().await, Collector::start());
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let settings = to(&collector, "sampling = 0");
    let bridge = TestBridge::start(&config(broker.addr(), &settings)).await;
    let quiet = CLIENT.replace("-01", "-00");
    for header in [Some(("traceparent", &*quiet)), None] {
        assert_eq!(post(&bridge, header).await.status, 200);
    }
    // A trace that is to be recorded is, whatever the ratio is for those that begin here.
    assert_eq!(
        post(&bridge, Some(("traceparent", CLIENT))).await.status,
        200
    );
    let publish = collector.wait_for("publish").await;
    let seen = observer.wait_count(3).await;
    assert_eq!(user_properties(&seen), [quiet, publish.traceparent()]);
    bridge.stop().await;
    let spans = collector.spans().all();
    assert_eq!(spans.len(), 2, "{spans:?}");
}

#[tokio::test]
async fn what_was_stored_is_seen_to_arrive() {
    let (broker, collector) = (Mosquitto::start().await, Collector::start());
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let proxy = Proxy::start(broker.addr());
    proxy.refuse().await;
    let bridge = TestBridge::start(&config(proxy.addr(), &to(&collector, ""))).await;
    let reply = post(&bridge, Some(("prefer", "respond-async"))).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    let publish = collector.wait_for("publish").await;
    assert_eq!(publish.attribute("causeway.outcome"), "queued");
    proxy.admit();
    let delivered = collector.wait_for("deliver stored").await;
    assert_eq!(
        (&delivered.trace, &delivered.parent),
        (&publish.trace, &publish.id)
    );
    assert_eq!(delivered.attribute("causeway.outcome"), "delivered");
    assert_eq!(
        delivered.attribute("causeway.uplink.id"),
        publish.attribute("causeway.uplink.id")
    );
    // From its acceptance on, which is within the request.
    assert!(
        delivered.times.0 >= publish.times.0 - 1_000_000 && delivered.times.1 > publish.times.1
    );
    let seen = observer.wait_count(1).await;
    assert_eq!(user_properties(&seen), [publish.traceparent()]);
}

#[tokio::test]
async fn refusals_are_errors_of_their_spans() {
    let broker = Mosquitto::builder()
        .acl("topic readwrite other/#\n")
        .start()
        .await;
    let collector = Collector::start();
    let bridge = TestBridge::start(&config(broker.addr(), &to(&collector, ""))).await;
    assert_eq!(post(&bridge, None).await.status, 502);
    let (request, publish) = (
        collector.wait_for(POST).await,
        collector.wait_for("publish").await,
    );
    assert!(request.failed && publish.failed);
    assert_eq!(request.attribute("error.type"), "refused");
    assert_eq!(publish.attribute("error.type"), "refused");

    // A client's mistake is no failure of the bridge, and its path is not told.
    let reply = bridge.http.get("/v1/devices/mistake/session").await;
    assert_eq!(reply.status, 404);
    let request = collector.wait_for("GET /v1/devices/{device}/session").await;
    assert!(!request.failed);
    assert_eq!(request.attribute("error.type"), "unknown-device");
    assert!(!format!("{request:?}").contains("mistake"));
}

async fn figures(bridge: &TestBridge) -> [Option<f64>; 2] {
    let seen = Exposition::parse(bridge.management.get("/metrics").await.text());
    ["exported", "dropped"].map(|name| seen.get(&format!("causeway_spans_{name}_total")))
}

#[tokio::test]
async fn a_collector_that_does_not_answer_delays_nobody() {
    let (broker, collector) = (Mosquitto::start().await, Collector::start());
    collector.answer(Answer::Nothing);
    let bridge = TestBridge::start(&config(broker.addr(), &to(&collector, ""))).await;
    // More than there is room for while the first batch is on its way.
    for _ in 0..50 {
        let requests = (0..60).map(|_| post(&bridge, None));
        for reply in futures_util::future::join_all(requests).await {
            assert_eq!(reply.status, 200, "{}", reply.text());
        }
    }
    collector
        .heads()
        .wait_until("a request", |heads| !heads.is_empty())
        .await;
    eventually("spans to be dropped", DEADLINE, async || {
        figures(&bridge).await[1] > Some(0.0)
    })
    .await;
    // The end waits for the farewell, and no longer.
    bridge.stop().await;

    // Nobody listens there.
    let nobody = Port::reserve();
    let settings = format!("otlp_url = \"http://{}\"", nobody.addr());
    let bridge = TestBridge::start(&config(broker.addr(), &settings)).await;
    assert_eq!(post(&bridge, None).await.status, 200);
    bridge.stop().await;
}

#[tokio::test]
async fn what_the_collector_could_not_take_is_sent_again() {
    let (broker, collector) = (Mosquitto::start().await, Collector::start());
    collector.answer(Answer::Status(503));
    let bridge = TestBridge::start(&config(broker.addr(), &to(&collector, ""))).await;
    assert_eq!(post(&bridge, None).await.status, 200);
    collector
        .heads()
        .wait_until("a first try", |heads| !heads.is_empty())
        .await;
    collector.answer(Answer::Take);
    collector.wait_for("publish").await;

    // What it will never take is not.
    collector.answer(Answer::Status(400));
    let dropped = figures(&bridge).await[1];
    assert_eq!(dropped, Some(0.0));
    assert_eq!(post(&bridge, None).await.status, 200);
    eventually("the spans to be given up", DEADLINE, async || {
        figures(&bridge).await[1] >= Some(2.0)
    })
    .await;
    assert!(figures(&bridge).await[0] >= Some(2.0));
}

#[tokio::test]
async fn what_is_left_at_the_end_is_sent() {
    let (broker, collector) = (Mosquitto::start().await, Collector::start());
    let folder = tempfile::tempdir().unwrap();
    let headers = folder.path().join("headers");
    fs::write(
        &headers,
        "# for the plant\nAuthorization: Bearer t0p-s3cret\n\nX-Scope-OrgID: plant-7\n",
    )
    .unwrap();
    let settings = to(&collector, "headers_file = \"headers\"");
    let bridge = TestBridge::start_in(folder, &config(broker.addr(), &settings)).await;
    assert_eq!(post(&bridge, None).await.status, 200);
    // Earlier than the batch would have been full or old enough, most likely.
    bridge.stop().await;
    let spans = collector.spans().all();
    let names: Vec<_> = spans.iter().map(|span| &*span.name).collect();
    assert!(
        names.contains(&POST) && names.contains(&"publish"),
        "{names:?}"
    );
    let heads = collector.heads().all();
    let head = heads[0].to_ascii_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    for line in [
        format!("host: {}", collector.addr()),
        "content-type: application/x-protobuf".to_owned(),
        "authorization: bearer t0p-s3cret".to_owned(),
        "x-scope-orgid: plant-7".to_owned(),
    ] {
        assert!(head.lines().any(|l| l == line), "{line}: {head}");
    }
}

#[tokio::test]
async fn lines_of_a_batch_are_parts_of_its_request() {
    let (broker, collector) = (Mosquitto::start().await, Collector::start());
    let bridge = TestBridge::start(&config(broker.addr(), &to(&collector, ""))).await;
    let lines = "{\"device\":\"pump-1\",\"payload\":1}\n{\"device\":\"pump-1\",\"payload\":2}\n";
    let reply = bridge
        .http
        .post("/v1/uplinks", "application/x-ndjson", lines)
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let request = collector.wait_for("POST /v1/uplinks").await;
    let spans = collector.spans().wait_until("both lines", |spans| {
        spans.iter().filter(|span| span.name == "publish").count() == 2
    });
    let spans = spans.await;
    let mut lines = spans.iter().filter(|span| span.name == "publish");
    assert!(lines.all(|line| line.parent == request.id), "{spans:?}");
}

#[tokio::test]
async fn without_a_collector_there_are_no_traces() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let bridge = TestBridge::start(&config(broker.addr(), "")).await;
    for header in [None, Some(("traceparent", CLIENT))] {
        assert_eq!(post(&bridge, header).await.status, 200);
    }
    let seen = observer.wait_count(2).await;
    assert_eq!(user_properties(&seen), [CLIENT]);
    assert_eq!(figures(&bridge).await, [None, None]);
    tokio::time::timeout(Duration::from_secs(20), bridge.stop())
        .await
        .unwrap();
}
