//! What ends when a token expires, is removed or changed, and what goes on.

use std::time::{Duration, SystemTime};

use reqwest::Body;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{TAIL, World, token};
use crate::harness::DEADLINE;
use crate::harness::sse::EventStream;

const PATH: &str = "/v1/devices/pump-1/downlinks";

async fn listen(world: &World, name: &str) -> EventStream {
    world.as_(name).events(PATH, None).await
}

fn downlink(name: &str) -> String {
    token(name, &["downlink", "uplink"], "")
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_removed_or_changed_and_no_other_does() {
    let names = ["kept", "removed", "changed", "renamed"];
    let tokens: String = names.map(downlink).concat();
    let world = World::start(&tokens).await;
    let mut streams = Vec::new();
    for name in names {
        streams.push(listen(&world, name).await);
    }
    let in_query = format!("{PATH}?access_token=removed{TAIL}");
    let browser = world.bridge.http.events(&in_query, None).await;

    let changed = token("changed", &["downlink"], "");
    let renamed = downlink("renamed").replace("tokens.renamed", "tokens.other");
    world
        .bridge
        .replace_access(&format!("{}{changed}{renamed}", downlink("kept")));
    for stream in streams.iter().skip(1).chain([&browser]) {
        stream.wait_end().await;
    }
    // The one that is kept still gets what comes.
    let access = crate::harness::access::Access::new(world._broker.addr());
    let message = crate::harness::access::Message::new("devices/pump-1/down/x", "1");
    access.publish(&message).await.accepted();
    assert_eq!(streams[0].wait_count(1).await.len(), 1);
    assert_eq!(world.as_("removed").get(PATH).await.status, 401);
    drop(listen(&world, "changed").await);
    drop(listen(&world, "renamed").await);

    // Without any tokens, and with some again.
    world.bridge.replace_access("");
    streams[0].wait_end().await;
    let anybody = world.bridge.http.events(PATH, None).await;
    world.bridge.replace_access(&tokens);
    anybody.wait_end().await;
    assert_eq!(world.bridge.http.get(PATH).await.status, 401);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    // Long enough for the stream to be opened, on a slow machine too.
    let expires = SystemTime::now() + Duration::from_secs(5);
    let expires = humantime::format_rfc3339_millis(expires);
    let world = World::start(&token(
        "brief",
        &["downlink"],
        &format!("expires = {expires}"),
    ))
    .await;
    let stream = listen(&world, "brief").await;
    let poll = world.as_("brief");
    let poll = poll.request(reqwest::Method::GET, &format!("{PATH}?wait=60"));
    let poll = poll.header("accept", "application/json").send();
    let (_, poll) = tokio::join!(stream.wait_end(), timeout(DEADLINE, poll));
    // It was let in, and told what there was.
    assert_eq!(poll.unwrap().unwrap().status(), 200);
    let reply = world.as_("brief").get(PATH).await;
    assert_eq!(reply.status, 401);
    let detail = reply.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("brief expired at 20"), "{detail}");
}

#[tokio::test]
async fn a_batch_ends_with_a_word_when_its_token_is_removed() {
    let world = World::start(&downlink("batch")).await;
    let (sender, receiver) = mpsc::channel::<&'static str>(1);
    let lines = futures_util::stream::unfold(receiver, async |mut receiver| {
        let line = receiver.recv().await?;
        Some((Ok::<_, std::io::Error>(line), receiver))
    });
    let http = world.as_("batch");
    let request = http.request(reqwest::Method::POST, "/v1/uplinks");
    let request = request.header("content-type", "application/x-ndjson");
    let mut answer = request.body(Body::wrap_stream(lines)).send().await.unwrap();
    let line = "{\"device\":\"pump-1\",\"payload\":1}\n";
    sender.send(line).await.unwrap();
    let first = answer.chunk().await.unwrap().unwrap();
    let first: Value = serde_json::from_slice(&first).unwrap();
    assert_eq!(first["status"], 200, "{first}");

    world.bridge.replace_access(&downlink("other"));
    let last = timeout(DEADLINE, answer.chunk())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let last: Value = serde_json::from_slice(&last).unwrap();
    assert_eq!(
        (&last["line"], &last["status"]),
        (&Value::from(2), &Value::from(401))
    );
    drop(sender);
    assert_eq!(
        timeout(DEADLINE, answer.chunk()).await.unwrap().unwrap(),
        None
    );
}
