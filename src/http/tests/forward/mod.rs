//! Any member answers for any device: what goes to the one that has it, and what is answered when that one does not.

mod batches;
mod lists;
mod requests;
mod uplinks;

use std::time::Duration;

use super::client::{Answer, send};
use super::cluster::Cluster;
use crate::mqtt::reason::Reason;
use crate::session::{Detached, Outcome};

const PUMP: &str = "POST /v1/devices/pump/uplinks";
/// Long enough for a machine that does much else.
const PATIENT: &str = "Prefer: wait=30\r\n";
const SHORT: &str = "Prefer: wait=1\r\n";

fn delivered() -> Option<Outcome> {
    Some(Outcome::Delivered {
        reason: Reason::SUCCESS,
    })
}

/// Posts to a member while a session settles what it gets.
async fn settled(
    cluster: &Cluster,
    at: usize,
    session: &mut Detached,
    body: &str,
    outcome: Option<Outcome>,
) -> (Answer, crate::session::Publish) {
    let address = cluster.bridges[at].address;
    tokio::join!(
        send(address, PUMP, PATIENT, body.as_bytes()),
        session.settle(outcome)
    )
}

/// What comes about in time, or never.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(60);
    tokio::time::timeout(limit, what)
        .await
        .expect("nothing came")
}
