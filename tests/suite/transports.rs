//! Every way to a broker: WebSocket, TLS, a proxy, and all of them at once.

use tempfile::TempDir;

use crate::harness::access::Message;
use crate::harness::bridge::TestBridge;
use crate::harness::certificates::Authority;
use crate::harness::connect_proxy::ConnectProxy;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::subscriber::Subscriber;

const UPLINKS: &str = "/v1/devices/pump-1/uplinks";

/// A connector to `url` and a device on it.
fn plain(url: &str, more: &str) -> String {
    format!(
        "[connectors.local]\nprofile = \"plain\"\nurl = \"{url}\"\n{more}\n\
         [devices.pump-1]\nconnector = \"local\"\n"
    )
}

/// An uplink and a downlink, each longer than any frame or segment, and how often the broker took them.
async fn both_directions(broker: &Mosquitto, bridge: &TestBridge) {
    let observer = Subscriber::start(&broker.access(), &["devices/pump-1/up"]).await;
    let listener = bridge
        .http
        .events("/v1/devices/pump-1/downlinks", None)
        .await;
    let long = "0123456789abcdef".repeat(20_000);
    let reply = bridge.http.post(UPLINKS, "text/plain", long.clone()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(observer.wait_count(1).await[0].text(), long);

    let message = Message::new("devices/pump-1/down/set", long.clone());
    broker.access().publish(&message).await.accepted();
    let events = listener.events().wait_until("the downlink", |events| {
        events.iter().any(|event| event.event == "downlink")
    });
    let events = events.await;
    let downlink = events
        .iter()
        .find(|event| event.event == "downlink")
        .unwrap();
    assert_eq!(downlink.json()["payload"], long);
}

/// What a session says is wrong.
async fn trouble(bridge: &TestBridge) -> (String, String) {
    bridge.until("pump-1", "backing_off").await;
    let session = bridge.session("pump-1").await;
    let text = |key: &str| session["last_error"][key].as_str().unwrap().to_owned();
    (text("what"), text("hint"))
}

#[tokio::test]
async fn through_a_web_socket() {
    let broker = Mosquitto::builder().websockets().start().await;
    let url = format!("ws://{}/mqtt", broker.websockets_addr());
    both_directions(&broker, &TestBridge::start(&plain(&url, "")).await).await;
}

#[tokio::test]
async fn through_a_web_socket_over_tls_through_a_proxy_that_demands_a_password() {
    let authority = Authority::new("Plant CA");
    let server = authority.server_for("broker.example");
    let broker = Mosquitto::builder()
        .tls_with(&authority, server)
        .websockets();
    let broker = broker.start().await;
    // plant:let me through
    let proxy = ConnectProxy::demanding("cGxhbnQ6bGV0IG1lIHRocm91Z2g=");
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("password"), "let me through\n").unwrap();
    let addr = broker.tls_websockets_addr();
    let more = format!(
        "ca_file = {:?}\nserver_name = \"broker.example\"\nproxy = \"http://{}\"\n\
         proxy_username = \"plant\"\nproxy_password_file = \"password\"",
        authority.ca_file(),
        proxy.addr()
    );
    let config = plain(&format!("wss://{addr}"), &more);
    let bridge = TestBridge::start_in(folder, &config).await;
    both_directions(&broker, &bridge).await;
    assert_eq!(proxy.tunnels().all(), [addr.to_string()]);
}

#[tokio::test]
async fn through_a_proxy_without_encryption() {
    let broker = Mosquitto::start().await;
    let proxy = ConnectProxy::start();
    let more = format!("proxy = \"http://{}\"", proxy.addr());
    let url = format!("mqtt://{}", broker.addr());
    both_directions(&broker, &TestBridge::start(&plain(&url, &more)).await).await;
    assert_eq!(proxy.tunnels().all(), [broker.addr().to_string()]);
}

#[tokio::test]
async fn what_stands_in_the_way_is_told() {
    let broker = Mosquitto::builder().websockets().start().await;
    let proxy = ConnectProxy::demanding("eDp5");
    let eager = |url: String, more: &str| plain(&url, &format!("connect = \"eager\"\n{more}"));

    let through = format!("proxy = \"http://{}\"", proxy.addr());
    let config = eager(format!("mqtt://{}", broker.addr()), &through);
    let (message, hint) = trouble(&TestBridge::start(&config).await).await;
    assert!(
        message.contains("demands a user name and password (407)"),
        "{message}"
    );
    assert!(hint.contains("proxy_password_file"), "{hint}");

    // MQTT's own port is none for WebSocket.
    let config = eager(format!("ws://{}", broker.addr()), "");
    let (message, hint) = trouble(&TestBridge::start(&config).await).await;
    assert!(message.contains("no WebSocket on"), "{message}");
    assert!(hint.contains("the port is one for WebSocket"), "{hint}");
}
