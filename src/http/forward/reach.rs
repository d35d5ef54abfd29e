//! Asking whoever has a device, wherever it goes meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use super::Forward;
use super::answer::{Answer, HttpAnswer};
use crate::cluster::{AskError, MemberId, Peers, Place, Table};
use crate::device::DeviceId;
use crate::http::problem::Kind;

/// How long to wait at the most before the place of a device is looked at again: the table tells when it changes, but a
/// member that says "not here" may be ahead of it.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What a member may take to answer a question. One that does not is asked again.
pub(super) const READ: Duration = Duration::from_secs(2);
/// How long an answer may still be on its way from a member that is not in the table any more, or to one that ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Where a request ends up.
#[derive(Debug)]
pub(super) enum Reached {
    /// The device is here.
    Here,
    /// Its owner has answered.
    Answered(HttpAnswer),
}

/// Why no owner has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum Unreached {
    /// Nobody had it, or took the request, in time. It was not processed.
    #[error("no replica has the device's session at the moment; nothing was done")]
    Nobody,
    /// Whoever has it could not be asked, and may still be at work. It was not processed.
    #[error(
        "the replica that has the device's session cannot be reached, and has not lost it yet; nothing was done"
    )]
    Unreachable,
    /// Whoever should have it does not know it: it has not heard of it yet, or has another configuration. It was not processed.
    #[error(
        "the replica that should have the device's session does not know the device; nothing was done"
    )]
    Unfamiliar,
    /// It was asked, did not answer, and may still be at work.
    #[error(
        "the replica that has the device's session did not answer, and still has it; whether the request was carried out is \
         not known"
    )]
    Stuck,
    /// Whoever had it did not answer.
    #[error(
        "the replica that has the device's session did not answer; whether the request was carried out is not known"
    )]
    Silent,
    /// It speaks another version. It was not processed.
    #[error(
        "the replica that has the device's session is of a version that does not understand this one; nothing was done"
    )]
    Version,
    /// The request cannot be sent to it.
    #[error(
        "another replica has the device's session, and no more than {limit} bytes can be sent to it at once; nothing was done"
    )]
    TooLarge {
        /// The most, in bytes.
        limit: usize,
    },
    /// The answer cannot be sent from it.
    #[error(
        "another replica has the device's session; it carried the request out, and its answer is too large to be sent here"
    )]
    AnswerTooLarge,
    /// It was done here, and whoever has the device has not heard of it in time.
    #[error(
        "it is stored, and the replica that has the device's session has not taken it over yet; it will"
    )]
    Unheard,
    /// Not all members have answered, or some partition has no owner.
    #[error(
        "some replica did not answer, or some devices are on their way from one replica to another; what the others say \
         would not be the whole"
    )]
    Incomplete,
}

impl Unreached {
    /// Whether nothing was done.
    pub(in crate::http) fn is_certain(self) -> bool {
        !matches!(
            self,
            Self::Silent | Self::Stuck | Self::AnswerTooLarge | Self::Unheard
        )
    }
}

/// How long is waited for what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until then, an owner is looked for.
    pub(super) owner: Instant,
    /// Until then, one that cannot be reached is waited for: it may be at work until others see that it has lost what it
    /// had.
    pub(super) unreachable: Instant,
    /// What an owner may take to answer.
    pub(super) answer: Answering,
    /// Whether one that did not answer may be asked again, or another one: asking twice does no harm.
    pub(super) again: bool,
}

/// What an owner may take to answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Answering {
    /// So long, whenever it is asked.
    Within(Duration),
    /// Until then, and so long beyond.
    Until(Instant, Duration),
}

impl Answering {
    fn left(self) -> Duration {
        match self {
            Self::Within(time) => time,
            Self::Until(end, beyond) => end.saturating_duration_since(Instant::now()) + beyond,
        }
    }
}

