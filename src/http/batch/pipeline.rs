//! A bounded number of uplinks under way, in the order of their lines.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use futures_util::future::{Either, select};
use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::line::{self, Wanted};
use super::output::Output;
use super::result::LineResult;
use super::road::Road;
use super::source::{Next, Source};
use crate::access::Caller;
use crate::device::DeviceId;
use crate::http::forward::Delivered;
use crate::http::problem::{Kind, Problem};
use crate::uplink::Wishes;

/// Uplinks of one request that are under way: enough to fill a link, and to share a write to the disk.
const IN_FLIGHT: usize = 64;
/// Bytes of their payloads; one more is taken below this.
const IN_FLIGHT_BYTES: usize = 4 * 1024 * 1024;

/// Takes lines from a source, delivers them, and writes what becomes of them.
pub(super) struct Pipeline {
    road: Road,
    caller: Caller,
    wishes: Wishes,
    traceparent: Option<Box<str>>,
    output: Output,
    in_flight: FuturesOrdered<Delivery>,
    bytes: usize,
    /// The line that was read last is not within the token's rate yet: no other one is read before this moment.
    owing: Option<Instant>,
    /// Devices whose broker did not confirm in time: as long as something waits before them, waiting anew for each
    /// further line would only hold up the rest. Since then.
    behind: HashMap<DeviceId, Instant>,
}

type Delivery = Pin<Box<dyn Future<Output = Done> + Send>>;

struct Done {
    result: LineResult,
    bytes: usize,
}

enum Event {
    Done(Done),
    Next(Next),
    Shutdown,
    /// The token expired, or was removed.
    CallerOver,
    /// The rate may let another line through.
    Due,
    /// Nothing comes any more, and nothing is under way.
    End,
}

impl Pipeline {
    /// `wishes` are for each line.
    pub(super) fn new(
        road: Road,
        caller: Caller,
        wishes: Wishes,
        traceparent: Option<Box<str>>,
        output: Output,
    ) -> Self {
        Self {
            road,
            caller,
            wishes,
            traceparent,
            output,
            in_flight: FuturesOrdered::new(),
            bytes: 0,
            owing: None,
            behind: HashMap::new(),
        }
    }

    /// Runs until the source ends or the program does, and everything that was taken is answered.
    pub(super) async fn run(mut self, mut source: Source, shutdown: CancellationToken) {
        let (mut reading, mut cut_short) = (true, false);
        let mut over = pin!(self.caller.over());
        let mut until = async || {
            tokio::select! {
                () = shutdown.cancelled() => Event::Shutdown,
                () = &mut over => Event::CallerOver,
            }
        };
        loop {
            let now = self.event(&mut source, reading, until()).now_or_never();
            let event = match now {
                Some(event) => event,
                None => {
                    self.output.flush().await;
                    self.event(&mut source, reading, until()).await
                }
            };
            match event {
                Event::Done(done) => self.done(done).await,
                Event::Next(Next::Text(line, text)) => {
                    self.submit(line, &text).await;
                    self.pay();
                }
                Event::Due => self.pay(),
                Event::Next(Next::Refused(line, problem)) => self.refuse(line, problem),
                Event::Next(Next::Broken(line, problem)) => {
                    self.refuse(line, problem);
                    reading = false;
                }
                Event::Next(Next::End) => reading = false,
                Event::Shutdown => {
                    self.refuse(source.position(), closing());
                    (reading, cut_short) = (false, true);
                }
                Event::CallerOver => {
                    self.refuse(source.position(), caller_over());
                    (reading, cut_short) = (false, true);
                }
                Event::End => break,
            }
        }
        if cut_short {
            self.output.flush().await;
            source.drain().await;
        }
        self.output.finish().await;
    }

