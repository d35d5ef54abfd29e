//! How much a token may do.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use super::{World, token};
use crate::harness::DEADLINE;
use crate::harness::eventually::eventually;
use crate::harness::http::Reply;

const PATH: &str = "/v1/devices/pump-1/downlinks";

/// The parameters of a `RateLimit` field: `"token";r=2;t=1`.
fn parameters<const N: usize>(reply: &Reply, field: &str, names: [&str; N]) -> [u64; N] {
    let value = reply.header(field);
    let rest = value
        .strip_prefix("\"token\"")
        .unwrap_or_else(|| panic!("{field}: {value:?}"));
    let mut rest = rest.split(';').skip(1);
    names.map(|name| {
        let (found, number) = rest.next().unwrap().split_once('=').unwrap();
        assert_eq!(found, name, "{value}");
        number.parse().unwrap()
    })
}

#[tokio::test]
async fn a_rate_is_told_and_kept() {
    let limited = token("limited", &["devices:read"], "rate = 2\nburst = 5");
    let unlimited = token("unlimited", &["devices:read"], "");
    let world = World::start(&format!("{limited}{unlimited}")).await;
    let mut left = 6;
    // Some come back meanwhile, and never as fast as they are used up.
    let refused = loop {
        let reply = world.as_("limited").get("/v1/devices").await;
        assert_eq!(parameters(&reply, "ratelimit-policy", ["q", "w"]), [5, 3]);
        let [r, t] = parameters(&reply, "ratelimit", ["r", "t"]);
        assert!(r < 5 && (1..=3).contains(&t), "{r} {t}");
        if reply.status == 429 {
            assert_eq!(r, 0);
            break reply;
        }
        assert_eq!(reply.status, 200, "{}", reply.text());
        left -= 1;
        assert!(left > -100, "nothing was refused");
    };
    let problem = refused.json();
    assert_eq!(problem["type"], "/docs#problem-rate-exceeded");
    let detail = problem["detail"].as_str().unwrap();
    assert!(
        detail.contains("2 requests a second, and 5 at once"),
        "{detail}"
    );
    assert_eq!(
        (refused.header("retry-after"), &problem["retryable"]),
        ("1", &true.into())
    );
    // It is no one else's matter, and passes.
    let other = world.as_("unlimited").get("/v1/devices").await;
    assert_eq!((other.status, other.header("ratelimit")), (200, ""));
    eventually("requests to be let through again", DEADLINE, async || {
        world.as_("limited").get("/v1/devices").await.status == 200
    })
    .await;
}

/// The one way to see a rate is time: it is a lower bound, which a slow machine keeps too.
#[tokio::test]
async fn a_batch_is_slowed_down_and_no_line_is_refused() {
    let limited = token("limited", &["uplink"], "rate = 4\nburst = 4");
    let world = World::start(&limited).await;
    let lines = "{\"device\":\"pump-1\",\"payload\":1}\n".repeat(12);
    let begun = Instant::now();
    let reply = world
        .as_("limited")
        .post("/v1/uplinks", "application/x-ndjson", lines)
        .await;
    let statuses = reply.text().lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["status"].as_u64().unwrap()
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [200; 12], "{}", reply.text());
    // The request and 12 lines; 4 come at once, and the last line is read before it is paid.
    let least = Duration::from_millis(250 * (1 + 12 - 4 - 1));
    assert!(begun.elapsed() >= least, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn only_so_many_requests_are_under_way_at_a_time() {
    let world = World::start(&token(
        "one",
        &["devices:read", "downlink"],
        "max_requests = 1",
    ))
    .await;
    let http = world.as_("one");
    let poll = http.request(Method::GET, &format!("{PATH}?wait=60"));
    let poll = tokio::spawn(poll.header("accept", "application/json").send());
    let busy = "/docs#problem-too-many-requests";
    eventually("a second request to be refused", DEADLINE, async || {
        let reply = http.get("/v1/devices").await;
        let refused = reply.status == 429;
        if refused {
            assert_eq!(reply.json()["type"], busy);
            assert!(
                reply.text().contains("1 requests under way"),
                "{}",
                reply.text()
            );
            assert_eq!(reply.header("retry-after"), "1");
        }
        refused
    })
    .await;
    // A client that goes away gives its place back.
    poll.abort();
    eventually("the next request to be let through", DEADLINE, async || {
        http.get("/v1/devices").await.status == 200
    })
    .await;
    // A stream is not a request.
    let _stream = http.events(PATH, None).await;
    assert_eq!(http.get("/v1/devices").await.status, 200);
}

#[tokio::test]
async fn only_so_many_streams_are_open_at_a_time() {
    let world = World::start(&token("one", &["downlink"], "max_streams = 1")).await;
    let http = world.as_("one");
    let stream = http.events(PATH, None).await;
    let reply = http.get(PATH).await;
    assert_eq!(reply.status, 429, "{}", reply.text());
    assert_eq!(reply.json()["type"], "/docs#problem-too-many-streams");
    assert!(reply.text().contains("1 streams open"), "{}", reply.text());
    assert_eq!(reply.header("retry-after"), "5");
    // A long poll is none.
    let poll = http.request(Method::GET, &format!("{PATH}?wait=0"));
    let poll = Reply::to(poll.header("accept", "application/json")).await;
    assert_eq!(poll.status, 200, "{}", poll.text());
    drop(stream);
    eventually("the next stream to be opened", DEADLINE, async || {
        let answer = http.request(Method::GET, PATH).send().await.unwrap();
        answer.status() == 200
    })
    .await;
}
