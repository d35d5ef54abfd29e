//! What a member is told about the sessions that it has and has not.

use futures_util::future::BoxFuture;

use super::partition::Partitions;

/// Whoever runs the sessions of the partitions that this process holds.
///
/// A partition is taken, then left or lost, then perhaps taken again. What was returned for it is driven to its end even
/// if it is lost meanwhile, and it is not taken again before that end. The [table](super::Table) says
/// [`Here`](super::Place::Here) from the end of [`take`](Self::take) until [`leave`](Self::leave) or [`lose`](Self::lose)
/// is called.
pub trait Sessions: Send + Sync {
    /// These partitions are this process's from now on. Resolves when their sessions have been started.
    fn take(&self, partitions: Partitions) -> BoxFuture<'static, ()>;

    /// Somebody else gets these. Resolves when what was on its way has left and the sessions are closed: only then is the
    /// lease given back.
    fn leave(&self, partitions: Partitions) -> BoxFuture<'static, ()>;

    /// The lease on these is lost, and somebody else may have them already: connections are cut before this returns, and
    /// it returns at once. The rest of the tidying goes on behind. Some of them may not have been started yet, or be on
    /// their way out.
    fn lose(&self, partitions: Partitions);
}
