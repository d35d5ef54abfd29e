//! Sessions: one task for each MQTT connection, with its window, its ledger and its renewals.
//!
//! - [`SessionHandle`]: how the rest of the program reaches one
//! - [`Publish`], [`Outcome`]: what it is given, and what it says of it
//! - [`Ticket`]: what a request waits on
//! - [`Tenure`]: for how long a device's messages may go there
//! - [`Status`]: what it tells about itself
//! - [`SessionControl`]: what it is told about itself while it runs
//! - [`ConnectGate`], `turn`: how fast all of them connect, and who comes first

mod backoff;
mod budget;
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
mod spec;
mod status;
mod suspect;
mod task;
mod telling;
mod tenure;
mod ticket;
mod turn;

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
pub use spec::{AckSink, ConnectSpec, DownlinkSink, NotTaken, SessionSpec, Shared, VersionChoice};
pub use status::{Answer, Snapshot, State, Status, Trouble};
pub use task::Session;
pub use tenure::Tenure;
pub use ticket::{Ticket, Withdrawn};
