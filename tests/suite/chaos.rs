//! Nothing is lost: uplinks through a network that breaks at random, a broker and a bridge that are killed at random, and
//! where the store is on one, a nats-server that is.
//!
//! Some 40 s in the suite for each store; `CAUSEWAY_CHAOS_SECONDS=600 tests/run chaos` for longer. The seed is printed, and
//! `CAUSEWAY_CHAOS_SEED` sets it.
//!
//! The observer is the broker's own log, which survives its death: it names the topic of each PUBLISH that it received,
//! and the topic names the message.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::harness::causeway::causeway;
use crate::harness::eventually::eventually;
use crate::harness::http::Http;
use crate::harness::mosquitto::Mosquitto;
#[cfg(feature = "nats")]
use crate::harness::nats::NatsServer;
use crate::harness::port::Port;
use crate::harness::program::Program;
use crate::harness::proxy::{Cut, Proxy, Stall};

const DEVICES: usize = 6;

/// How long everything may take to arrive once the network is whole again.
const RECOVERY: Duration = Duration::from_secs(120);

/// What one client was answered with 200 or 202, in the order of its requests.
#[derive(Default)]
struct Client {
    accepted: Vec<u32>,
    confirmed: usize,
    queued: usize,
    failed: usize,
    /// For clients that send an `Idempotency-Key`: the receipts that one key was answered with.
    receipts: HashMap<u32, HashSet<String>>,
}

struct Stage {
    broker: Mosquitto,
    /// What the broker logged in lives that are over.
    log: Vec<String>,
    proxy: Proxy,
    bridge: Program,
    port: Port,
    folder: TempDir,
    #[cfg(feature = "nats")]
    server: Option<NatsServer>,
}

impl Stage {
    async fn set(store: &str) -> Self {
        let broker = Mosquitto::builder().config("log_type all").start().await;
        let proxy = Proxy::start(broker.addr());
        let (port, folder) = (Port::reserve(), tempfile::tempdir().unwrap());
        let mut config = format!(
            "{store}[http]\nlisten = \"{}\"\n[management]\nlisten = \"127.0.0.1:0\"\n\
             [connectors.local]\nprofile = \"plain\"\nurl = \"mqtt://{}\"\n",
            port.addr(),
            proxy.addr()
        );
        for device in 0..DEVICES {
            config.push_str(&format!("[devices.d{device}]\nconnector = \"local\"\n"));
        }
        std::fs::write(folder.path().join("causeway.toml"), config).unwrap();
        let bridge = start_bridge(folder.path());
        let stage = Self {
            broker,
            log: Vec::new(),
            proxy,
            bridge,
            port,
            folder,
            #[cfg(feature = "nats")]
            server: None,
        };
        stage.wait_for_bridge().await;
        stage
    }

    fn http(&self) -> Http {
        Http::new(self.port.addr())
    }

    async fn wait_for_bridge(&self) {
        let http = self.http();
        eventually("the bridge to answer", RECOVERY, async || {
            http.request(Method::GET, "/v1/devices")
                .send()
                .await
                .is_ok()
        })
        .await;
    }

    /// One thing that goes wrong, and a while of it.
    async fn break_something(&mut self, random: &mut StdRng) {
        let short = Duration::from_millis(random.random_range(20..800));
        #[cfg(feature = "nats")]
        if let Some(server) = self.server.as_mut().filter(|_| random.random_ratio(1, 5)) {
            server.kill9();
            sleep(short).await;
            server.restart().await;
            return sleep(short).await;
        }
        match random.random_range(0..9) {
            0 => self.proxy.cut(Cut::Fin),
            1 => self.proxy.cut(Cut::Reset),
            2 => self.proxy.half_close(),
            3 => self
                .proxy
                .delay(Duration::from_millis(random.random_range(1..60))),
            4 => self.proxy.delay(Duration::ZERO),
            5 | 6 => {
                // A silent cut: no FIN, what is sent is gone.
                self.proxy.stall(if random.random() {
                    Stall::Swallow
                } else {
                    Stall::Hold
                });
                sleep(short * 4).await;
                self.proxy.cut(Cut::Reset);
                self.proxy.resume();
            }
            7 => {
                self.broker.kill9();
                self.log.extend(self.broker.log().wait_end().await);
                sleep(short).await;
                self.broker.restart().await;
            }
            _ => {
                self.bridge.kill9();
                sleep(short).await;
                self.bridge = start_bridge(self.folder.path());
            }
        }
        sleep(short).await;
    }

    fn heal(&self) {
        self.proxy.delay(Duration::ZERO);
        self.proxy.resume();
    }

    /// The messages that the broker received, by device, in its order.
    fn received(&self) -> BTreeMap<usize, Vec<u32>> {
        let mut received: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
        let lines = self.log.iter().cloned().chain(self.broker.log().all());
        for line in lines.filter(|line| line.contains("Received PUBLISH")) {
            let Some((_, topic)) = line.split_once("'devices/d") else {
                continue;
            };
            let Some((device, rest)) = topic.split_once("/up/") else {
                continue;
            };
            let Some((number, _)) = rest.split_once('\'') else {
                continue;
            };
            received
                .entry(device.parse().unwrap())
                .or_default()
                .push(number.parse().unwrap());
        }
        received
    }
}

impl Stage {
    /// What was accepted and has not reached the broker, by device.
    fn missing(&self, clients: &[Client]) -> BTreeMap<usize, Vec<u32>> {
        let received = self.received();
        let missing = clients.iter().enumerate().map(|(device, client)| {
            let seen: HashSet<_> = received.get(&device).into_iter().flatten().collect();
            let missing = client
                .accepted
                .iter()
                .filter(|number| !seen.contains(number));
            (device, missing.copied().collect::<Vec<_>>())
        });
        missing.filter(|(_, missing)| !missing.is_empty()).collect()
    }

