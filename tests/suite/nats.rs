//! A store on NATS JetStream: what the file's tests ask of it, and what is answered while the server is away.

use reqwest::Method;
use serde_json::Value;

use crate::harness::DEADLINE;
use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::causeway::{causeway, configure};
use crate::harness::certificates::Authority;
use crate::harness::eventually::eventually;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::nats::{NatsServer, Operator};
use crate::harness::port::Port;
use crate::harness::sse::{Event, EventStream};
use crate::harness::subscriber::Subscriber;

const DEVICE: &str = "/v1/devices/pump-1";

fn config(server: &NatsServer, broker: &Mosquitto) -> String {
    with_store(&server.store(), broker)
}

fn with_store(store: &str, broker: &Mosquitto) -> String {
    format!(
        "{store}[connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\nconnect = \"eager\"\n\
         [devices.pump-1]\nconnector = \"local\"\n",
        broker.addr()
    )
}

async fn post(http: &Http, prefer: &str, key: Option<&str>, payload: &str) -> Reply {
    let mut request = http.request(Method::POST, &format!("{DEVICE}/uplinks"));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    Reply::to(request.header("prefer", prefer).body(payload.to_owned())).await
}

async fn publish(broker: &Mosquitto, payload: &str) {
    let message = Message::new("devices/pump-1/down/n", payload);
    let published = broker.access().publish(&message).await;
    assert_eq!(published.puback, Some(0), "{published:?}");
}

/// The first downlinks of a stream, without what it says of the session.
async fn downlinks(listener: &EventStream, count: usize) -> Vec<Event> {
    let mut events = listener.wait_count(count).await;
    loop {
        let all = events.len();
        let downlinks = events.into_iter().filter(|event| event.event != "session");
        let downlinks: Vec<_> = downlinks.collect();
        if downlinks.len() >= count {
            return downlinks;
        }
        events = listener.wait_count(all + 1).await;
    }
}

async fn status_of(bridge: &TestBridge, id: &Value) -> String {
    let reply = bridge
        .http
        .get(&format!("/v1/uplinks/{}", id.as_str().unwrap()))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()["status"].as_str().unwrap().to_owned()
}

async fn until_readiness(bridge: &TestBridge, status: u16) {
    eventually("the readiness to change", DEADLINE, async || {
        bridge.management.get("/readyz").await.status == status
    })
    .await;
}

#[tokio::test]
async fn what_is_queued_outlives_a_server_that_is_killed_and_a_bridge_that_is_restarted() {
    let (mut server, mut broker) = (NatsServer::start().await, Mosquitto::start().await);
    let bridge = TestBridge::start(&config(&server, &broker)).await;
    bridge.until("pump-1", "connected").await;
    broker.kill9();
    bridge.until("pump-1", "backing_off").await;
    let mut ids = Vec::new();
    for number in 0..10 {
        let key = format!("key {number}");
        let reply = post(
            &bridge.http,
            "respond-async",
            Some(&key),
            &number.to_string(),
        )
        .await;
        assert_eq!(reply.status, 202, "{}", reply.text());
        ids.push(reply.json()["id"].clone());
    }
    server.kill9();
    server.restart().await;
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config(&server, &broker)).await;
    assert_eq!(bridge.session("pump-1").await["backlog"]["count"], 10);
    // The same request once more is the same uplink.
    let again = post(&bridge.http, "respond-async", Some("key 3"), "3").await;
    assert_eq!((again.status, &again.json()["id"]), (202, &ids[3]));
    broker.restart().await;
    let observer = Subscriber::start(&broker.access(), &["devices/#"]).await;
    for id in &ids {
        eventually("the uplink to be delivered", DEADLINE, async || {
            status_of(&bridge, id).await == "delivered"
        })
        .await;
    }
    let last = post(&bridge.http, "wait=30", None, "10").await;
    assert_eq!(last.status, 200, "{}", last.text());
    // The observer may have come behind the first of them.
    let seen = observer
        .wait_until("the last", |seen| seen.iter().any(|m| m.text() == "10"))
        .await;
    let seen: Vec<u32> = seen.iter().map(|m| m.text().parse().unwrap()).collect();
    assert!(seen.is_sorted(), "{seen:?}");
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config(&server, &broker)).await;
    assert_eq!(status_of(&bridge, &ids[0]).await, "delivered");
    assert_eq!(bridge.session("pump-1").await["backlog"]["count"], 0);
}

