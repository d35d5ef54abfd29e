//! The road out for a device that may be elsewhere.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::RwLock;

use super::Forward;
use super::answer::{Answer, HttpAnswer};
use super::ask::Ask;
use super::reach::{Answering, LOOK_AGAIN, Patience, READ, Reached, Unreached, wait_for_change};
use crate::device::DeviceId;
use crate::http::problem::{Kind, Problem};
use crate::message::{Uplink, UplinkId};
use crate::store::records::ReceiptStatus;
use crate::uplink::{Accepted, UplinkError, Uplinks, Wishes};

/// What an owner may take beyond the wait: it stores what its broker has not confirmed by then.
const MARGIN: Duration = Duration::from_secs(2);

/// What became of an uplink, and who says so.
#[derive(Debug)]
pub(in crate::http) enum Delivered {
    /// This member.
    Here(Result<Accepted, Problem>),
    /// The member that has the device.
    Elsewhere(HttpAnswer),
}

impl Forward {
    /// Delivers an uplink to its device's session, wherever that is. What no owner has taken or answered within the wait is
    /// stored, but not before its owner has lost the device: while it may still publish, the device's next uplink may reach
    /// it by another way, and would overtake what is stored here.
    pub(in crate::http) async fn deliver(
        &self,
        uplinks: &Uplinks,
        uplink: Uplink,
        wishes: Wishes,
    ) -> Delivered {
        let began = Instant::now();
        let until = began + wishes.wait;
        let patience = Patience {
            // Whoever wants an answer at once gets one: it is stored here as well as there.
            owner: match wishes.respond_async {
                true => began,
                false => until,
            },
            unreachable: until.max(began + 2 * self.members.lease),
            answer: Answering::Until(until, MARGIN),
            again: false,
        };
        let left = || until.saturating_duration_since(Instant::now());
        let ask = || Ask::uplink(&uplink, &wishes, began.elapsed(), left());
        let unreached = loop {
            match self.reach(&uplink.device, patience, ask).await {
                Ok(Reached::Answered(answer)) => return Delivered::Elsewhere(answer),
                Ok(Reached::Here) => {
                    let wishes = Wishes {
                        wait: left(),
                        ..wishes.clone()
                    };
                    if let Some(outcome) = self.deliver_here(uplinks, &uplink, wishes).await {
                        return Delivered::Here(outcome.map_err(Problem::from));
                    }
                    // Whoever has it now is asked.
                    if Instant::now() >= until {
                        break Unreached::Nobody;
                    }
                }
                Err(unreached) => break unreached,
            }
        };
        Delivered::Here(match unreached {
            Unreached::TooLarge { .. }
            | Unreached::AnswerTooLarge
            | Unreached::Unheard
            | Unreached::Unreachable
            | Unreached::Incomplete => Err(unreached.into()),
            Unreached::Stuck => Err(unknown("it still has the device")),
            Unreached::Nobody | Unreached::Unfamiliar | Unreached::Silent | Unreached::Version => {
                // It may have come here meanwhile, and is not waited for once more.
                let wishes = Wishes {
                    wait: left(),
                    ..wishes
                };
                self.store(uplink, wishes, unreached).await
            }
        })
    }

    /// The same for one of several uplinks that have an order. Those of a device that is here go side by side; any other
    /// goes when all before it are done, and its wait runs meanwhile.
    pub(in crate::http) async fn deliver_in_turn(
        &self,
        uplinks: &Uplinks,
        uplink: Uplink,
        mut wishes: Wishes,
        order: Arc<RwLock<()>>,
    ) -> Delivered {
        let began = Instant::now();
        if !self.is_elsewhere(&uplink.device)
            && let Ok(side_by_side) = Arc::clone(&order).try_read_owned()
        {
            if let Some(outcome) = self.deliver_here(uplinks, &uplink, wishes.clone()).await {
                return Delivered::Here(outcome.map_err(Problem::from));
            }
            // In the order of the lines, as they were told so in it.
            drop(side_by_side);
        }
        let mut turn = pin!(order.write_owned());
        let at_once = poll_fn(|cx| Poll::Ready(turn.as_mut().poll(cx))).await;
        // Whoever comes now stands behind it.
        if let Some(placed) = &wishes.placed {
            placed.notify_one();
        }
        let _alone = match at_once {
            Poll::Ready(alone) => alone,
            Poll::Pending => turn.await,
        };
        wishes.wait = wishes.wait.saturating_sub(began.elapsed());
        self.deliver(uplinks, uplink, wishes).await
    }