impl Forward {
    /// Asks the member that has a device, until one has answered.
    pub(super) async fn reach(
        &self,
        device: &DeviceId,
        patience: Patience,
        ask: impl Fn() -> Bytes,
    ) -> Result<Reached, Unreached> {
        let mut changed = self.members.peers.changed();
        loop {
            // What changes from here on wakes the wait below.
            changed.borrow_and_update();
            let (mut unreached, mut end) = (Unreached::Nobody, patience.owner);
            match self.members.places.place(device) {
                Place::Here => return Ok(Reached::Here),
                Place::Vacant => {}
                Place::There(member) => {
                    match self.ask(&member, ask(), patience.answer.left()).await {
                        Ok(Answer::Http(answer))
                            if answer.is(Kind::UnknownDevice)
                                && self.members.places.knows(device) =>
                        {
                            unreached = Unreached::Unfamiliar;
                        }
                        Ok(Answer::Http(answer)) if !answer.is(Kind::Closing) => {
                            return Ok(Reached::Answered(*answer));
                        }
                        // It has just lost or left the device, or ends: what it did not do, another one may.
                        Ok(Answer::NotHere | Answer::Http(_)) => {}
                        Ok(_) => return Err(Unreached::Version),
                        Err(AskError::Nobody) => {
                            (unreached, end) = (Unreached::Unreachable, patience.unreachable);
                        }
                        Err(AskError::TooLarge { limit }) => {
                            return Err(Unreached::TooLarge { limit });
                        }
                        Err(AskError::AnswerTooLarge) => return Err(Unreached::AnswerTooLarge),
                        Err(AskError::TimedOut | AskError::Lost) if !patience.again => {
                            let end = patience.unreachable;
                            return Err(self.outlive(device, &member, end).await);
                        }
                        Err(AskError::TimedOut | AskError::Lost) => unreached = Unreached::Silent,
                    }
                }
            }
            let now = Instant::now();
            if now >= end || self.gives_up() {
                return Err(unreached);
            }
            tokio::select! {
                () = wait_for_change(&mut changed, end.min(now + LOOK_AGAIN)) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Waits until a member that did not answer has lost the device.
    async fn outlive(&self, device: &DeviceId, member: &MemberId, end: Instant) -> Unreached {
        let mut changed = self.members.peers.changed();
        loop {
            changed.borrow_and_update();
            if self.members.places.place(device) != Place::There(member.clone()) {
                return Unreached::Silent;
            }
            if Instant::now() >= end || self.gives_up() {
                return Unreached::Stuck;
            }
            tokio::select! {
                () = wait_for_change(&mut changed, end) => {}
                () = self.shutdown.cancelled() => {}
            }
        }
    }

    /// Whether waiting is of no use: this program ends, or hears of nobody any more.
    pub(super) fn gives_up(&self) -> bool {
        self.shutdown.is_cancelled() || !self.members.peers.report().is_connected
    }

    /// Asks one member once. What it answers and cannot be read is of another version.
    pub(super) async fn ask(
        &self,
        member: &MemberId,
        request: Bytes,
        within: Duration,
    ) -> Result<Answer, AskError> {
        let ending = async {
            self.shutdown.cancelled().await;
            tokio::time::sleep(LAST_WORDS).await;
        };
        tokio::select! {
            biased;
            answer = ask(&*self.members.peers, member, request, within) => answer,
            () = ending => Err(AskError::TimedOut),
        }
    }

    /// Whether a device is with somebody else, or nobody, by now.
    pub(in crate::http) fn is_elsewhere(&self, device: &DeviceId) -> bool {
        self.members.places.place(device) != Place::Here
    }
}

/// Asks one member once. One that goes meanwhile is not waited for.
pub(super) async fn ask(
    peers: &dyn Peers,
    member: &MemberId,
    request: Bytes,
    within: Duration,
) -> Result<Answer, AskError> {
    let asked = peers.ask(member, request, within);
    let mut table = peers.changed();
    let gone = async {
        let is_gone = |table: &Arc<Table>| !table.members().iter().any(|known| known.id == *member);
        let over = table.wait_for(is_gone).await.is_err();
        match over {
            true => std::future::pending().await,
            false => tokio::time::sleep(LAST_WORDS).await,
        }
    };
    let answer = tokio::select! {
        biased;
        answer = asked => answer?,
        () = gone => return Err(AskError::Lost),
    };
    Ok(Answer::read(answer).unwrap_or_else(|error| {
        tracing::warn!(%member, %error, "another replica's answer cannot be read");
        Answer::NotUnderstood
    }))
}

/// Waits until the table changes, at the most until then.
pub(super) async fn wait_for_change<T>(changed: &mut watch::Receiver<T>, until: Instant) {
    // Without anybody who could change it, there is still the time to wait.
    let change = async {
        if changed.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let _ = tokio::time::timeout_at(until.into(), change).await;
}