#[tokio::test]
async fn without_its_server_a_bridge_confirms_what_the_broker_does_and_takes_nothing_else() {
    let (mut server, mut broker) = (NatsServer::start().await, Mosquitto::start().await);
    let bridge = TestBridge::start(&config(&server, &broker)).await;
    bridge.until("pump-1", "connected").await;
    until_readiness(&bridge, 200).await;
    server.kill9();
    until_readiness(&bridge, 503).await;
    let confirmed = post(&bridge.http, "wait=30", None, "1").await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let keyed = post(&bridge.http, "wait=30", Some("a"), "2").await;
    assert_eq!(keyed.status, 503, "{}", keyed.text());
    broker.kill9();
    bridge.until("pump-1", "backing_off").await;
    let refused = post(&bridge.http, "wait=1", None, "3").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(!refused.header("retry-after").is_empty());
    assert_eq!(refused.json()["queued"], false);
    server.restart().await;
    let queued = loop {
        let reply = post(&bridge.http, "respond-async", None, "4").await;
        if reply.status == 202 {
            break reply;
        }
        // Until the bridge has found its server again.
        assert_eq!(reply.status, 503, "{}", reply.text());
    };
    broker.restart().await;
    eventually("the uplink to be delivered", DEADLINE, async || {
        status_of(&bridge, &queued.json()["id"]).await == "delivered"
    })
    .await;
    // The receipt of what was confirmed while the server was away is there now.
    assert_eq!(
        status_of(&bridge, &confirmed.json()["id"]).await,
        "delivered"
    );
}

#[tokio::test]
async fn downlinks_are_replayed_over_restarts_of_both() {
    let mut server = NatsServer::start().await;
    let broker = Mosquitto::builder().config("log_type all").start().await;
    let bridge = TestBridge::start(&config(&server, &broker)).await;
    broker.log().wait_for(" devices/pump-1/down/#").await;
    let path = format!("{DEVICE}/downlinks");
    let listener = bridge.http.events(&path, None).await;
    for number in 0..20 {
        publish(&broker, &number.to_string()).await;
    }
    let seen = downlinks(&listener, 20).await;
    server.kill9();
    until_readiness(&bridge, 503).await;
    // The broker keeps it: it is not told that it arrived.
    publish(&broker, "20").await;
    server.restart().await;
    let live = downlinks(&listener, 21).await;
    assert_eq!(live[20].json()["payload"], 20);
    let folder = bridge.stop().await;
    let bridge = TestBridge::start_in(folder, &config(&server, &broker)).await;
    let resumed = bridge.http.events(&path, seen[9].id.as_deref()).await;
    let resumed = downlinks(&resumed, 11).await;
    let ids = |events: &[Event]| {
        let ids = events.iter().map(|event| event.id.clone());
        ids.collect::<Vec<_>>()
    };
    assert_eq!(ids(&resumed[..11]), ids(&live[10..21]));
}

#[tokio::test]
async fn what_is_too_large_to_wait_is_confirmed_by_the_broker_or_said_to_be_too_large() {
    let (server, mut broker) = (NatsServer::start().await, Mosquitto::start().await);
    let bridge = TestBridge::with_http("max_body = 4194304", &config(&server, &broker)).await;
    bridge.until("pump-1", "connected").await;
    // max_payload is 1 MiB unless somebody says otherwise.
    let large = "x".repeat(2 * 1024 * 1024);
    let confirmed = post(&bridge.http, "wait=30", None, &large).await;
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    broker.kill9();
    bridge.until("pump-1", "backing_off").await;
    let refused = post(&bridge.http, "wait=1", None, &large).await;
    assert_eq!(refused.status, 413, "{}", refused.text());
    let problem = refused.json();
    assert_eq!(problem["queued"], false);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("1048576"), "{detail}");
    // It stands in nobody's way.
    let queued = post(&bridge.http, "respond-async", None, "small").await;
    assert_eq!(queued.status, 202, "{}", queued.text());
    assert_eq!(bridge.session("pump-1").await["backlog"]["count"], 1);
}

