//! The road in, with a real Mosquitto at its beginning: stored before the broker is told, and read from any place on.
//!
//! `CAUSEWAY_DOWNLINKS=100000 tests/run downlinks` sends more of them to the listeners that come and go.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use serde_json::Value;
use tokio::sync::watch;

use crate::harness::DEADLINE;
use crate::harness::access::INSTALL_MOSQUITTO;
use crate::harness::bridge::TestBridge;
use crate::harness::causeway::causeway;
use crate::harness::eventually::eventually;
use crate::harness::http::Http;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::port::Port;
use crate::harness::program::Program;
use crate::harness::sse::{Event, EventStream};

/// A bridge with three devices that keeps what it stores in `folder`, and connects at once.
fn config(broker: &Mosquitto, folder: &Path, downlinks: &str) -> String {
    format!(
        "[store]\npath = \"{}\"\n[downlinks]\n{downlinks}\n\
         [connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n\
         [devices.d0]\nconnector = \"local\"\n[devices.d1]\nconnector = \"local\"\n\
         [devices.d2]\nconnector = \"local\"\n",
        folder.join("store.redb").display(),
        broker.addr()
    )
}

/// A broker that keeps whatever a client that is away has not got yet.
async fn patient_broker() -> Mosquitto {
    let mut broker = Mosquitto::builder().config("max_queued_messages 0");
    for kind in ["error", "warning", "notice", "information", "subscribe"] {
        broker = broker.config(&format!("log_type {kind}"));
    }
    broker.start().await
}

async fn start(broker: &Mosquitto, folder: &Path, downlinks: &str) -> TestBridge {
    let bridge = TestBridge::start(&config(broker, folder, downlinks)).await;
    bridge.until("d0", "connected").await;
    subscribed(broker).await;
    bridge
}

/// Waits until the broker has the bridge's subscriptions; from then on it keeps what comes while the bridge is away.
async fn subscribed(broker: &Mosquitto) {
    broker.log().wait_for(" devices/d2/down/#").await;
}

/// Begins to publish the numbers from `first` to `last` for a device, in their order.
fn publishing(broker: &Mosquitto, device: &str, first: usize, last: usize) -> Program {
    let pipe = format!(
        "seq {first} {last} | mosquitto_pub -h 127.0.0.1 -p {} -q 1 -l -t devices/{device}/down/n",
        broker.addr().port()
    );
    Program::start(Command::new("sh").args(["-c", &pipe]), INSTALL_MOSQUITTO)
}

async fn publish(broker: &Mosquitto, device: &str, first: usize, last: usize) {
    let ended = publishing(broker, device, first, last).exit().await;
    assert!(ended.success(), "{ended}");
}

fn numbers(events: &[Event]) -> Vec<u64> {
    let number = |event: &Event| event.json()["payload"].as_u64();
    events.iter().filter_map(number).collect()
}

fn contents(events: &[Event]) -> Vec<(Option<&str>, &str)> {
    let contents = events.iter();
    contents
        .map(|event| (event.id.as_deref(), event.data.as_str()))
        .collect()
}

