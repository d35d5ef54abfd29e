//! One request from a member to another.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use super::partition::Partition;
use super::report::Report;
use super::table::{MemberId, Table};

/// The other members.
pub trait Peers: Debug + Send + Sync {
    /// The cluster at this moment.
    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.changed().borrow())
    }

    /// The cluster, now and whenever it changes.
    fn changed(&self) -> watch::Receiver<Arc<Table>>;

    /// Asks a member once, and waits so long for its answer.
    fn ask(
        &self,
        member: &MemberId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, AskError>>;

    /// Who has a lease on a partition, by the word of nats-server at this moment, which the table may not have heard yet. A
    /// member that gets the partition later looks through what is stored later, too. The error says why that is not known.
    fn owner(&self, partition: Partition)
    -> BoxFuture<'static, Result<Option<MemberId>, Box<str>>>;

    /// Everything that is known of the cluster, for people and for metrics.
    fn report(&self) -> Report {
        Report::of(&self.table())
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or it has no room for one more: the request was certainly not processed.
    #[error("the member does not take the request")]
    Nobody,
    /// No answer came in time. The request may have been processed, or be processed yet.
    #[error("the member did not answer in time")]
    TimedOut,
    /// The connection was lost. The request may have been processed, or be processed yet.
    #[error("the connection was lost before the member answered")]
    Lost,
    /// The request is larger than what can be sent: it was certainly not processed.
    #[error("the request is larger than the {limit} bytes that can be sent")]
    TooLarge {
        /// The most, in bytes.
        limit: usize,
    },
    /// The answer is larger than what can be sent: the request was processed.
    #[error("the answer is larger than what can be sent")]
    AnswerTooLarge,
}

impl AskError {
    /// Whether the request was certainly not processed.
    pub fn is_certain(self) -> bool {
        matches!(self, Self::Nobody | Self::TooLarge { .. })
    }
}

/// Whoever answers what other members ask this one.
pub trait Answerer: Send + Sync {
    /// Answers a request. Up to 1024 are under way at a time. Each is answered to its end: that whoever asked has given up
    /// is not known here.
    fn answer(&self, request: Bytes) -> BoxFuture<'static, Bytes>;
}