#[tokio::test]
async fn a_bridge_that_waits_for_its_server_ends_when_it_is_told_to() {
    let (nobody, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
    let store = format!("[store]\nurl = \"nats://{}\"\n", nobody.addr());
    configure(folder.path(), &store);
    let args = ["serve", "--config", "causeway.toml"];
    for signal in ["TERM", "INT"] {
        let mut bridge = causeway(folder.path(), &args, &[]);
        bridge.stderr().wait_for("cannot be opened yet").await;
        bridge.signal(signal);
        assert!(bridge.exit().await.success());
    }
}

/// Stores an uplink, and loses and finds the server meanwhile.
async fn is_usable(server: &mut NatsServer, store: &str) {
    let mut broker = Mosquitto::start().await;
    let bridge = TestBridge::start(&with_store(store, &broker)).await;
    broker.kill9();
    let until = async |status: u16| {
        eventually("the answer to change", DEADLINE, async || {
            let reply = post(&bridge.http, "respond-async", None, "x").await;
            reply.status == status
        })
        .await;
    };
    until(202).await;
    server.kill9();
    until(503).await;
    server.restart().await;
    until(202).await;
    let backlog = &bridge.session("pump-1").await["backlog"]["count"];
    assert!(backlog.as_u64() >= Some(2), "{backlog}");
    bridge.stop().await;
}

/// How a bridge with this store ends that cannot use it.
async fn refusal(store: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), store);
    let args = ["serve", "--config", "causeway.toml"];
    let mut bridge = causeway(folder.path(), &args, &[]);
    assert_eq!(bridge.exit().await.code(), Some(1));
    bridge.stderr().wait_end().await.join("\n")
}

#[tokio::test]
async fn a_server_with_tls_and_a_password_is_used_over_reconnects_and_refuses_another_password() {
    let authority = Authority::new("NATS CA");
    let identity = authority.server();
    let mut server = NatsServer::start_with(&format!(
        "tls {{ cert_file: {:?}, key_file: {:?} }}\n\
         authorization {{ users: [ {{ user: bridge, password: \"correct horse\" }} ] }}\n",
        identity.certificate_file, identity.key_file
    ))
    .await;
    let store = |password: &str| {
        format!(
            "[store]\nurl = \"tls://{}\"\nca_file = {:?}\nuser = \"bridge\"\npassword = \"{password}\"\n",
            server.addr(),
            authority.ca_file()
        )
    };
    let said = refusal(&store("battery staple")).await;
    assert!(said.contains("refuses the connection"), "{said}");
    assert!(!said.contains("battery"), "{said}");
    let store = store("correct horse");
    is_usable(&mut server, &store).await;
}

#[tokio::test]
async fn a_server_that_wants_credentials_is_used_with_those_of_a_file() {
    let operator = Operator::make();
    let mut server = NatsServer::start_with(&operator.config).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bridge.creds");
    std::fs::write(&file, &operator.credentials).unwrap();
    let address = server.addr();
    let store = |file: &std::path::Path| {
        format!("[store]\nurl = \"nats://{address}\"\ncredentials_file = {file:?}\n")
    };
    is_usable(&mut server, &store(&file)).await;
    let strangers = folder.path().join("stranger.creds");
    std::fs::write(&strangers, Operator::make().credentials).unwrap();
    let said = refusal(&store(&strangers)).await;
    assert!(said.contains("refuses the connection"), "{said}");
    assert!(!said.contains("eyJ") && !said.contains("SU"), "{said}");
}