#[tokio::test]
async fn downlinks_that_came_while_the_bridge_was_away_arrive_once_and_are_replayed() {
    let (broker, folder) = (patient_broker().await, tempfile::tempdir().unwrap());
    let path = "/v1/devices/d0/downlinks";
    let bridge = start(&broker, folder.path(), "").await;
    let listener = bridge.http.events(path, None).await;
    publish(&broker, "d0", 1, 50).await;
    let seen = listener.wait_count(50).await;
    assert_eq!(numbers(&seen), Vec::from_iter(1..=50));
    let last = seen[49].id.clone().unwrap();
    bridge.stop().await;
    publish(&broker, "d0", 51, 400).await;

    let bridge = start(&broker, folder.path(), "").await;
    let resumed = bridge.http.events(path, Some(&last)).await;
    let middle = bridge.http.events(path, seen[24].id.as_deref()).await;
    let earliest = format!("{path}?last_event_id=earliest");
    let earliest = bridge.http.events(&earliest, None).await;
    resumed.wait_count(350).await;
    // Live, behind what was replayed.
    publish(&broker, "d0", 401, 420).await;
    for (listener, first) in [(resumed, 51), (middle, 26), (earliest, 1)] {
        let expected = Vec::from_iter(first..=420);
        let seen = listener.wait_count(expected.len()).await;
        assert_eq!(numbers(&seen), expected);
    }

    // The same in polls.
    let (mut polled, mut next) = (Vec::new(), last);
    while polled.len() < 370 {
        let poll = format!("{path}?after={next}&limit=150&wait=30");
        let request = bridge.http.request(Method::GET, &poll);
        let answer = request.header("accept", "application/json").send().await;
        let page: Value = answer.unwrap().json().await.unwrap();
        let events = page["events"].as_array().unwrap();
        assert!((1..=150).contains(&events.len()), "{}", events.len());
        polled.extend(
            events
                .iter()
                .map(|e| e["data"]["payload"].as_u64().unwrap()),
        );
        next = page["next"].as_str().unwrap().to_owned();
    }
    assert_eq!(polled, Vec::from_iter(51..=420));
}

#[tokio::test]
async fn what_is_no_longer_kept_is_named_by_a_gap_also_after_a_restart() {
    let (broker, folder) = (patient_broker().await, tempfile::tempdir().unwrap());
    let path = "/v1/devices/d0/downlinks";
    let short = "history = 5";
    let bridge = start(&broker, folder.path(), short).await;
    let listener = bridge.http.events(path, None).await;
    publish(&broker, "d0", 1, 20).await;
    let seen = listener.wait_count(20).await;
    bridge.stop().await;
    let bridge = start(&broker, folder.path(), short).await;

    let from_third = bridge.http.events(path, seen[2].id.as_deref()).await;
    let replayed = from_third.wait_count(6).await;
    assert_eq!(replayed[0].event, "gap");
    let gap = replayed[0].json();
    assert_eq!(gap["device"], "d0");
    assert_eq!(gap["after"].as_str(), seen[2].id.as_deref());
    let lost: u64 = seen[14].id.as_deref().unwrap().parse().unwrap();
    assert_eq!(gap["next"], (lost + 1).to_string());
    assert_eq!(contents(&replayed[1..]), contents(&seen[15..]));

    // Nothing is missing for one that wants what there is, or had seen the last one that has gone.
    let all = format!("{path}?last_event_id=earliest");
    for (path, id) in [(all.as_str(), None), (path, seen[14].id.as_deref())] {
        let whole = bridge.http.events(path, id).await;
        let whole = whole.wait_count(5).await;
        assert_eq!(contents(&whole), contents(&seen[15..]));
    }
}

/// What a listener has seen, over all its connections.
#[derive(Default)]
struct Seen {
    last_id: Option<String>,
    count: usize,
    gaps: usize,
    /// By device: the last number, and whether a gap was told since.
    last: HashMap<String, (u64, bool)>,
}

impl Seen {
    /// Each device's numbers are without a hole, unless a gap was told at the place; repeats are not counted.
    fn take(&mut self, event: &Event) {
        let data = event.json();
        if event.event == "gap" {
            self.gaps += 1;
            self.last.values_mut().for_each(|last| last.1 = true);
            return;
        }
        let (device, number) = (data["device"].as_str().unwrap(), data["payload"].as_u64());
        let number = number.unwrap();
        self.last_id = event.id.clone();
        // The first one is the earliest that was kept.
        if let Some((last, gap)) = self.last.get(device) {
            // What the broker was not told of before the bridge stopped is sent again, and leaves no hole.
            if number <= *last {
                return;
            }
            let follows = number == last + 1 || *gap;
            assert!(follows, "{number} of {device} after {last}, gap: {gap}");
        }
        self.last.insert(device.to_owned(), (number, false));
        self.count += 1;
    }

