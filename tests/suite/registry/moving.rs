//! A device that goes on to another session, or to other topics, in the middle of its work.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::*;
use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::eventually::eventually;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::Subscriber;

/// Changes of the device.
const MOVES: usize = 40;
/// Clients that post at the same time, each one uplink after the other.
const CLIENTS: usize = 6;

/// What was accepted, in its order, and how often it was asked to try again.
#[derive(Default)]
struct Accepted {
    numbers: Vec<usize>,
    confirmed: usize,
    queued: usize,
    turned_away: usize,
}

/// Posts one uplink after the other, now and then one that is stored first.
async fn work(http: Http, client: usize, done: Arc<AtomicBool>) -> Accepted {
    let mut accepted = Accepted::default();
    for number in 0.. {
        if done.load(Ordering::Relaxed) {
            break;
        }
        let prefer = match number % 7 {
            0 => "respond-async",
            _ => "wait=30",
        };
        let reply = post(&http, "pump", prefer, &format!("{client}-{number}")).await;
        match reply.status {
            200 => accepted.confirmed += 1,
            202 => accepted.queued += 1,
            _ => {
                problem(&reply, 503, "changing");
                accepted.turned_away += 1;
                continue;
            }
        }
        accepted.numbers.push(number);
    }
    accepted
}

/// A client's numbers in the order in which they came first: a repetition is allowed, another order is not.
fn first_seen(messages: &[Message], client: usize) -> Vec<usize> {
    let mut known = HashSet::new();
    let texts = messages
        .iter()
        .filter(|message| message.topic.contains("pump"));
    let numbers = texts.filter_map(|message| message.text().split_once('-'));
    let numbers = numbers.filter(|(of, _)| *of == client.to_string());
    let numbers = numbers.map(|(_, number)| number.parse().unwrap());
    numbers.filter(|number| known.insert(*number)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_moves_while_it_works_loses_nothing_and_keeps_its_order() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["#"]).await;
    let network = Proxy::start(broker.addr());
    // Long enough that there is always something on the way.
    network.delay(Duration::from_millis(8));
    let bridge = TestBridge::start(&config(network.addr())).await;
    created(&bridge.http, "pump", "own").await;
    let done = Arc::new(AtomicBool::new(false));
    let working: Vec<_> = (0..CLIENTS)
        .map(|client| tokio::spawn(work(bridge.http.clone(), client, Arc::clone(&done))))
        .collect();
    let forms = [
        json!({"connector": "local"}),
        json!({"connector": "own", "variables": {"uplink_prefix": "x/"}}),
        json!({"connector": "own", "variables": {"uplink_prefix": "y/", "username": "pump"}}),
        json!({"connector": "local", "variables": {"uplink_prefix": "z/"}}),
        json!({"connector": "own"}),
    ];
    for turn in 0..MOVES {
        let reply = put(&bridge.http, "pump", &forms[turn % forms.len()]).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        delivered(&bridge.http, "fixed", "another device works").await;
    }
    done.store(true, Ordering::Relaxed);
    for (client, work) in working.into_iter().enumerate() {
        let accepted = work.await.unwrap();
        assert!(accepted.confirmed > 0 && accepted.queued > 0);
        println!(
            "{} confirmed, {} queued, {} turned away",
            accepted.confirmed, accepted.queued, accepted.turned_away
        );
        let seen = || first_seen(&observer.messages(), client);
        eventually("everything that was accepted", DEADLINE, async || {
            let known: HashSet<_> = seen().into_iter().collect();
            accepted.numbers.iter().all(|number| known.contains(number))
        })
        .await;
        // One that was turned away may have been sent; it counts for nothing.
        let mut seen = seen();
        seen.retain(|number| accepted.numbers.binary_search(number).is_ok());
        assert_eq!(seen, accepted.numbers, "client {client}");
    }
}

#[tokio::test]
async fn what_is_stored_while_the_broker_is_away_moves_with_its_device() {
    let broker = Mosquitto::start().await;
    let observer = Subscriber::start(&broker.access(), &["#"]).await;
    let network = Proxy::start(broker.addr());
    network.refuse().await;
    let bridge = TestBridge::start(&config(network.addr())).await;
    created(&bridge.http, "pump", "own").await;
    // In the session's queue and in the store, then from the store, then still waited for.
    assert_eq!(post(&bridge.http, "pump", "wait=1", "0").await.status, 202);
    assert_eq!(
        post(&bridge.http, "pump", "respond-async", "1")
            .await
            .status,
        202
    );
    let waiting = post(&bridge.http, "pump", "wait=60", "2");
    let moving = async {
        eventually(
            "the third uplink to be in the queue",
            DEADLINE,
            async || bridge.session("pump").await["queued"] == 3,
        )
        .await;
        let form = json!({"connector": "local", "variables": {"uplink_prefix": "z/"}});
        let reply = put(&bridge.http, "pump", &form).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        network.admit();
    };
    let (waited, ()) = tokio::join!(waiting, moving);
    let mut expected = vec!["0", "1"];
    match waited.status {
        202 => expected.push("2"),
        // It was behind the others in the queue alone, and has lost its place with the session.
        _ => drop(problem(&waited, 503, "changing")),
    }
    delivered(&bridge.http, "pump", "3").await;
    expected.push("3");
    let seen = observer.wait_count(expected.len()).await;
    let seen: Vec<_> = seen.iter().map(|m| (m.topic.as_str(), m.text())).collect();
    let expected: Vec<_> = expected
        .into_iter()
        .map(|text| ("z/pump/up", text))
        .collect();
    assert_eq!(seen, expected);
}
