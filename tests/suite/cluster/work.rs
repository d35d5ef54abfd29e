//! Clients that post to any replica, and what the broker has seen of it.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt;
use reqwest::Method;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::settings::{RECOVERY, pause, uplinks};
use super::stage::Stage;
use crate::harness::eventually::eventually;
use crate::harness::http::Http;

/// How long a client waits for an answer before it asks another replica.
const PATIENCE: Duration = Duration::from_secs(8);

/// What the client of one device was answered.
#[derive(Default)]
pub(super) struct Answered {
    /// Numbers that were answered with 200 or 202, in the order of the requests.
    pub(super) accepted: Vec<u32>,
    pub(super) confirmed: usize,
    pub(super) queued: usize,
    /// Other answers, and none: each was tried again.
    pub(super) failed: BTreeMap<String, usize>,
    /// The longest time from a request to its answer, tries included.
    pub(super) longest: Duration,
}

/// Clients at work, one for each device.
pub(super) struct Work {
    progress: Arc<Progress>,
    clients: Vec<JoinHandle<Answered>>,
}

/// How far the clients are.
struct Progress {
    /// They are to end.
    done: AtomicBool,
    /// How many uplinks of each were answered with 200 or 202.
    answered: Vec<AtomicU64>,
}

impl Work {
    /// Each device's numbers from 0, one after the other, each to a replica by chance.
    pub(super) fn start(stage: &Stage, devices: usize) -> Self {
        let progress = Arc::new(Progress {
            done: AtomicBool::new(false),
            answered: (0..devices).map(|_| AtomicU64::new(0)).collect(),
        });
        let doors: Arc<[Http]> = stage.doors().into();
        let clients = (0..devices).map(|device| {
            let client = post_all(Arc::clone(&doors), device, Arc::clone(&progress));
            tokio::spawn(client)
        });
        Self {
            clients: clients.collect(),
            progress,
        }
    }

    /// Waits until some more uplinks of each device have been answered.
    pub(super) async fn goes_on(&self) {
        let answered = || {
            let answered = self.progress.answered.iter();
            answered.map(|count| count.load(Ordering::Relaxed))
        };
        let goal: Vec<_> = answered().map(|count| count + uplinks()).collect();
        let deadline = RECOVERY + pause() * u32::try_from(uplinks()).unwrap();
        eventually("every client to be answered again", deadline, async || {
            answered().zip(&goal).all(|(count, goal)| count >= *goal)
        })
        .await;
    }

    /// Lets the clients finish, and checks that what was answered has arrived, in its order.
    pub(super) async fn finish(self, stage: &Stage) {
        self.progress.done.store(true, Ordering::Relaxed);
        let mut answered = Vec::new();
        for client in self.clients {
            answered.push(client.await.unwrap());
        }
        let until = Instant::now() + RECOVERY;
        loop {
            let missing = missing(stage, &answered);
            if missing.is_empty() {
                break;
            }
            if Instant::now() >= until {
                stage.tell("");
                panic!("answered and not at the broker: {missing:?}");
            }
            sleep(Duration::from_millis(100)).await;
        }
        let received = received(stage);
        let mut repeats = 0;
        for (device, client) in answered.iter().enumerate() {
            let Some(seen) = received.get(&device) else {
                continue;
            };
            let mut known = HashSet::new();
            let first: Vec<_> = seen.iter().filter(|n| known.insert(**n)).collect();
            repeats += seen.len() - first.len();
            if !first.is_sorted() {
                stage.tell(&format!("devices/d{device}/up/"));
                panic!("d{device}, {} stored: {first:?}", client.queued);
            }
        }
        let sum = |of: fn(&Answered) -> usize| answered.iter().map(of).sum::<usize>();
        let mut failed: BTreeMap<&str, usize> = BTreeMap::new();
        for (why, times) in answered.iter().flat_map(|client| &client.failed) {
            *failed.entry(why).or_default() += times;
        }
        let longest = answered
            .iter()
            .map(|client| client.longest)
            .max()
            .unwrap_or_default();
        println!(
            "{} devices: {} confirmed, {} stored, tried again {failed:?}, {repeats} came again; the longest wait for an \
             answer {longest:?}",
            answered.len(),
            sum(|client| client.confirmed),
            sum(|client| client.queued),
        );
        assert!(sum(|client| client.confirmed) > 0);
    }
}

async fn post_all(doors: Arc<[Http]>, device: usize, progress: Arc<Progress>) -> Answered {
    let mut answered = Answered::default();
    let keyed = device % 2 == 1;
    for number in 0.. {
        let began = Instant::now();
        loop {
            if progress.done.load(Ordering::Relaxed) {
                return answered;
            }
            let door = &doors[rand::rng().random_range(0..doors.len())];
            let path = format!("/v1/devices/d{device}/uplinks/{number}");
            let at_once = device % 3 == 2 && number % 2 == 0;
            let prefer = if at_once { "respond-async" } else { "wait=5" };
            let mut request = door.request(Method::POST, &path).header("prefer", prefer);
            if keyed {
                request = request.header("idempotency-key", format!("d{device}-{number}"));
            }
            let why = match request.body("x").timeout(PATIENCE).send().await {
                Ok(answer) => match answer.status().as_u16() {
                    200 => {
                        answered.confirmed += 1;
                        break;
                    }
                    202 => {
                        answered.queued += 1;
                        break;
                    }
                    status => {
                        let body: serde_json::Value = answer.json().await.unwrap_or_default();
                        format!("{status} {}", body["type"])
                    }
                },
                Err(error) if error.is_timeout() => "no answer".to_owned(),
                Err(_) => "no connection".to_owned(),
            };
            *answered.failed.entry(why).or_default() += 1;
            sleep(Duration::from_millis(50)).await;
        }
        answered.longest = answered.longest.max(began.elapsed());
        answered.accepted.push(number);
        progress.answered[device].fetch_add(1, Ordering::Relaxed);
        sleep(pause()).await;
    }
    answered
}

/// What was answered and has not reached the broker, by device.
fn missing(stage: &Stage, answered: &[Answered]) -> BTreeMap<usize, Vec<u32>> {
    let received = received(stage);
    let of_device = |(device, client): (usize, &Answered)| {
        let seen: HashSet<_> = received.get(&device).into_iter().flatten().collect();
        let mut accepted = client.accepted.clone();
        accepted.retain(|number| !seen.contains(number));
        (!accepted.is_empty()).then_some((device, accepted))
    };
    answered.iter().enumerate().filter_map(of_device).collect()
}

/// The numbers that the broker received, by device, in its order.
fn received(stage: &Stage) -> BTreeMap<usize, Vec<u32>> {
    let mut received: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for line in stage.broker.log().all() {
        if !line.contains("Received PUBLISH") {
            continue;
        }
        let number = || {
            let (_, topic) = line.split_once("'devices/d")?;
            let (device, rest) = topic.split_once("/up/")?;
            let (number, _) = rest.split_once('\'')?;
            Some((device.parse().ok()?, number.parse().ok()?))
        };
        if let Some((device, number)) = number() {
            received.entry(device).or_default().push(number);
        }
    }
    received
}

/// Waits until a device's session is connected, by the word of any replica.
pub(super) async fn connected(stage: &Stage, device: usize) {
    let path = format!("/v1/devices/d{device}/session");
    let doors = stage.doors();
    eventually("a device to be connected", RECOVERY, async || {
        let answer = doors[device % doors.len()].get(&path).await;
        answer.status == 200 && answer.json()["state"] == "connected"
    })
    .await;
}
