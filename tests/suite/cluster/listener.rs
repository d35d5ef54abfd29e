//! Listeners that go on at another replica when theirs ends, and what they must see.

use std::process::Command;

use tokio::task::JoinHandle;

use super::settings::RECOVERY;
use super::stage::Stage;
use crate::harness::access::INSTALL_MOSQUITTO;
use crate::harness::http::Http;
use crate::harness::program::Program;
use crate::harness::sse::EventStream;

/// Listens to one device until the number `last` has come.
pub(super) struct Listener(JoinHandle<Vec<u64>>);

impl Listener {
    /// Begins at one replica, and listens when this resolves.
    pub(super) async fn start(stage: &Stage, device: usize, first: usize, last: u64) -> Self {
        let doors = stage.doors();
        let path = format!("/v1/devices/d{device}/downlinks");
        let stream = doors[first].events(&path, None).await;
        Self(tokio::spawn(follow(doors, first, path, stream, last)))
    }

    /// Waits until everything has come: every number from 1 on, in order. Some may come again.
    pub(super) async fn finish(self, last: u64) {
        let seen = tokio::time::timeout(RECOVERY, self.0).await;
        let seen = seen.expect("all downlinks in time").unwrap();
        let mut expected = 1;
        for number in seen {
            assert!(
                number <= expected,
                "{number} came where {expected} was to come"
            );
            expected = expected.max(number + 1);
        }
        assert_eq!(expected, last + 1);
    }
}

async fn follow(
    doors: Vec<Http>,
    mut door: usize,
    path: String,
    first: EventStream,
    last: u64,
) -> Vec<u64> {
    let (mut seen, mut cursor) = (Vec::new(), None);
    let mut stream = Some(first);
    loop {
        let Some(open) = stream.take() else {
            door = (door + 1) % doors.len();
            let mut request = doors[door].request(reqwest::Method::GET, &path);
            request = request.header("accept", "text/event-stream");
            if let Some(cursor) = &cursor {
                request = request.header("last-event-id", cursor);
            }
            stream = EventStream::try_open(request).await;
            if stream.is_none() {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            continue;
        };
        let mut read = 0;
        loop {
            let events = open
                .events()
                .wait_until_or_end(|events| events.len() > read)
                .await;
            for event in &events[read..] {
                assert_ne!(event.event, "gap", "{event:?}");
                if let Some(id) = &event.id {
                    cursor = Some(id.clone());
                }
                if event.event == "downlink" {
                    let number = event.json()["payload"].as_u64().unwrap();
                    seen.push(number);
                    if number == last {
                        return seen;
                    }
                }
            }
            if events.len() == read {
                break;
            }
            read = events.len();
        }
    }
}

/// Publishes the numbers from 1 to `last` to a device, one each few milliseconds.
pub(super) fn publishing(stage: &Stage, device: usize, last: u64) -> Program {
    let pipe = format!(
        "i=0; while [ $i -lt {last} ]; do i=$((i+1)); echo $i; sleep 0.05; done | \
         mosquitto_pub -h 127.0.0.1 -p {} -q 1 -l -t devices/d{device}/down/n",
        stage.broker.addr().port()
    );
    Program::start(Command::new("sh").args(["-c", &pipe]), INSTALL_MOSQUITTO)
}
