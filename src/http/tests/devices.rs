//! The registry's answers, and health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::bridge::Bridge;
use super::client::{get, send};
use crate::cluster::Peers;
use crate::http::{http_tally, management, serve};
use crate::observe::{Health, Metrics, Sources, StoreHealth};
use crate::session::{Budget, State};
use crate::store;
use crate::tally::Tally;

#[tokio::test]
async fn devices_are_paged() {
    let bridge = Bridge::start().await;
    let page = get(bridge.address, "/v1/devices?limit=2").await.json();
    let device = |id, connector, profile| {
        json!({
            "id": id, "connector": connector, "profile": profile, "has_secret": false,
            "origin": "configuration", "state": "idle",
        })
    };
    let akenza = device("akenza", "cloud", "akenza-device");
    let other = device("other", "lan", "plain");
    assert_eq!(page, json!({"devices": [akenza, other], "next": "other"}));
    let page = get(bridge.address, "/v1/devices?after=other").await.json();
    assert_eq!(page["devices"].as_array().unwrap().len(), 1);
    assert_eq!(page.get("next"), None);
    let exact = get(bridge.address, "/v1/devices?limit=3").await.json();
    assert_eq!(exact.get("next"), None);
    assert_eq!(
        get(bridge.address, "/v1/devices/akenza").await.json(),
        akenza
    );
    let ids = async |query: &str| {
        let page = get(bridge.address, &format!("/v1/devices?{query}")).await;
        let page = page.json();
        let ids = page["devices"].as_array().unwrap().iter();
        let ids = ids.map(|device| device["id"].as_str().unwrap().to_owned());
        (
            ids.collect::<Vec<_>>(),
            page["next"].as_str().map(str::to_owned),
        )
    };
    let lan = ids("connector=lan&limit=1").await;
    assert_eq!(lan, (vec!["other".to_owned()], Some("other".to_owned())));
    let lan = ids("connector=lan&state=idle&after=other").await;
    assert_eq!(lan, (vec!["plain".to_owned()], None));
    assert_eq!(ids("state=connected").await, (Vec::new(), None));
    assert_eq!(ids("connector=none").await, (Vec::new(), None));
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=%2B",
        "page=2",
        "state=happy",
        "state=idle&state=idle",
        "connector=No",
    ] {
        let answer = get(bridge.address, &format!("/v1/devices?{query}")).await;
        answer.problem(400, "malformed");
    }
    for path in ["/v1/devices/nobody", "/v1/devices/nobody/session"] {
        get(bridge.address, path)
            .await
            .problem(404, "unknown-device");
    }
    get(bridge.address, "/v1/devices/akenza?x=1")
        .await
        .problem(400, "malformed");
}

#[tokio::test]
async fn a_session_tells_what_went_wrong() {
    let mut bridge = Bridge::start().await;
    let path = "/v1/devices/plain/session";
    let session = get(bridge.address, path).await.json();
    assert_eq!(
        (&session["state"], &session["client_id"]),
        (&"idle".into(), &"client".into())
    );
    assert_eq!(
        (&session["queued"], session.get("last_error")),
        (&0.into(), None)
    );
    assert_eq!(session["counters"].as_object().unwrap().len(), 6);
    bridge
        .session("plain")
        .trouble(State::Refused, "bad user name", "look at the user name");
    let session = get(bridge.address, path).await.json();
    assert_eq!(session["state"], "refused");
    assert_eq!(session["last_error"]["what"], "bad user name");
    assert_eq!(session["last_error"]["hint"], "look at the user name");
    humantime::parse_rfc3339(session["last_error"]["at"].as_str().unwrap()).unwrap();
}

#[tokio::test]
async fn readiness_follows_the_store() {
    let bridge = Bridge::start().await;
    let writable = Arc::new(AtomicBool::new(true));
    let watched = Arc::clone(&writable);
    let store: StoreHealth = Box::new(move || match watched.load(Ordering::Relaxed) {
        true => store::Health::Writable,
        false => store::Health::ReadOnly {
            since: SystemTime::UNIX_EPOCH,
            cause: "No space left on device".into(),
        },
    });
    let health = Arc::new(Health::new(Arc::clone(&bridge.registry), Some(store)));
    health.set_accepting(true);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(
        listener,
        management(Arc::clone(&health), metrics(&bridge, &health)),
        CancellationToken::new(),
    ));

    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["store"], json!({"writable": true}));
    writable.store(false, Ordering::Relaxed);
    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 503);
    let answer = answer.json();
    assert_eq!(
        answer["causes"],
        json!(["the store cannot be written: No space left on device"])
    );
    let store = &answer["store"];
    assert_eq!(
        (&store["writable"], &store["since"], &store["cause"]),
        (
            &json!(false),
            &json!("1970-01-01T00:00:00.000Z"),
            &json!("No space left on device")
        )
    );
    assert!(store["note"].as_str().unwrap().contains("still delivered"));
    writable.store(true, Ordering::Relaxed);
    assert_eq!(get(address, "/readyz").await.status, 200);
}

