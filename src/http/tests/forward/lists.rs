//! Lists, receipts and listeners: what all members have a part of.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{delivered, settled, soon};
use crate::device::DeviceId;
use crate::http::HttpLimits;
use crate::http::forward::Forward;
use crate::http::tests::client::{get, open, poll};
use crate::http::tests::cluster::{Cluster, Fault};

#[tokio::test]
async fn the_list_has_the_devices_of_all_members_or_none() {
    let cluster = Cluster::start(3).await;
    let names: Vec<String> = (0..9).map(|number| format!("d{number}")).collect();
    let mut sessions = Vec::new();
    for (number, name) in names.iter().enumerate() {
        sessions.push(cluster.device(name, number % 3));
        // A partition of two devices goes where the last one is.
        cluster.place(name, Some(number % 3));
    }
    sessions[4].connected();
    let at = cluster.bridges[0].address;
    let ids = |page: &Value| {
        let devices = page["devices"].as_array().unwrap().iter();
        devices
            .map(|device| device["id"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let all = get(at, "/v1/devices").await;
    assert_eq!(all.header("content-type"), Some("application/json"));
    assert_eq!(ids(&all.json()), names);
    assert_eq!(all.json().get("next"), None);
    let (mut listed, mut query) = (Vec::new(), String::new());
    loop {
        let page = get(at, &format!("/v1/devices?limit=2{query}")).await.json();
        listed.extend(ids(&page));
        match page["next"].as_str() {
            Some(next) => query = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(listed, names);
    let connected = get(cluster.bridges[2].address, "/v1/devices?state=connected").await;
    assert_eq!(ids(&connected.json()), ["d4"]);
    let none = get(at, "/v1/devices?connector=other").await.json();
    assert_eq!(none, json!({"devices": []}));

    // Where one does not answer, or nobody has a partition, a part is not sold as the whole.
    for fault in [Fault::Deaf, Fault::Nobody, Fault::Foreign] {
        cluster.fault(1, Some(fault));
        let answer = get(at, "/v1/devices").await;
        answer.problem(503, "no-owner");
        assert!(answer.header("retry-after").is_some());
    }
    cluster.fault(1, None);
    cluster.place("elsewhere", None);
    get(at, "/v1/devices").await.problem(503, "no-owner");
    let list = tokio::spawn(async move { get(at, "/v1/devices").await });
    cluster.place("elsewhere", Some(2));
    assert_eq!(list.await.unwrap().status, 200);
}

#[tokio::test]
async fn a_receipt_is_found_wherever_it_is() {
    let cluster = Cluster::start(3).await;
    let mut session = cluster.device("pump", 1);
    let (answer, _) = settled(&cluster, 0, &mut session, "1", delivered()).await;
    let receipt = answer.json();
    let path = format!("/v1/uplinks/{}", receipt["id"].as_str().unwrap());
    for bridge in &cluster.bridges {
        let found = get(bridge.address, &path).await;
        assert_eq!((found.status, found.json()), (200, receipt.clone()));
        assert_eq!(found.header("cache-control"), Some("no-store"));
        assert_eq!(found.header("content-type"), Some("application/json"));
    }
    let unknown = "/v1/uplinks/0199a8c0-7c1e-7f50-9a55-2f6c8a1b2c3d";
    let at = cluster.bridges[0].address;
    get(at, unknown).await.problem(404, "unknown-uplink");
    // One that does not answer may have it; one that is gone has nothing.
    cluster.fault(2, Some(Fault::Deaf));
    assert_eq!(get(at, &path).await.status, 200);
    get(at, unknown).await.problem(503, "no-owner");
    cluster.goes(2);
    get(at, unknown).await.problem(404, "unknown-uplink");
}

#[tokio::test]
async fn nobody_is_told_when_nobody_listens_any_more() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    let shutdown = CancellationToken::new();
    let limits = HttpLimits::default();
    let forward = Forward::new(cluster.net.members_of(0), limits, shutdown.clone());
    let pump = DeviceId::parse("pump").unwrap();
    let registry = &cluster.bridges[0].registry;
    let listen = async || {
        let devices = vec![pump.clone()];
        forward
            .listen(registry, devices, Duration::ZERO, &shutdown)
            .await
    };
    let (one, other) = (listen().await, listen().await);
    drop(one);
    assert_eq!(forward.listened_to(), 1);
    drop(other);
    assert_eq!(forward.listened_to(), 0);
}

#[tokio::test]
async fn whoever_has_a_device_is_told_that_somebody_listens() {
    let cluster = Cluster::start(3).await;
    let mut session = cluster.device("pump", 1);
    let at = cluster.bridges[0].address;
    let path = "/v1/devices/pump/downlinks";
    let line = format!("GET {path}");
    let (mut stream, ()) = tokio::join!(open(at, &line, "", b""), async {
        session.told_to_connect().await;
        session.connected();
    });
    assert_eq!(stream.status, 200);
    // What arrives is stored, and every member has it from there.
    cluster.bridges[0].arrives("pump", "t", "1");
    loop {
        let frame = stream.event().await.unwrap();
        if frame.event == "downlink" {
            assert_eq!(frame.data["payload"], 1);
            break;
        }
    }
    // It moves, and the next one is told, too; here as well as elsewhere.
    let mut moved = cluster.moves("pump", 1, 2);
    soon(moved.told_to_connect()).await;
    let mut here = cluster.moves("pump", 2, 0);
    soon(here.told_to_connect()).await;
    drop(stream);
    let polled = poll(at, &format!("{path}?wait=0")).await;
    assert_eq!(polled.status, 200);
    for path in [
        "/v1/devices/nobody/downlinks",
        "/v1/downlinks?device=pump&device=nobody",
        "/v1/events?device=nobody",
    ] {
        get(at, path).await.problem(404, "unknown-device");
    }
    let events = open(at, "GET /v1/events?device=pump", "", b"").await;
    assert_eq!(events.status, 200);
}
