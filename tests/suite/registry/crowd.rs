//! A thousand devices in one go, and half of them deleted while the others work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, stream};

use super::*;
use crate::harness::access::Message;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::subscriber::Subscriber;

const DEVICES: usize = 1000;
/// Requests at a time.
const AT_ONCE: usize = 24;
/// Devices that work meanwhile, and stay.
const WORKING: usize = 12;
/// Devices that have a connection when they are deleted.
const CONNECTED: usize = 60;
/// Devices of those that are listened to, and that somebody posts to, until they are gone.
const BUSY: usize = 12;

fn name(number: usize) -> String {
    format!("d{number:04}")
}

/// Posts one uplink after the other; each must be confirmed.
async fn work(http: Http, device: String, done: Arc<AtomicBool>) -> usize {
    let mut posted = 0;
    while !done.load(Ordering::Relaxed) {
        delivered(&http, &device, &posted.to_string()).await;
        posted += 1;
    }
    posted
}

/// Posts one uplink after the other until the device is gone, and gives those that were confirmed.
async fn work_until_gone(http: Http, device: String) -> Vec<usize> {
    let mut confirmed = Vec::new();
    for number in 0.. {
        let reply = post(&http, &device, "wait=30", &number.to_string()).await;
        match reply.status {
            200 => confirmed.push(number),
            404 => {
                problem(&reply, 404, "unknown-device");
                break;
            }
            // The deletion came in between.
            status => assert_eq!(status, 503, "{}", reply.text()),
        }
    }
    confirmed
}

async fn each<F: Future<Output = ()>>(
    numbers: impl Iterator<Item = usize>,
    act: impl Fn(String) -> F,
) {
    let acts = numbers.map(|number| act(name(number)));
    stream::iter(acts)
        .buffer_unordered(AT_ONCE)
        .collect::<()>()
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_devices_come_and_half_of_them_go_while_the_others_work() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    let text = config(broker.addr());
    let bridge = TestBridge::start(&text).await;
    let http = &bridge.http;
    each(0..DEVICES, async |device| {
        created(http, &device, "own").await
    })
    .await;
    let all = http
        .get("/v1/devices?connector=own&limit=1000")
        .await
        .json();
    assert_eq!(all["devices"].as_array().unwrap().len(), DEVICES);
    assert_eq!(all.get("next"), None);

    let half = DEVICES / 2;
    each(0..CONNECTED, async |device| {
        delivered(http, &device, "bye").await
    })
    .await;
    let mut listeners = Vec::new();
    for device in (0..BUSY).map(name) {
        let path = format!("/v1/devices/{device}/downlinks");
        listeners.push(http.events(&path, None).await);
    }
    let busy: Vec<_> = (0..BUSY)
        .map(|number| tokio::spawn(work_until_gone(http.clone(), name(number))))
        .collect();
    let done = Arc::new(AtomicBool::new(false));
    let working: Vec<_> = (half..half + WORKING)
        .map(|number| tokio::spawn(work(http.clone(), name(number), Arc::clone(&done))))
        .collect();
    // The busy ones last, so that they are.
    each((0..half).rev(), async |device| {
        let gone = delete(http, &device, "").await;
        assert_eq!(gone.status, 204, "{device}: {}", gone.text());
    })
    .await;
    for (listener, device) in listeners.iter().zip((0..BUSY).map(name)) {
        let last = listener.wait_end().await.pop().unwrap();
        assert_eq!(last.event, "deleted");
        assert_eq!(last.json(), json!({ "device": device }));
    }
    for (number, work) in busy.into_iter().enumerate() {
        let (device, confirmed) = (name(number), work.await.unwrap());
        assert!(!confirmed.is_empty(), "{device}");
        let topic = format!("devices/{device}/up");
        let of_device = |seen: &[Message]| {
            let texts = seen.iter().filter(|message| message.topic == topic);
            let numbers = texts.filter_map(|message| message.text().parse().ok());
            let confirmed = numbers.filter(|number| confirmed.binary_search(number).is_ok());
            confirmed.collect::<Vec<usize>>()
        };
        let all = |seen: &[Message]| of_device(seen).len() >= confirmed.len();
        let seen = observer.wait_until("what was confirmed", all).await;
        assert_eq!(of_device(&seen), confirmed, "{device}");
    }
    done.store(true, Ordering::Relaxed);
    let mut posted = Vec::new();
    for work in working {
        posted.push(work.await.unwrap());
    }
    for (number, posted) in posted.iter().enumerate() {
        let device = name(half + number);
        let topic = format!("devices/{device}/up");
        let of_device = |seen: &[Message]| {
            let texts = seen.iter().filter(|message| message.topic == topic);
            texts
                .map(|message| message.text().parse().unwrap())
                .collect::<Vec<usize>>()
        };
        let seen = observer.wait_until("all of a device", |seen| of_device(seen).len() >= *posted);
        assert_eq!(
            of_device(&seen.await),
            (0..*posted).collect::<Vec<_>>(),
            "{device}"
        );
        let session = bridge.session(&device).await;
        assert_eq!(session["counters"]["connects"], 1, "{device}");
    }
    assert!(posted.iter().all(|posted| *posted > 0), "{posted:?}");

    let bridge = TestBridge::start_in(bridge.stop().await, &text).await;
    let left = bridge
        .http
        .get("/v1/devices?connector=own&limit=1000")
        .await
        .json();
    let left = left["devices"].as_array().unwrap().iter();
    let left: Vec<_> = left
        .map(|device| device["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(left, (half..DEVICES).map(name).collect::<Vec<_>>());
    delivered(&bridge.http, &left[half - 1], "again").await;
}
