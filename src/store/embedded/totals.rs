//! The counters of the whole store.

use crate::fields::{DecodeError, Decoder, Encoder};

const TOTALS: u8 = 1;
/// More than the numbers take.
const ROOM: usize = 80;

/// What is true of the whole store; written with every commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    /// How many commits there were: tells whether one that failed took effect.
    pub(super) commit: u64,
    /// The largest number of an uplink ever stored.
    pub(super) seq: u64,
    /// The newest cursor.
    pub(super) cursor: u64,
    /// Where cursors started: what was before is not known.
    pub(super) origin: u64,
    pub(super) queue_count: u64,
    pub(super) queue_bytes: u64,
    pub(super) history_bytes: u64,
}

pub(super) fn encode_totals(totals: &Totals) -> Vec<u8> {
    let mut out = Encoder::new(TOTALS, ROOM);
    let Totals {
        commit,
        seq,
        cursor,
        origin,
        queue_count,
        queue_bytes,
        history_bytes,
    } = *totals;
    for number in [
        commit,
        seq,
        cursor,
        origin,
        queue_count,
        queue_bytes,
        history_bytes,
    ] {
        out.number(number);
    }
    out.finish()
}

pub(super) fn decode_totals(bytes: &[u8]) -> Result<Totals, DecodeError> {
    let mut read = Decoder::new(bytes, TOTALS)?;
    let totals = Totals {
        commit: read.number()?,
        seq: read.number()?,
        cursor: read.number()?,
        origin: read.number()?,
        queue_count: read.number()?,
        queue_bytes: read.number()?,
        history_bytes: read.number()?,
    };
    read.finish()?;
    Ok(totals)
}
