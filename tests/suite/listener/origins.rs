//! Pages of other origins: what they may send, and what they see.

use reqwest::Method;

use super::{UPLINKS, start};
use crate::harness::http::Reply;

#[tokio::test]
async fn a_page_may_send_what_its_origin_may_and_see_what_it_needs() {
    let (_broker, bridge) = start("cors_origins = [\"https://plant.example\"]").await;
    let page =
        |method, path, origin: &str| bridge.http.request(method, path).header("origin", origin);
    let preflight = page(Method::OPTIONS, UPLINKS, "https://plant.example")
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "authorization,content-type",
        );
    let preflight = Reply::to(preflight).await;
    assert_eq!(preflight.status, 204);
    for (header, word) in [
        ("access-control-allow-methods", "POST"),
        ("access-control-allow-headers", "authorization"),
        ("access-control-allow-headers", "idempotency-key"),
    ] {
        assert!(preflight.header(header).contains(word), "{header}");
    }
    let send = |origin: &str| page(Method::POST, UPLINKS, origin).body("1");
    let sent = Reply::to(send("https://plant.example")).await;
    assert_eq!(sent.status, 200);
    assert_eq!(
        sent.header("access-control-allow-origin"),
        "https://plant.example"
    );
    assert!(
        sent.header("access-control-expose-headers")
            .contains("location")
    );
    let own = format!("http://{}", bridge.addr());
    assert_eq!(Reply::to(send(&own)).await.status, 200);
    let refused = Reply::to(send("https://evil.example")).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.header("access-control-allow-origin"), "");
    assert!(refused.text().contains("cors_origins"));
}
