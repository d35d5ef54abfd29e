//! Sessions: one task for each MQTT connection, with its window, its ledger and its renewals.
//!
//! - [`SessionHandle`]: how the rest of the program reaches one
//! - [`Publish`], [`Outcome`]: what it is given, and what it says of it
//! - [`Ticket`]: what a request waits on
//! - [`Tenure`]: for how long a device's messages may go there
//! - [`Status`], [`Snapshot`]: what it tells about itself
//! - [`SessionControl`], `obey`: what it is told about itself while it runs
//! - [`ConnectGate`], `turn`: how fast all of them connect, and who comes first
//!
//! The task goes round in a circle:
//!
//! ```text
//! task ─► establish ─► live ─► ended ─► backoff ─► wait ─► establish …
//! ```
//!
//! - `establish`: a connection comes about; `rotation`: with a key that the broker does not take, it does not
//! - `live`: the connection, with its `inbox` and the session's `ledger`
//! - `ended`, `suspect`: why it was over, and whether a message was the reason
//! - `backoff`, `telling`: what comes next, and what of it is worth a line in the log
//! - `wait`: the time until then

mod backoff;
mod budget;
mod ended;
mod establish;
mod gate;
mod handle;
mod inbox;
mod ledger;
mod live;
mod obey;
mod orders;
mod outcome;
mod pace;
mod password;
mod rotation;
mod routes;
mod snapshot;
mod spec;
mod status;
mod suspect;
mod task;
mod telling;
mod tenure;
mod ticket;
mod turn;
mod wait;

#[cfg(test)]
mod tests;

pub use budget::{Budget, Share};
pub use gate::ConnectGate;
#[cfg(test)]
pub(crate) use handle::Detached;
pub use handle::{SessionHandle, SubmitError};
pub use orders::SessionControl;
pub use outcome::{NotSent, Outcome, Publish};
pub use pace::Pace;
pub use password::{
    FreshPassword, KeyReports, NoPassword, Password, TokenKey, TokenKid, TokenSource,
};
pub use routes::{DeviceRoutes, Routes};
pub use snapshot::{Answer, Snapshot, State, Trouble};
pub use spec::{AckSink, ConnectSpec, DownlinkSink, NotTaken, SessionSpec, Shared, VersionChoice};
pub use status::Status;
pub use task::Session;
pub use tenure::Tenure;
pub use ticket::{Ticket, Withdrawn};
