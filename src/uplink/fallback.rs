//! What becomes of an uplink whose device is held by nobody who answers.

use std::fmt::Debug;

use futures_util::future::BoxFuture;

use super::error::UplinkError;
use super::{Accepted, Wishes};
use crate::message::Uplink;

/// Takes uplinks for devices whose session runs elsewhere, or nowhere at the moment.
pub trait Fallback: Debug + Send + Sync {
    /// Checks an uplink against its device's connector and stores it, behind what is stored of the device. Whoever holds the
    /// device, now or later, sends it. What this gives is queued, and durable; with an error it was not taken.
    fn store(
        &self,
        uplink: Uplink,
        wishes: Wishes,
    ) -> BoxFuture<'static, Result<Accepted, UplinkError>>;
}