    /// What happens next; `until` ends the reading. Cancel-safe.
    async fn event(
        &mut self,
        source: &mut Source,
        reading: bool,
        until: impl Future<Output = Event>,
    ) -> Event {
        let room = self.in_flight.len() < IN_FLIGHT && self.bytes < IN_FLIGHT_BYTES;
        let owing = self.owing;
        let due = async {
            match owing {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(done) = self.in_flight.next() => Event::Done(done),
            // Before the source, which may never have nothing.
            end = until, if reading => end,
            () = due, if reading => Event::Due,
            next = source.next(), if reading && room && owing.is_none() => Event::Next(next),
            else => Event::End,
        }
    }

    async fn done(&mut self, done: Done) {
        self.bytes -= done.bytes;
        if let Some(device) = done.result.queued()
            && !self.wishes.respond_async
        {
            let since = self.behind.entry(device.clone());
            since.or_insert_with(Instant::now);
        }
        if self.output.write(&done.result) {
            self.output.flush().await;
        }
    }

    /// A line counts as a request against the token's rate. It is not refused: the next one is read when there is room for
    /// it, so that a batch is as fast as the token may be.
    fn pay(&mut self) {
        let now = Instant::now();
        let paid = self.caller.grant().take(now);
        self.owing = paid.err().map(|quota| now + quota.after);
    }

    /// Begins to deliver a line. When this returns, its uplink has its place in the order of its device.
    async fn submit(&mut self, line: u64, text: &[u8]) {
        let parsed = line::parse(text, self.traceparent.as_deref());
        let reference = parsed.reference;
        let Wanted {
            uplink,
            key,
            parameters,
        } = match parsed.wanted {
            Ok(wanted) => wanted,
            Err(problem) => return self.answer(line, reference, problem),
        };
        if let Err(problem) = self.caller.check_device(&uplink.device) {
            return self.answer(line, reference, problem);
        }
        let placed = key.is_some().then(|| Arc::new(Notify::new()));
        let wishes = Wishes {
            respond_async: self.wishes.respond_async || self.is_behind(&uplink.device),
            key,
            parameters,
            placed: placed.clone(),
            ..self.wishes.clone()
        };
        let bytes = uplink.payload.len();
        self.bytes += bytes;
        let device = uplink.device.clone();
        let delivered = self.road.deliver(uplink, wishes);
        let mut delivery: Delivery = Box::pin(async move {
            let result = LineResult {
                line,
                reference,
                device: Some(device),
                outcome: delivered.await,
            };
            Done { result, bytes }
        });
        let done = match placed {
            None => match poll_fn(|cx| Poll::Ready(delivery.as_mut().poll(cx))).await {
                Poll::Ready(done) => Some(done),
                Poll::Pending => None,
            },
            Some(placed) => match select(&mut delivery, Box::pin(placed.notified())).await {
                Either::Left((done, _)) => Some(done),
                Either::Right(_) => None,
            },
        };
        self.in_flight.push_back(match done {
            Some(done) => Box::pin(std::future::ready(done)),
            None => delivery,
        });
    }

    /// Whether something of the device is stored and waits, after a line had waited in vain.
    fn is_behind(&mut self, device: &DeviceId) -> bool {
        let Some(since) = self.behind.get(device) else {
            return false;
        };
        let behind = match self.road.backlog(device) {
            Some(backlog) => backlog,
            // Another replica knows; now and then it is tried.
            None => since.elapsed() < self.wishes.wait,
        };
        if !behind {
            self.behind.remove(device);
        }
        behind
    }

    fn refuse(&mut self, line: u64, problem: Problem) {
        self.answer(line, None, problem);
    }

    /// Answers a line that is not delivered, in its turn.
    fn answer(
        &mut self,
        line: u64,
        reference: Option<Box<serde_json::value::RawValue>>,
        problem: Problem,
    ) {
        let result = LineResult {
            line,
            reference,
            device: None,
            outcome: Delivered::Here(Err(problem)),
        };
        let done = Done { result, bytes: 0 };
        self.in_flight.push_back(Box::pin(std::future::ready(done)));
    }
}

fn caller_over() -> Problem {
    Problem::new(
        Kind::InvalidToken,
        "the token expired or was taken out of the configuration; this line and what may follow were not taken",
    )
}

fn closing() -> Problem {
    Problem::new(
        Kind::Closing,
        "the bridge is shutting down; this line and what may follow were not taken",
    )
    .retry_after(5)
}