    /// Delivers an uplink to a session of this member; `None` where its device has just gone elsewhere, and nothing was done.
    pub(super) async fn deliver_here(
        &self,
        uplinks: &Uplinks,
        uplink: &Uplink,
        wishes: Wishes,
    ) -> Option<Result<Accepted, UplinkError>> {
        let outcome = uplinks.deliver(uplink.clone(), wishes).await;
        if let Err(error) = &outcome
            && self.has_left(&uplink.device, error)
        {
            return None;
        }
        self.announce_stored(&uplink.device, &outcome).await;
        Some(outcome)
    }

    async fn store(
        &self,
        uplink: Uplink,
        wishes: Wishes,
        unreached: Unreached,
    ) -> Result<Accepted, Problem> {
        let device = uplink.device.clone();
        let stored = self.members.fallback.store(uplink, wishes).await;
        self.announce_stored(&device, &stored).await;
        stored.map_err(|error| match unreached.is_certain() {
            true => error.into(),
            // Only now: what is stored is sent again, which at least once allows, and what is not may have arrived.
            false => unknown(error),
        })
    }

    /// Makes sure that whoever has the device knows of an uplink that was stored here, before that is answered: the device's
    /// next one may reach its owner by another way, and would overtake it. An owner that comes later finds it by itself.
    async fn announce_stored(&self, device: &DeviceId, outcome: &Result<Accepted, UplinkError>) {
        let is_queued = |accepted: &Accepted| {
            accepted.receipt.status == ReceiptStatus::Queued && !accepted.replayed
        };
        if let Ok(accepted) = outcome
            && is_queued(accepted)
            && self.is_elsewhere(device)
        {
            self.announce(device, accepted.receipt.id).await;
        }
    }

    async fn announce(&self, device: &DeviceId, id: UplinkId) {
        let partition = self.members.places.partition(device);
        let until = Instant::now() + 2 * self.members.lease;
        let mut changed = self.members.peers.changed();
        loop {
            changed.borrow_and_update();
            let owner = match self.members.peers.owner(partition).await {
                Ok(Some(owner)) => owner,
                Ok(None) => return,
                Err(error) => {
                    tracing::debug!(%device, error, "whoever has it cannot be told of a stored uplink");
                    return;
                }
            };
            if owner == *self.members.peers.table().me() {
                // It has looked, or looks, itself.
                return;
            }
            let told = self.ask(&owner, Ask::stored(device, id), READ).await;
            // One of an earlier version does not understand it, and finds the uplink with its next look.
            if let Ok(Answer::Heard(true) | Answer::NotUnderstood) = told {
                return;
            }
            let now = Instant::now();
            if now >= until || self.gives_up() {
                return;
            }
            wait_for_change(&mut changed, until.min(now + LOOK_AGAIN)).await;
        }
    }

    /// Whether an uplink was not taken because its device has gone elsewhere.
    fn has_left(&self, device: &DeviceId, error: &UplinkError) -> bool {
        let left = match error {
            UplinkError::UnknownDevice(_) => self.members.places.knows(device),
            UplinkError::Changing | UplinkError::Closing => true,
            _ => false,
        };
        left && self.is_elsewhere(device)
    }
}

/// What is told of an uplink that an owner may have taken.
fn unknown(why: impl std::fmt::Display) -> Problem {
    Problem::new(
        Kind::Unconfirmed,
        format!(
            "the replica that has the device's session had the uplink and did not answer, and it was not stored here: {why}; \
             it may have arrived, and it will not be sent again"
        ),
    )
    .retryable(true)
    .hint("posting it again may deliver it twice")
}