#[tokio::test]
async fn readiness_follows_the_sessions() {
    let mut bridge = Bridge::start().await;
    let health = Arc::new(Health::new(Arc::clone(&bridge.registry), None));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = management(Arc::clone(&health), metrics(&bridge, &health));
    tokio::spawn(serve(listener, router, CancellationToken::new()));

    assert_eq!(get(address, "/livez").await.status, 200);
    assert_eq!(get(address, "/readyz").await.status, 503);
    health.set_accepting(true);
    let answer = get(address, "/readyz").await;
    assert_eq!(answer.status, 200);
    let lan = json!({"name": "lan", "devices": 2, "sessions": 2, "connected": 0, "idle": 2});
    assert_eq!(answer.json()["connectors"][1], lan);
    for (device, ready) in [("plain", 200), ("other", 200), ("akenza", 503)] {
        bridge
            .session(device)
            .trouble(State::BackingOff, "unreachable", "look there");
        assert_eq!(
            get(address, "/readyz").await.status,
            ready,
            "after {device}"
        );
        let warnings = get(address, "/readyz").await.json()["warnings"].clone();
        // A device's trouble is its own; that of a connector is named.
        let expected = match device {
            "plain" => 0,
            "other" => 1,
            _ => 2,
        };
        assert_eq!(warnings.as_array().unwrap().len(), expected, "{warnings}");
    }
    let answer = get(address, "/readyz").await.json();
    assert_eq!(answer["causes"], json!(["no session is connected"]));
    let stuck = [
        "connector cloud: its session is not connected: unreachable; look there",
        "connector lan: none of its 2 sessions is connected: unreachable; look there",
    ];
    assert_eq!(answer["warnings"], json!(stuck));
    let answer = get(address, "/readyz?exclude=store,brokers").await;
    assert_eq!(answer.status, 200);
    let answer = answer.json();
    assert_eq!(
        (&answer["ready"], &answer["causes"]),
        (&json!(true), &json!([]))
    );
    assert_eq!(answer["warnings"][0], "no session is connected");
    for wrong in ["exclude=disk", "exclude=", "verbose=1"] {
        let answer = get(address, &format!("/readyz?{wrong}")).await;
        answer.problem(400, "malformed");
    }
    let answer = get(address, "/readyz").await.json();
    assert_eq!(answer.get("store"), None, "there is none");
    assert_eq!(get(address, "/livez").await.status, 200);
    get(address, "/v1/devices").await.problem(404, "no-route");
}

#[tokio::test]
async fn figures_are_prometheus_text() {
    let bridge = Bridge::start().await;
    let health = Arc::new(Health::new(Arc::clone(&bridge.registry), None));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = management(Arc::clone(&health), metrics(&bridge, &health));
    tokio::spawn(serve(listener, router, CancellationToken::new()));

    let answer = get(address, "/metrics").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/plain; version=0.0.4; charset=utf-8"))
    );
    let answer = send(address, "POST /metrics", "", b"").await;
    answer.problem(405, "method");
}

fn metrics(bridge: &Bridge, health: &Arc<Health>) -> Arc<Metrics> {
    Arc::new(Metrics::new(sources(bridge, health)))
}

fn sources(bridge: &Bridge, health: &Arc<Health>) -> Sources {
    Sources {
        registry: Arc::clone(&bridge.registry),
        tally: Arc::default(),
        budget: Budget::new(1),
        store: None,
        health: Arc::clone(health),
        http: Arc::new(http_tally()),
        listener: Arc::default(),
        traces: None,
        peers: None,
    }
}

/// Of a bridge with other replicas beside it, and what it counts.
pub(super) fn metrics_among(
    bridge: &Bridge,
    peers: Option<Arc<dyn Peers>>,
) -> (Metrics, Arc<Tally>) {
    let health = Arc::new(Health::new(Arc::clone(&bridge.registry), None));
    let sources = Sources {
        peers,
        ..sources(bridge, &health)
    };
    let tally = Arc::clone(&sources.tally);
    (Metrics::new(sources), tally)
}
