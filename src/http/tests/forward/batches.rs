//! The lines of one batch go to the members that have their devices.

use std::time::Duration;

use serde_json::{Value, json};

use super::{PATIENT, SHORT, delivered, soon};
use crate::http::tests::client::send;
use crate::http::tests::cluster::{Cluster, lock};
use crate::session::Detached;

fn lines(body: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(body).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn a_batch_reaches_every_member_and_keeps_each_devices_order() {
    let cluster = Cluster::start(3).await;
    let devices = ["pump", "valve", "tank"];
    let mut sessions: Vec<_> = (0..3).map(|at| cluster.device(devices[at], at)).collect();
    let mut body = String::new();
    for number in 0..60 {
        let device = devices[number % 3];
        body += &format!("{{\"device\":\"{device}\",\"payload\":{number},\"id\":{number}}}\n");
    }
    body += "{\"device\":\"nobody\",\"payload\":1,\"id\":\"x\"}\n";
    let headers = format!("Content-Type: application/x-ndjson\r\n{PATIENT}");
    let at = cluster.bridges[0].address;
    let post = send(at, "POST /v1/uplinks", &headers, body.as_bytes());
    let settle = async |session: &mut Detached| {
        let mut payloads = Vec::new();
        for _ in 0..20 {
            let publish = soon(session.settle(delivered())).await;
            payloads.push(String::from_utf8(publish.payload.to_vec()).unwrap());
        }
        payloads
    };
    let [one, two, three] = &mut sessions[..] else {
        panic!("there are three");
    };
    let (answer, one, two, three) = tokio::join!(post, settle(one), settle(two), settle(three));
    for (first, payloads) in [one, two, three].iter().enumerate() {
        let expected: Vec<_> = (0..20).map(|n| (first + 3 * n).to_string()).collect();
        assert_eq!(*payloads, expected);
    }
    let results = lines(&answer.body);
    assert_eq!(results.len(), 61);
    for (number, result) in results[..60].iter().enumerate() {
        assert_eq!(result["status"], 200, "{result}");
        assert_eq!(
            (&result["line"], &result["ref"]),
            (&json!(number + 1), &json!(number))
        );
        assert_eq!(result["receipt"]["device"], devices[number % 3]);
        assert_eq!(result["receipt"]["status"], "delivered");
    }
    let unknown = &results[60];
    assert_eq!(
        (&unknown["status"], &unknown["ref"]),
        (&json!(404), &json!("x"))
    );
    assert_eq!(unknown["problem"]["type"], "/docs#problem-unknown-device");
    // The results have the same form, wherever they come from.
    let form = |result: &Value| {
        let all = result.as_object().unwrap().keys().cloned();
        let receipt = result["receipt"].as_object().unwrap().keys().cloned();
        all.chain(receipt).collect::<Vec<_>>()
    };
    assert_eq!(form(&results[0]), form(&results[1]));
}

#[tokio::test]
async fn a_batch_keeps_a_devices_order_while_it_moves() {
    let cluster = Cluster::start(3).await;
    let mut first = cluster.device("pump", 1);
    let body: String = (0..20)
        .map(|number| format!("{{\"device\":\"pump\",\"payload\":{number},\"key\":null}}\n"))
        .collect();
    let headers = format!("Content-Type: application/x-ndjson\r\n{PATIENT}");
    let at = cluster.bridges[0].address;
    let post =
        tokio::spawn(async move { send(at, "POST /v1/uplinks", &headers, body.as_bytes()).await });
    let mut payloads = Vec::new();
    let mut note = |publish: crate::session::Publish| {
        payloads.push(String::from_utf8(publish.payload.to_vec()).unwrap());
    };
    for _ in 0..7 {
        note(soon(first.settle(delivered())).await);
    }
    // It comes here, where several go side by side, and goes on.
    let mut second = cluster.moves("pump", 1, 0);
    // One was on its way there already, and is answered there.
    drop(first);
    for _ in 0..6 {
        note(soon(second.settle(delivered())).await);
    }
    let mut third = cluster.moves("pump", 0, 2);
    drop(second);
    let results = async {
        while !post.is_finished() {
            let settled =
                tokio::time::timeout(Duration::from_millis(50), third.settle(delivered()));
            if let Ok(publish) = settled.await {
                note(publish);
            }
        }
        post.await.unwrap()
    };
    let answer = results.await;
    let results = lines(&answer.body);
    assert_eq!(results.len(), 20);
    // Whatever was confirmed was published in the order of the lines.
    let numbers: Vec<u32> = payloads.iter().map(|text| text.parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    for (number, result) in results.iter().enumerate() {
        let taken = numbers.contains(&(number as u32));
        assert_eq!(result["status"] == 200, taken, "{result} {numbers:?}");
    }
}

#[tokio::test]
async fn a_batch_does_not_wait_for_each_line_of_a_device_that_nobody_has() {
    let cluster = Cluster::start(2).await;
    let _session = cluster.device("pump", 1);
    cluster.place("pump", None);
    let body = "{\"device\":\"pump\",\"payload\":1}\n".repeat(200);
    let headers = format!("Content-Type: application/x-ndjson\r\n{SHORT}");
    let at = cluster.bridges[0].address;
    let answer = send(at, "POST /v1/uplinks", &headers, body.as_bytes());
    // Not 200 waits of a second.
    let answer = tokio::time::timeout(Duration::from_secs(60), answer)
        .await
        .unwrap();
    let results = lines(&answer.body);
    assert_eq!(results.len(), 200);
    assert!(results.iter().all(|result| result["status"] == 202));
    let receipt = results[0]["receipt"]["id"].as_str().unwrap();
    assert_eq!(results[0]["location"], format!("/v1/uplinks/{receipt}"));
    // The first of them have waited in vain, and those that came later know.
    let shelf = lock(&cluster.net.shelf);
    assert_eq!(shelf.len(), 200);
    let known = shelf.iter().filter(|(_, wishes)| wishes.respond_async);
    assert!(known.count() >= 100);
}
