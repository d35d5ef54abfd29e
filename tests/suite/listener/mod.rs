//! The main listener as its clients meet it.

mod certificates;
mod limits;
mod origins;
mod protocols;

use reqwest::{ClientBuilder, Method, Response};
use tokio::time::timeout;

use crate::harness::DEADLINE;
use crate::harness::bridge::{TestBridge, pump};
use crate::harness::certificates::Identity;
use crate::harness::http::{Http, Reply};
use crate::harness::mosquitto::Mosquitto;

const UPLINKS: &str = "/v1/devices/pump-1/uplinks";
const DOWNLINKS: &str = "/v1/devices/pump-1/downlinks";

/// A bridge with one device, and these lines under `[http]`.
async fn start(http: &str) -> (Mosquitto, TestBridge) {
    let broker = Mosquitto::start().await;
    let bridge = TestBridge::with_http(http, &pump(broker.addr())).await;
    (broker, bridge)
}

/// The same over HTTPS, with `client` as its client.
async fn start_secure(
    server: &Identity,
    more: &str,
    client: ClientBuilder,
) -> (Mosquitto, TestBridge) {
    let (broker, mut bridge) = start(&(certificate(server) + more)).await;
    bridge.http = Http::secure(bridge.addr(), client);
    (broker, bridge)
}

fn certificate(server: &Identity) -> String {
    let Identity {
        certificate_file,
        key_file,
    } = server;
    format!("tls_certificate_file = {certificate_file:?}\ntls_key_file = {key_file:?}\n")
}

async fn posted(http: &Http) -> Reply {
    http.post(UPLINKS, "text/plain", "1").await
}

/// An open stream of downlinks.
async fn listen(http: &Http) -> Response {
    let request = http.request(Method::GET, DOWNLINKS);
    let response = request.header("accept", "text/event-stream").send().await;
    let response = response.unwrap();
    assert_eq!(response.status(), 200);
    response
}

/// Reads until `text` has come.
async fn until(stream: &mut Response, text: &str) {
    let mut read = String::new();
    while !read.contains(text) {
        let chunk = timeout(DEADLINE, stream.chunk()).await;
        let chunk = chunk.expect(text).unwrap();
        let chunk = chunk.unwrap_or_else(|| panic!("the stream ended: {read}"));
        read += &String::from_utf8_lossy(&chunk);
    }
}

/// Reads to the end, which must be one, and no break.
async fn until_the_end(mut stream: Response) {
    let rest = async { while stream.chunk().await.unwrap().is_some() {} };
    timeout(DEADLINE, rest).await.expect("the stream's end");
}
