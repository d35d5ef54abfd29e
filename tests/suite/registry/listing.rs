//! The list of devices: in pages, and in part.

use super::*;
use crate::harness::mosquitto::Mosquitto;

fn ids(page: &Value) -> Vec<String> {
    let devices = page["devices"].as_array().unwrap().iter();
    devices
        .map(|device| device["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_comes_in_pages_and_stands_devices_that_come_and_go_meanwhile() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(broker.addr())).await;
    let http = &bridge.http;
    let names: Vec<_> = (0..25).map(|number| format!("d{number:02}")).collect();
    for name in &names {
        created(http, name, "own").await;
    }
    let (mut all, mut after, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = http.get(&format!("/v1/devices?limit=10{after}")).await;
        let page = page.json();
        all.extend(ids(&page));
        pages += 1;
        let Some(next) = page["next"].as_str() else {
            break;
        };
        // The last one of the page goes, and one that has been passed comes.
        assert_eq!(delete(http, next, "").await.status, 204);
        created(http, &format!("a{next}"), "own").await;
        after = format!("&after={next}");
    }
    let mut expected = names.clone();
    expected.push("fixed".to_owned());
    assert_eq!((all, pages), (expected, 3));

    for query in [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "after=%2B",
        "state=fine",
        "connector=%00",
        "page=2",
        "limit=1&limit=2",
    ] {
        let reply = http.get(&format!("/v1/devices?{query}")).await;
        problem(&reply, 400, "malformed");
    }
}

#[tokio::test]
async fn a_list_is_of_one_connector_or_of_one_state() {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&config(broker.addr())).await;
    let http = &bridge.http;
    for (name, connector) in [("a", "own"), ("b", "own"), ("c", "own"), ("d", "local")] {
        created(http, name, connector).await;
    }
    for name in ["b", "c", "d"] {
        delivered(http, name, "1").await;
    }
    for (query, expected) in [
        ("", &["a", "b", "c", "d", "fixed"][..]),
        ("connector=own", &["a", "b", "c"]),
        ("connector=local", &["d", "fixed"]),
        ("connector=none", &[]),
        ("state=idle", &["a"]),
        // One connection carries both of `local`.
        ("state=connected", &["b", "c", "d", "fixed"]),
        ("state=connected&connector=own", &["b", "c"]),
        ("state=connected&connector=own&limit=1", &["b"]),
        ("state=connected&connector=own&limit=1&after=b", &["c"]),
        ("state=refused", &[]),
    ] {
        let page = http.get(&format!("/v1/devices?{query}")).await.json();
        assert_eq!(ids(&page), expected, "{query}");
    }
}