    /// Says what there is to know of what is missing.
    async fn explain(&self, missing: &BTreeMap<usize, Vec<u32>>) {
        let lines = self.bridge.stderr().all();
        for line in &lines[lines.len().saturating_sub(60)..] {
            println!("bridge: {line}");
        }
        let received = self.received();
        for (device, missing) in missing {
            println!("d{device}: missing {missing:?}");
            println!(
                "d{device}: last received {:?}",
                received.get(device).and_then(|all| all.last())
            );
            let path = format!("/v1/devices/d{device}/session");
            match self.http().request(Method::GET, &path).send().await {
                Ok(answer) => println!("d{device}: {}", answer.text().await.unwrap_or_default()),
                Err(error) => println!("d{device}: {error}"),
            }
        }
    }
}

fn start_bridge(folder: &Path) -> Program {
    causeway(
        folder,
        &["serve", "--config", "causeway.toml"],
        &[("RUST_LOG", "causeway=info")],
    )
}

/// Posts to one device, one uplink after the other, until told to stop. With `keyed`, it repeats each one under its key
/// until it is accepted, as a careful client does; otherwise it goes on with the next. Every third device asks for every other
/// answer at once, so that both roads to the broker stand in one order (while the store cannot be used, that is answered 200 too).
async fn post_all(http: Http, device: usize, keyed: bool, done: Arc<AtomicBool>) -> Client {
    let mut client = Client::default();
    for number in 0.. {
        loop {
            if done.load(Ordering::Relaxed) {
                return client;
            }
            let path = format!("/v1/devices/d{device}/uplinks/{number}");
            let at_once = device % 3 == 2 && number % 2 == 0;
            let prefer = if at_once { "respond-async" } else { "wait=1" };
            let mut request = http
                .request(Method::POST, &path)
                .header("prefer", prefer)
                .body("x");
            if keyed {
                request = request.header("idempotency-key", format!("d{device}-{number}"));
            }
            let answer = match request.timeout(Duration::from_secs(20)).send().await {
                Ok(answer) => answer,
                Err(_) => {
                    client.failed += 1;
                    sleep(Duration::from_millis(20)).await;
                    if keyed { continue } else { break }
                }
            };
            let status = answer.status().as_u16();
            let body: serde_json::Value = answer.json().await.unwrap_or_default();
            if status == 200 || status == 202 {
                *if status == 200 {
                    &mut client.confirmed
                } else {
                    &mut client.queued
                } += 1;
                client.accepted.push(number);
                let id = body["id"].as_str().unwrap_or_default().to_owned();
                client.receipts.entry(number).or_default().insert(id);
                break;
            }
            client.failed += 1;
            sleep(Duration::from_millis(20)).await;
            if !keyed {
                break;
            }
        }
    }
    client
}

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_uplink_reaches_the_broker_in_order() {
    survive(async || Stage::set("").await).await;
}

#[cfg(feature = "nats")]
#[tokio::test(flavor = "multi_thread")]
async fn every_accepted_uplink_reaches_the_broker_in_order_by_way_of_nats() {
    survive(async || {
        let server = NatsServer::start().await;
        let mut stage = Stage::set(&server.store()).await;
        stage.server = Some(server);
        stage
    })
    .await;
}

async fn survive(set: impl AsyncFnOnce() -> Stage) {
    let seconds = setting("CAUSEWAY_CHAOS_SECONDS", 40);
    let seed = setting("CAUSEWAY_CHAOS_SEED", rand::random());
    println!("CAUSEWAY_CHAOS_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut stage = set().await;
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..DEVICES)
        .map(|device| {
            tokio::spawn(post_all(
                stage.http(),
                device,
                device % 2 == 1,
                Arc::clone(&done),
            ))
        })
        .collect();

    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        stage.break_something(&mut random).await;
    }
    stage.heal();
    stage.wait_for_bridge().await;
    done.store(true, Ordering::Relaxed);
    let mut results = Vec::new();
    for client in clients {
        results.push(client.await.unwrap());
    }

    let until = Instant::now() + RECOVERY;
    loop {
        let missing = stage.missing(&results);
        if missing.is_empty() {
            break;
        }
        if Instant::now() > until {
            stage.explain(&missing).await;
            panic!("not everything that was accepted has reached the broker within {RECOVERY:?}");
        }
        sleep(Duration::from_millis(50)).await;
    }

    let received = stage.received();
    let (mut total, mut repeats) = (0, 0);
    for (device, client) in results.iter().enumerate() {
        let seen = &received[&device];
        let mut first = HashSet::new();
        let order: Vec<_> = seen
            .iter()
            .filter(|number| first.insert(**number))
            .collect();
        assert!(order.is_sorted(), "d{device}: out of order: {order:?}");
        total += seen.len();
        repeats += seen.len() - order.len();
        for (number, receipts) in &client.receipts {
            assert_eq!(
                receipts.len(),
                1,
                "d{device}: {number} was accepted more than once"
            );
        }
    }
    let sum = |of: fn(&Client) -> usize| results.iter().map(of).sum::<usize>();
    println!(
        "chaos: {} s, {} confirmed (200), {} stored (202), {} failed; the broker received {total}, {repeats} of them again",
        seconds,
        sum(|c| c.confirmed),
        sum(|c| c.queued),
        sum(|c| c.failed),
    );
    assert!(sum(|c| c.confirmed) > 50, "hardly anything was confirmed");
    assert!(sum(|c| c.queued) > 0, "nothing had to be stored");
}
