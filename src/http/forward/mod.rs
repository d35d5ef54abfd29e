//! Requests about devices whose session another replica has.
//!
//! ```text
//! client ─► guard: token, device ─► reach ─► Peers::ask ~~► Answering ─► route or road out ─► the owner's session
//!                                     └─► Fallback: uplinks that no owner takes are stored here, and answered with 202
//! ```
//!
//! - [`Members`]: what of the other members is needed here; without it there is one process, and nothing of this is done
//! - `ask`, `answer`, `fields`, `headers`: what goes from one member to another, as plain data
//! - `way`: that there can be other members at all
//! - `reach`: asking whoever has a device, looking again where it has moved, within a time
//! - `uplink`: the road out for a device that may be elsewhere, and telling its owner of what was stored here
//! - `route`: any other request about a device
//! - `page`, `receipt`: what all members are asked for
//! - `listening`: those who have a device are told that somebody listens to it elsewhere
//! - [`answering`]: the other side
//!
//! The member that a client talks to decides what its token lets it do. The one that has the device does it, and asks
//! nobody else: a device that it has not is "not here", so that no request goes round.

#![cfg_attr(
    not(any(test, feature = "nats")),
    expect(dead_code, reason = "nothing of it can be needed")
)]

mod answer;
mod answering;
mod ask;
mod fields;
mod headers;
mod listening;
mod page;
mod reach;
mod receipt;
mod route;
mod uplink;
mod way;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use answering::answerer;

pub(super) use answer::HttpAnswer;
pub(super) use ask::PageWanted;
pub(super) use listening::Ear;
pub(super) use page::WholePage;
pub(super) use reach::Unreached;
pub(super) use route::{OwnerRoute, exists};
pub(super) use uplink::Delivered;
pub(super) use way::{Way, way};

use super::HttpLimits;
use crate::access::Caller;
use crate::cluster::{Peers, Places};
use crate::uplink::Fallback;
use listening::Listeners;

/// What is needed of the other members.
#[derive(Debug, Clone)]
pub struct Members {
    /// They are asked by way of this.
    pub peers: Arc<dyn Peers>,
    /// Where devices are.
    pub places: Arc<dyn Places>,
    /// Where uplinks go that no owner takes.
    pub fallback: Arc<dyn Fallback>,
    /// The time after which a member that nobody hears of has lost what it had.
    pub lease: Duration,
}

/// The way to what other members have.
#[derive(Debug)]
pub(super) struct Forward {
    members: Members,
    limits: HttpLimits,
    /// The program ends: nobody is waited for any longer than an answer may be on its way.
    shutdown: CancellationToken,
    /// In whose name a request comes that another member has let in.
    anybody: Caller,
    listeners: Arc<Listeners>,
}

impl Forward {
    pub(super) fn new(members: Members, limits: HttpLimits, shutdown: CancellationToken) -> Self {
        let listeners = Listeners::new(members.clone());
        Self {
            members,
            limits,
            shutdown,
            anybody: Caller::anybody(),
            listeners: Arc::new(listeners),
        }
    }
}

/// What a member asks to have an uplink of a device delivered, for tests of the answering side.
#[cfg(test)]
pub(super) fn ask_for_tests(device: &str, payload: &str) -> Vec<u8> {
    let uplink = crate::message::Uplink {
        device: crate::device::DeviceId::parse(device).unwrap(),
        subtopic: None,
        payload: payload.to_owned().into(),
        content_type: None,
        qos: None,
        retain: false,
        expiry: None,
        traceparent: None,
    };
    let wait = std::time::Duration::from_secs(30);
    let wishes = crate::uplink::Wishes::wait(wait);
    ask::Ask::uplink(&uplink, &wishes, std::time::Duration::ZERO, wait).to_vec()
}

/// The same for a request, whatever its path.
#[cfg(test)]
pub(super) fn request_for_tests(target: &str) -> Vec<u8> {
    let request = ask::DeviceRequest {
        method: axum::http::Method::GET,
        uri: target.parse().unwrap(),
        headers: Default::default(),
        body: Default::default(),
    };
    ask::Ask::request(&request).to_vec()
}
