//! Bringing the store back after an outage: what was answered meanwhile is made true before anything is taken again.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use super::changes::{Change, Request};
use super::conn::SOON;
use super::core::Core;
use super::failure::Failure;
use super::names::StreamName;
use super::reader::milestone;
use super::rescan::{Extent, Scanned};
use crate::store::engine::StoreError;

/// Changes that are kept in memory during an outage.
const MAX_KEPT: usize = 100_000;
/// Changes, or milestones, that are on their way at a time.
const ROUND: usize = 512;

/// Changes that could not be written and must not be lost, in their order.
#[derive(Default)]
pub(super) struct Kept(VecDeque<Change>);

impl Core {
    /// Says that something could not be written, and keeps what must not be lost.
    pub(super) fn refuse(&self, requests: Vec<Request>, kept: &mut Kept) {
        for Request { change, done } in requests {
            let error = self.link.unavailable();
            let error = error.unwrap_or(StoreError::Unavailable {
                cause: "the server did not confirm it".into(),
            });
            // Its failure means that somebody has stopped waiting.
            let _ = done.send(Err(error));
            match change {
                Change::Settle {
                    device,
                    seq,
                    keep: false,
                    ..
                } => self.queues().not_settled(&device, seq),
                change => kept.0.push_back(change),
            }
        }
        while kept.0.len() > MAX_KEPT
            && let Some(change) = kept.0.pop_front()
        {
            match change {
                Change::Settle { device, seq, .. } => {
                    self.queues().not_settled(&device, seq);
                    self.settlements_dropped.fetch_add(1, Ordering::Relaxed);
                }
                Change::Finish { device, answer } => self.marks.remove(&device, &answer.key),
            }
        }
    }

    /// Tries whether the server can be used again. Afterwards all is as if there had been no outage, but for what was refused.
    pub(super) async fn recover(
        &self,
        scanned: &mut Scanned,
        kept: &mut Kept,
    ) -> Result<(), Failure> {
        self.link.renew().await?;
        let infos = self.link.infos(SOON).await?;
        let downlinks = &infos[StreamName::Downlinks as usize];
        self.pass_by(downlinks.state.last_sequence).await?;
        self.rescan(scanned, Extent::All).await?;
        self.write_kept(kept).await
    }

    async fn write_kept(&self, kept: &mut Kept) -> Result<(), Failure> {
        while !kept.0.is_empty() {
            let count = kept.0.len().min(ROUND);
            let requests = kept.0.drain(..count).map(|change| {
                let (done, _) = oneshot::channel();
                Request { change, done }
            });
            let requests = requests.collect();
            let failed = self.write(requests).await;
            if !failed.is_empty() {
                self.refuse(failed, kept);
                return Err(Failure::not("it failed again"));
            }
        }
        Ok(())
    }

    /// A server that has lost the end of its history, as in a power cut, would give cursors again that listeners have seen:
    /// they are passed by.
    async fn pass_by(&self, last: u64) -> Result<(), Failure> {
        const AT_MOST: u64 = 1_000_000;
        let followed = *self.followed.borrow();
        let lost = followed.saturating_sub(last).min(AT_MOST);
        if lost == 0 {
            return Ok(());
        }
        tracing::error!(
            lost,
            "the store's server has lost downlinks that it had confirmed"
        );
        let mut under_way = VecDeque::new();
        for _ in 0..lost {
            let message = milestone(&self.link.names, StreamName::Downlinks);
            under_way.push_back(self.link.send(message).await?);
            if under_way.len() >= ROUND
                && let Some(sent) = under_way.pop_front()
            {
                self.link.confirmed(sent).await?;
            }
        }
        for sent in under_way {
            self.link.confirmed(sent).await?;
        }
        Ok(())
    }
}
