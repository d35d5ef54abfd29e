//! Tokens that expire under a steady load: renewed in time, unnoticed by those who post.
//!
//! In the suite it takes 25 s. The long run, with figures:
//!
//! ```sh
//! CAUSEWAY_TEST_RENEWAL=long tests/run --test suite renewal -- --nocapture
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use crate::harness::bridge::TestBridge;
use crate::harness::demo::{Demo, Taken};
use crate::harness::http::Http;
use crate::harness::jwt;
use crate::harness::proxy::Proxy;

const DEVICES: [&str; 2] = ["demo-rsa", "demo-ec"];

/// Uplinks a second and device.
const RATE: u32 = 50;

/// How long each message takes to the broker, and its confirmation back: with it several are always under way.
const DELAY: Duration = Duration::from_millis(30);

struct Plan {
    /// Of a token, in seconds.
    lifetime: u32,
    /// How long uplinks are posted, in seconds.
    duration: u32,
    /// Of each device, at the least: a token is renewed after nine tenths of its life at the latest.
    renewals: u64,
}

impl Plan {
    fn asked_for() -> Self {
        let (lifetime, duration) = match std::env::var("CAUSEWAY_TEST_RENEWAL") {
            Ok(asked) => {
                assert_eq!(asked, "long", "CAUSEWAY_TEST_RENEWAL");
                (20, 120)
            }
            // A machine that is busy with other tests must have the seconds that are left to renew one.
            Err(_) => (20, 25),
        };
        Self {
            lifetime,
            duration,
            // The last one may be under way at the end.
            renewals: u64::from(duration * 10 / (lifetime * 9)),
        }
    }
}

/// One POST.
pub(super) struct Posted {
    pub(super) number: u64,
    began: Instant,
    answered: Instant,
    pub(super) status: u16,
    pub(super) answer: String,
}

/// Posts numbers from 0 at the rate, without waiting for answers.
pub(super) async fn post(http: Http, device: &'static str, count: u64) -> Vec<Posted> {
    let mut tick = interval(Duration::from_secs(1) / RATE);
    // A hiccup of the machine must not become a burst.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut posts = Vec::new();
    for number in 0..count {
        tick.tick().await;
        let http = http.clone();
        posts.push(tokio::spawn(async move {
            let path = format!("/v1/devices/{device}/uplinks");
            let began = Instant::now();
            let reply = http
                .post(&path, "application/json", number.to_string())
                .await;
            Posted {
                number,
                began,
                answered: Instant::now(),
                status: reply.status,
                answer: reply.text().to_owned(),
            }
        }));
    }
    let mut posted = Vec::new();
    for post in posts {
        posted.push(post.await.unwrap());
    }
    posted
}

/// Where each number came in the platform's order; panics unless each came exactly once.
pub(super) fn places(taken: &[Taken], count: u64) -> BTreeMap<u64, usize> {
    let mut places = BTreeMap::new();
    for (place, uplink) in taken.iter().enumerate() {
        let number = uplink.payload.as_u64().unwrap();
        let before = places.insert(number, place);
        assert_eq!(before, None, "{number} came twice");
    }
    let expected: Vec<u64> = (0..count).collect();
    let came: Vec<u64> = places.keys().copied().collect();
    assert_eq!(came, expected, "what came");
    places
}

/// What was answered before another was begun must have come before it.
pub(super) fn assert_in_order(device: &str, posted: &[Posted], places: &BTreeMap<u64, usize>) {
    let mut answered: Vec<_> = posted.iter().collect();
    answered.sort_by_key(|post| post.answered);
    let mut answered = answered.into_iter().peekable();
    let mut furthest = None;
    // They are listed as they were begun.
    for post in posted {
        while let Some(earlier) = answered.next_if(|earlier| earlier.answered <= post.began) {
            furthest = furthest.max(Some(places[&earlier.number]));
        }
        let number = post.number;
        assert!(
            furthest < Some(places[&number]),
            "{device}: {number} came too early"
        );
    }
}

fn report(device: &str, posted: &[Posted], session: &Value, tokens: usize) -> String {
    let mut times: Vec<_> = posted.iter().map(|p| p.answered - p.began).collect();
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (first, last) = (&posted[0], &posted[posted.len() - 1]);
    let seconds = (last.began - first.began).as_secs_f64();
    let mut text = String::new();
    write!(
        text,
        "{device}: {} uplinks in {seconds:.1} s ({:.1}/s), all 200, each exactly once and in order; \
         {tokens} tokens, {} renewals, {} repeated; answer times p50 {:?} p99 {:?} max {:?}",
        posted.len(),
        (posted.len() - 1) as f64 / seconds,
        session["counters"]["renewals"],
        session["counters"]["repeated"],
        at(0.5),
        at(0.99),
        at(1.0)
    )
    .unwrap();
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_under_load_without_anybody_noticing() {
    let plan = Plan::asked_for();
    let dir = TempDir::new().unwrap();
    let demo = Demo::start(dir.path()).await;
    let link = Proxy::start(demo.addr("mqtt"));
    link.capture();
    link.delay(DELAY);
    let mut config = format!(
        "[connectors.akenza]\nprofile = \"akenza-device\"\nurl = \"mqtt://{}\"\noverride.token.lifetime = \"{}s\"\n",
        link.addr(),
        plan.lifetime
    );
    for device in DEVICES {
        let file = demo.device(device)["private_key_file"].as_str().unwrap();
        writeln!(
            config,
            "[devices.{device}]\nconnector = \"akenza\"\nprivate_key_file = \"{file}\""
        )
        .unwrap();
    }
    let bridge = TestBridge::start(&config).await;

    let count = u64::from(RATE * plan.duration);
    let [rsa, ec] = DEVICES.map(|device| tokio::spawn(post(bridge.http.clone(), device, count)));
    let posted = [rsa.await.unwrap(), ec.await.unwrap()];

    // In this order: what has connected has shown a token.
    let sessions = [
        bridge.session(DEVICES[0]).await,
        bridge.session(DEVICES[1]).await,
    ];
    let tokens = jwt::find(&link.traffic().captured.unwrap());
    for ((device, posted), session) in DEVICES.iter().zip(&posted).zip(sessions) {
        for post in posted {
            assert_eq!(
                post.status, 200,
                "{device} {}: {}",
                post.number, post.answer
            );
        }
        let places = places(&demo.taken(device, 0).await, count);
        assert_in_order(device, posted, &places);

        let counters = &session["counters"];
        assert!(
            counters["renewals"].as_u64().unwrap() >= plan.renewals,
            "{session}"
        );
        assert_eq!(counters["delivered"], count, "{session}");
        assert_eq!(session["last_error"], Value::Null, "{session}");

        let audience = format!("https://akenza.io/devices/{device}");
        let issued: Vec<_> = tokens
            .iter()
            .filter(|token| token.claims["aud"] == audience)
            .map(|token| token.claims["iat"].as_u64().unwrap())
            .collect();
        let connects = counters["connects"].as_u64().unwrap();
        assert!(connects <= issued.len() as u64, "{connects}, {issued:?}");
        assert!(
            issued.is_sorted_by(|a, b| a < b),
            "not each is a fresh one: {issued:?}"
        );
        println!("{}", report(device, posted, &session, issued.len()));
    }
    assert_eq!(demo.refused().await, [Value::Null; 0]);
    bridge.stop().await;
}
