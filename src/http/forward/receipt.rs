//! Receipts that some member has in memory.

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::Forward;
use super::answer::Answer;
use super::ask::Ask;
use super::reach::{READ, Unreached};
use crate::device::DeviceId;
use crate::message::UplinkId;

impl Forward {
    /// A receipt that another member has in memory, as JSON, and whose it is. Where one did not answer, nobody knows whether
    /// there is none. What a member had that is gone is gone with it, as after a restart.
    pub(in crate::http) async fn receipt(
        &self,
        id: UplinkId,
    ) -> Result<Option<(DeviceId, Bytes)>, Unreached> {
        let table = self.members.peers.table();
        let question = Ask::receipt(id);
        let mut asked: FuturesUnordered<_> = table
            .others()
            .map(|member| {
                let answer = self.ask(&member.id, question.clone(), READ);
                async move { (&member.id, answer.await) }
            })
            .collect();
        let mut silent = Vec::new();
        while let Some((member, answer)) = asked.next().await {
            match answer {
                Ok(Answer::Receipt(Some(receipt))) => return Ok(Some(receipt)),
                Ok(Answer::Receipt(None)) => {}
                _ => silent.push(member),
            }
        }
        let now = self.members.peers.table();
        match now.others().any(|member| silent.contains(&&member.id)) {
            true => Err(Unreached::Incomplete),
            false => Ok(None),
        }
    }
}
