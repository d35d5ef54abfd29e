//! Following what is stored by all processes, this one included: downlinks, and records.
//!
//! A follower that has lost its connection goes on behind the last message that it has seen, so nothing is left out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::conn::Conn;
use super::core::Core;
use super::failure::Failure;
use super::names::{StreamName, record_of};
use super::reader::{Reader, Seen};
use crate::fields::micros;
use crate::store::format::decode_downlink;
use crate::store::records::{RecordKind, StoredDownlink};
use crate::store::shared::RecordChange;

/// Follows the downlinks behind a place, until the end.
pub(super) async fn downlinks(core: Arc<Core>, after: u64) {
    follow(&core, StreamName::Downlinks, after, downlinks_on).await;
}

/// Follows the records behind a place, until the end.
pub(super) async fn records(core: Arc<Core>, after: u64) {
    follow(&core, StreamName::Records, after, records_on).await;
}

/// Follows a stream behind a place by what reads on over one connection, until the end.
async fn follow(
    core: &Core,
    stream: StreamName,
    mut after: u64,
    mut read_on: impl AsyncFnMut(&Core, Arc<Conn>, &mut u64) -> Result<Infallible, Failure>,
) {
    let following = async {
        loop {
            let conn = core.link.usable().await;
            let Err(failure) = async {
                rewind(&conn, stream, &mut after).await?;
                read_on(core, Arc::clone(&conn), &mut after).await
            }
            .await;
            let stream = stream.word();
            tracing::debug!(stream, ?failure, "the stream is not followed for a moment");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = core.end.cancelled() => {}
        never = following => never,
    }
}

async fn downlinks_on(
    core: &Core,
    conn: Arc<Conn>,
    after: &mut u64,
) -> Result<Infallible, Failure> {
    let mut reader = Reader::open(conn, StreamName::Downlinks, *after + 1, false).await?;
    loop {
        let seen = reader.next(|seen| {
            if seen.place > *after + 1 {
                // It was let go before it was seen here, whosever it was.
                core.histories().gap(core.origin + seen.place - 1);
            }
            (seen.place, take_downlink(core, &seen))
        });
        let Some((place, downlink)) = seen.await? else {
            core.histories().prune(micros(SystemTime::now()));
            continue;
        };
        if let Some(downlink) = downlink
            && let Some(reader) = core.readers.follower()
        {
            // Nobody reads any more.
            let _ = reader.send(downlink).await;
        }
        // Behind it: whoever has waited for it finds that listeners are being told.
        *after = place;
        core.followed.send_replace(place);
    }
}

/// Puts a downlink into its history, and gives what somebody who reads along is to get.
fn take_downlink(core: &Core, seen: &Seen<'_>) -> Option<StoredDownlink> {
    let cursor = core.origin + seen.place;
    let device = {
        let mut histories = core.histories();
        let device = histories.take(cursor, seen)?;
        histories.prune(micros(SystemTime::now()));
        device
    };
    core.readers.follower()?;
    let decoded = decode_downlink(device, cursor, seen.payload);
    let decoded = decoded.inspect_err(|error| {
        tracing::error!(cursor, %error, "a downlink cannot be read");
    });
    decoded.ok()
}

async fn records_on(core: &Core, conn: Arc<Conn>, after: &mut u64) -> Result<Infallible, Failure> {
    let mut reader = Reader::open(conn, StreamName::Records, *after + 1, true).await?;
    loop {
        let seen = reader.next(|seen| (seen.place, take_record(core, &seen)));
        let Some((place, change)) = seen.await? else {
            continue;
        };
        *after = place;
        if let Some(change) = change {
            core.readers.changed(change);
        }
    }
}

/// Takes in what became of a record, and says what is to be told of it: what this process has written is known.
fn take_record(core: &Core, seen: &Seen<'_>) -> Option<RecordChange> {
    let (kind, key) = record_of(seen.subject)?;
    let is_there = !super::record::is_removed(seen.header);
    let is_news = core
        .records()
        .apply((kind, key.clone()), seen.place, is_there);
    let kind = RecordKind::from_number(kind)?;
    is_news.then(|| RecordChange {
        kind,
        key: key.into(),
    })
}

/// A server that has lost the end of its stream gives its places again: what is there now was not seen.
async fn rewind(conn: &Conn, stream: StreamName, after: &mut u64) -> Result<(), Failure> {
    let info = conn.within(conn.stream(stream).get_info()).await?;
    let last = info.map_err(Failure::not)?.state.last_sequence;
    if last < *after {
        tracing::error!(
            lost = *after - last,
            stream = stream.word(),
            "the store's server has lost the end of a stream that it had confirmed"
        );
        *after = last;
    }
    Ok(())
}
