//! The one task that stores downlinks: one append after the other, so that cursors are given in their order.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::core::{Append, Core};
use super::entry::{header, mark};
use super::failure::Failure;
use super::requests::Message;
use crate::message::Downlink;
use crate::store::engine::StoreError;
use crate::store::format::encode_downlink;

pub(super) async fn run(core: Arc<Core>, mut inbox: mpsc::UnboundedReceiver<Append>) {
    while let Some(Append { downlinks, done }) = inbox.recv().await {
        let appended = append(&core, &downlinks).await;
        // Its failure means that somebody has stopped waiting.
        let _ = done.send(appended);
    }
}

/// When one fails, all are answered as not taken, and their senders send them again: those that were stored all the same
/// are in the history twice.
async fn append(core: &Core, downlinks: &[Downlink]) -> Result<Vec<u64>, StoreError> {
    let bytes = downlinks
        .iter()
        .map(|downlink| downlink.payload.len())
        .sum();
    let _room = core.room(bytes).await;
    core.check()?;
    let mut under_way = Vec::with_capacity(downlinks.len());
    for downlink in downlinks {
        let payload = encode_downlink(downlink);
        let size = payload.len();
        let message = Message {
            subject: core.link.names.downlinks(&downlink.device),
            header: Some(header(downlink.received_at, size)),
            payload: payload.into(),
            expected: None,
        };
        let sent = match core.link.send(message).await {
            Err(Failure::TooLarge) => {
                // It would come again and again. Whoever listens now gets it; whoever reads later is told of a gap.
                tracing::error!(
                    device = %downlink.device, size,
                    "a downlink is larger than the server's max_payload, and cannot be replayed"
                );
                core.link
                    .send(mark(&core.link.names, &downlink.device))
                    .await?
            }
            sent => sent?,
        };
        under_way.push(sent);
    }
    let mut places = Vec::with_capacity(downlinks.len());
    for sent in under_way {
        places.push(core.link.confirmed(sent).await?);
    }
    // They come into the histories in the order of the stream, among those of other processes.
    if let Some(last) = places.iter().max() {
        core.followed(*last).await;
    }
    Ok(places
        .into_iter()
        .map(|place| core.origin + place)
        .collect())
}