    fn is_complete(&self, devices: usize, each: u64) -> bool {
        self.last.len() == devices && self.last.values().all(|last| last.0 == each)
    }
}

/// Listens until every device's last number has come, dropping the connection after so many events, and whenever the
/// bridge goes away.
async fn follow(
    mut bridge: watch::Receiver<Http>,
    devices: &'static [&'static str],
    (each, breaks): (u64, usize),
    progress: Arc<AtomicUsize>,
) -> Seen {
    let mut seen = Seen::default();
    let query: Vec<_> = devices.iter().map(|d| format!("device={d}")).collect();
    let path = format!("/v1/downlinks?{}", query.join("&"));
    while !seen.is_complete(devices.len(), each) {
        let http = bridge.borrow_and_update().clone();
        let request = http.request(Method::GET, &path);
        let from = seen.last_id.as_deref().unwrap_or("earliest");
        let request = request
            .header("accept", "text/event-stream")
            .header("last-event-id", from);
        let Some(stream) = EventStream::try_open(request).await else {
            bridge.changed().await.unwrap();
            continue;
        };
        let is_last = |event: &Event| event.json()["payload"] == each;
        let enough = |events: &[Event]| {
            let has_last = |device: &&str| {
                let whole = |last: &(u64, bool)| last.0 == each;
                let of_device = |event: &Event| event.json()["device"] == **device;
                seen.last.get(*device).is_some_and(whole)
                    || events.iter().rev().any(|e| of_device(e) && is_last(e))
            };
            events.len() >= breaks
                || events.last().is_some_and(is_last) && devices.iter().all(has_last)
        };
        for event in stream.events().wait_until_or_end(enough).await {
            seen.take(&event);
            progress.fetch_add(1, Ordering::Relaxed);
        }
    }
    seen
}

const DEVICES: [&str; 3] = ["d0", "d1", "d2"];
/// Downlinks of each device that come while the bridge is away.
const LATE: usize = 100;

