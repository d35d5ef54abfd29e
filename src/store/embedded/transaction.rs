//! One transaction, from its beginning to its commit.

use std::time::SystemTime;

use redb::{Database, Durability};

use super::batch::{Batch, Effects, corrupt};
use super::change::{Applied, Change, Undo};
use super::file::Check;
use crate::store::limits::Limits;
use crate::store::records::ReceiptRecord;

/// What goes into a transaction.
#[derive(Default)]
pub(super) struct Input<'a> {
    pub(super) undo: &'a [Undo],
    pub(super) changes: Vec<&'a Change>,
    pub(super) receipts: &'a [ReceiptRecord],
    pub(super) budget: usize,
    /// Commit even if there is nothing to do.
    pub(super) force: bool,
}

/// A transaction that is durable.
pub(super) struct Committed {
    pub(super) effects: Effects,
    pub(super) replies: Vec<Applied>,
}

/// A transaction that failed, and how closely to look at the file then.
pub(super) struct Failure {
    pub(super) cause: String,
    pub(super) check: Check,
}

/// A commit of which it is not known whether it took effect.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    pub(super) commit: u64,
    pub(super) undo: Vec<Undo>,
}

/// Runs a transaction. `None`: there was nothing to write. While it is being committed, `doubt` says what it has done.
pub(super) fn run(
    database: &Database,
    limits: Limits,
    input: &Input<'_>,
    doubt: &mut Doubt,
) -> Result<Option<Committed>, redb::Error> {
    let mut tx = database.begin_write()?;
    tx.set_durability(Durability::Immediate).map_err(corrupt)?;
    // After a crash, a file opens in a millisecond, whatever its size.
    tx.set_quick_repair(true);
    let mut batch = Batch::begin(&tx, limits, SystemTime::now())?;
    for undo in input.undo {
        batch.take_back(undo)?;
    }
    let mut replies = Vec::with_capacity(input.changes.len());
    for change in &input.changes {
        replies.push(batch.apply(change)?);
    }
    for receipt in input.receipts {
        batch.put_receipt(receipt)?;
    }
    batch.prune(input.budget)?;
    let idle = input.changes.is_empty() && input.receipts.is_empty() && batch.pruned == 0;
    if idle && !input.force {
        drop(batch);
        tx.abort()?;
        return Ok(None);
    }
    let mut effects = batch.finish()?;
    *doubt = Doubt {
        commit: effects.totals.commit,
        undo: std::mem::take(&mut effects.undo),
    };
    tx.commit()?;
    *doubt = Doubt::default();
    Ok(Some(Committed { effects, replies }))
}
