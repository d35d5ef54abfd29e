//! Requests between members: request and reply of NATS, without JetStream.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::client::{Request, RequestErrorKind};
use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::line::{Line, Wire};
use crate::cluster::peers::{Answerer, AskError};
use crate::cluster::table::MemberId;
use crate::tally::{Asked, ClusterTally};

/// How many requests a member works at at a time.
const ROOM: usize = 1024;
/// What the envelope of a message may come to beside the payload.
const ENVELOPE: usize = 256;

/// Says of an answer that it is none.
const REFUSED: &str = "Causeway-Refused";
const FULL: &str = "full";
const TOO_LARGE: &str = "too-large";

/// A connection for requests, apart from that of the leases: large bodies must not hold up a renewal.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    line: Line,
    prefix: Arc<str>,
    tally: Arc<ClusterTally>,
}

impl Asking {
    pub(super) fn new(line: Line, prefix: &str, tally: Arc<ClusterTally>) -> Self {
        let prefix = prefix.into();
        Self {
            line,
            prefix,
            tally,
        }
    }

    fn subject(&self, member: &MemberId) -> String {
        format!("{}.member.{member}", self.prefix)
    }

    /// Begins a new connection: the old one is silent.
    pub(super) fn reconnect(&self) {
        self.line.redial();
    }

    pub(super) fn ask(
        &self,
        member: &MemberId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, AskError>> {
        let (asking, subject) = (self.clone(), self.subject(member));
        Box::pin(async move {
            let answer = asking.exchange(subject, request, within).await;
            asking.tally.asked(match &answer {
                Ok(_) => Asked::Answered,
                Err(AskError::Nobody) => Asked::Nobody,
                Err(AskError::TimedOut) => Asked::TimedOut,
                Err(AskError::Lost) => Asked::Lost,
                Err(AskError::TooLarge { .. } | AskError::AnswerTooLarge) => Asked::TooLarge,
            });
            answer
        })
    }

    async fn exchange(
        &self,
        subject: String,
        request: Bytes,
        within: Duration,
    ) -> Result<Bytes, AskError> {
        let wire = self.line.wire().ok_or(AskError::Nobody)?;
        let limit = limit(&wire.client);
        if request.len() > limit {
            return Err(AskError::TooLarge { limit });
        }
        let request = Request::new().payload(request).timeout(Some(within));
        let answer = tokio::select! {
            biased;
            answer = wire.client.send_request(subject, request) => answer,
            () = wire.lost.cancelled() => return Err(AskError::Lost),
            // The client's own patience begins when the request has been handed to the connection.
            () = tokio::time::sleep(within) => return Err(AskError::TimedOut),
        };
        let answer = answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders | RequestErrorKind::InvalidSubject => AskError::Nobody,
            RequestErrorKind::TimedOut => AskError::TimedOut,
            RequestErrorKind::MaxPayloadExceeded => AskError::TooLarge { limit },
            RequestErrorKind::Other => AskError::Lost,
        })?;
        match refusal(&answer) {
            None => Ok(answer.payload),
            Some(TOO_LARGE) => Err(AskError::AnswerTooLarge),
            Some(_) => Err(AskError::Nobody),
        }
    }

    /// Answers what others ask, until `end`, and then what has come until then.
    pub(super) async fn serve(
        self,
        me: MemberId,
        answerer: Arc<dyn Answerer>,
        end: CancellationToken,
    ) {
        let subject = self.subject(&me);
        let mut connections = self.line.connections();
        let serving = Serving {
            room: Arc::new(Semaphore::new(ROOM)),
            tasks: TaskTracker::new(),
            tally: Arc::clone(&self.tally),
            answerer,
        };
        loop {
            let wire = tokio::select! {
                wire = connections.next() => wire,
                () = end.cancelled() => None,
            };
            let Some(wire) = wire else { break };
            if let Err(error) = serving.serve(&wire, subject.clone(), &end).await {
                tracing::debug!(error, "requests of other members cannot be received");
                wire.lost.cancel();
            }
        }
        serving.tasks.close();
        serving.tasks.wait().await;
        if let Some(wire) = self.line.wire() {
            // The last answers leave.
            let _ = tokio::time::timeout(Duration::from_secs(1), wire.client.flush()).await;
        }
    }
}

/// The answering side.
struct Serving {
    room: Arc<Semaphore>,
    tasks: TaskTracker,
    tally: Arc<ClusterTally>,
    answerer: Arc<dyn Answerer>,
}

impl Serving {
    /// As long as this connection, or until `end`.
    async fn serve(
        &self,
        wire: &Wire,
        subject: String,
        end: &CancellationToken,
    ) -> Result<(), String> {
        let requests = wire.client.subscribe(subject).await;
        let mut requests = requests.map_err(|error| error.to_string())?;
        loop {
            let request = tokio::select! {
                biased;
                () = wire.lost.cancelled() => return Ok(()),
                request = requests.next() => request,
                () = end.cancelled() => break,
            };
            let request = request.ok_or("the subscription has ended")?;
            self.take(&wire.client, request).await;
        }
        // What the server sends before it knows is answered yet.
        let drain = async {
            let _ = requests.drain().await;
            while let Some(request) = requests.next().await {
                self.take(&wire.client, request).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(1), wire.unless_lost(drain)).await;
        Ok(())
    }

    async fn take(&self, client: &Client, request: Message) {
        let Some(reply) = request.reply else { return };
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.tally.turned_away.fetch_add(1, Relaxed);
            refuse(client, reply, FULL).await;
            return;
        };
        let answer = self.answerer.answer(request.payload);
        let (client, tally) = (client.clone(), Arc::clone(&self.tally));
        self.tasks.spawn(async move {
            let answer = answer.await;
            tally.served.fetch_add(1, Relaxed);
            if answer.len() > limit(&client) {
                refuse(&client, reply, TOO_LARGE).await;
            } else {
                // Without a connection, whoever asked sees that too.
                let _ = client.publish(reply, answer).await;
            }
            drop(permit);
        });
    }
}

/// The most that fits into a message.
fn limit(client: &Client) -> usize {
    client.max_payload().saturating_sub(ENVELOPE)
}

async fn refuse(client: &Client, reply: async_nats::Subject, why: &str) {
    let mut headers = HeaderMap::new();
    headers.insert(REFUSED, why);
    // As with an answer.
    let _ = client
        .publish_with_headers(reply, headers, Bytes::new())
        .await;
}

fn refusal(answer: &Message) -> Option<&str> {
    let refusal = answer.headers.as_ref()?.get(REFUSED)?;
    Some(refusal.as_str())
}