/// The bridge is stopped and started again whenever so many more events have been seen, twice.
async fn listeners_come_and_go(total: usize, before_restart: usize, downlinks: &str) -> Vec<Seen> {
    const LISTENERS: [(&[&str], usize); 6] = [
        (&["d0"], 7),
        (&["d0"], 500),
        (&["d1", "d2"], 100),
        (&["d0", "d1", "d2"], 250),
        (&["d0", "d1", "d2"], 1000),
        (&["d2"], usize::MAX),
    ];
    let (first, each) = (total / DEVICES.len(), total / DEVICES.len() + LATE);
    let (broker, folder) = (patient_broker().await, tempfile::tempdir().unwrap());
    let mut bridge = start(&broker, folder.path(), downlinks).await;
    let (current, http) = watch::channel(bridge.http.clone());
    let progress = Arc::new(AtomicUsize::new(0));
    let listeners = LISTENERS.map(|(devices, breaks)| {
        let following = follow(
            http.clone(),
            devices,
            (each as u64, breaks),
            Arc::clone(&progress),
        );
        tokio::spawn(following)
    });
    let publishers = DEVICES.map(|device| publishing(&broker, device, 1, first));
    let pause = async |events: usize| {
        let seen = async || progress.load(Ordering::Relaxed) >= events;
        eventually("progress before a restart", DEADLINE, seen).await;
    };
    pause(before_restart).await;
    bridge.stop().await;
    bridge = start(&broker, folder.path(), downlinks).await;
    current.send(bridge.http.clone()).unwrap();

    pause(2 * before_restart).await;
    bridge.stop().await;
    for mut publisher in publishers {
        assert!(publisher.exit().await.success());
    }
    for device in DEVICES {
        publish(&broker, device, first + 1, each).await;
    }
    bridge = start(&broker, folder.path(), downlinks).await;
    // The others come back when everything is there.
    let (_current, http) = watch::channel(bridge.http.clone());
    follow(http, &DEVICES, (each as u64, usize::MAX), Arc::default()).await;
    current.send(bridge.http.clone()).unwrap();
    let mut all = Vec::new();
    for listener in listeners {
        let within = tokio::time::timeout(2 * DEADLINE, listener).await;
        all.push(within.expect("the listeners to see everything").unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_that_come_and_go_see_every_downlink_once_and_in_order() {
    let total = std::env::var("CAUSEWAY_DOWNLINKS").map_or(10_000, |n| n.parse().unwrap());
    let keep_all = "history = 1000000\nhistory_bytes = \"1 GiB\"\ntotal_bytes = \"1 GiB\"";
    for seen in listeners_come_and_go(total, total / 2, keep_all).await {
        let whole = (total / DEVICES.len() + LATE) * seen.last.len();
        assert_eq!((seen.count, seen.gaps), (whole, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_that_come_and_go_are_told_what_is_no_longer_kept() {
    let all = listeners_come_and_go(3000, 50, "history = 20").await;
    // One that had seen something before the last restart has missed the rest.
    assert!(all.iter().any(|seen| seen.gaps > 0));
    println!(
        "seen, and gaps: {:?}",
        all.iter().map(|s| (s.count, s.gaps)).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn no_downlink_is_lost_when_the_bridge_is_killed() {
    const TOTAL: u64 = 5000;
    const KILLS: usize = 5;
    let (broker, folder) = (patient_broker().await, tempfile::tempdir().unwrap());
    let port = Port::reserve();
    let text = format!(
        "[http]\nlisten = \"{}\"\n[management]\nlisten = \"127.0.0.1:0\"\n{}",
        port.addr(),
        config(
            &broker,
            folder.path(),
            "history = 100000\nhistory_bytes = \"1 GiB\""
        )
    );
    std::fs::write(folder.path().join("causeway.toml"), text).unwrap();
    let run = || causeway(folder.path(), &["serve"], &[("NO_COLOR", "1")]);
    let mut bridge = run();
    // The session that outlives its connections begins with the first.
    subscribed(&broker).await;
    let mut publisher = publishing(&broker, "d0", 1, TOTAL as usize);
    let http = Http::new(port.addr());
    let mut seen: Vec<u64> = Vec::new();
    let mut last_id = "earliest".to_owned();
    let mut kills = 0;
    while seen.last() != Some(&TOTAL) {
        let request = http
            .request(Method::GET, "/v1/devices/d0/downlinks")
            .header("accept", "text/event-stream")
            .header("last-event-id", &last_id);
        let Some(stream) = EventStream::try_open(request).await else {
            assert!(bridge.is_running(), "{:?}", bridge.stderr().all());
            let there = async || {
                http.request(Method::GET, "/openapi.json")
                    .send()
                    .await
                    .is_ok()
            };
            eventually("the bridge to answer", DEADLINE, there).await;
            continue;
        };
        let limit = if kills < KILLS { 300 } else { usize::MAX };
        let is_last = |event: &Event| event.json()["payload"] == TOTAL;
        let enough = |events: &[Event]| events.len() >= limit || events.last().is_some_and(is_last);
        let events = stream.events().wait_until_or_end(enough).await;
        seen.extend(numbers(&events));
        if let Some(event) = events.last() {
            last_id = event.id.clone().unwrap();
        }
        if kills < KILLS {
            kills += 1;
            bridge.kill9();
            bridge = run();
        }
    }
    assert!(publisher.exit().await.success());
    // What the broker was not told of is sent again: repeats begin anew somewhere behind, and leave no hole.
    let (mut highest, mut repeated) = (0, 0);
    for number in seen {
        assert!(number <= highest + 1, "{number} after {highest}");
        repeated += u64::from(number <= highest);
        highest = highest.max(number);
    }
    assert_eq!(highest, TOTAL);
    println!("{TOTAL} downlinks, {KILLS} kills, {repeated} repeated");
}
