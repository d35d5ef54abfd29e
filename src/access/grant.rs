//! One token or certificate while it is in force, with what it has used up.

use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant, SystemTime};

use tokio_util::sync::CancellationToken;

use super::rate::{Bucket, Quota};
use super::rule::Rule;
use super::scope::Scope;
use crate::device::DeviceId;

/// How often a stream looks at the clock, which may have been set.
const LOOK_UP: Duration = Duration::from_secs(60);

/// A rule in force.
#[derive(Debug)]
pub struct Grant {
    rule: Rule,
    bucket: Option<Bucket>,
    pub(super) requests: AtomicU32,
    pub(super) streams: AtomicU32,
    /// The rule is not in force any more.
    pub(super) withdrawn: CancellationToken,
}

impl Grant {
    pub(super) fn new(rule: Rule) -> Self {
        Self {
            bucket: rule.rate.map(|rate| Bucket::new(rate, Instant::now())),
            rule,
            requests: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            withdrawn: CancellationToken::new(),
        }
    }

    /// What it says.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    /// Whether it lets such a request through.
    pub fn allows(&self, scope: Scope) -> bool {
        self.rule.allows(scope)
    }

    /// Whether it is for a device, registered or not.
    pub fn covers(&self, device: &DeviceId) -> bool {
        self.rule.devices.contains(device)
    }

    /// Whether requests in its name are not taken any more.
    pub fn is_over(&self, now: SystemTime) -> bool {
        self.rule.is_expired(now) || self.withdrawn.is_cancelled()
    }

    /// Counts a request against its rate. `Ok(None)` without a rate; `Err` when nothing is left.
    pub fn take(&self, now: Instant) -> Result<Option<Quota>, Quota> {
        self.bucket
            .as_ref()
            .map(|bucket| bucket.take(now))
            .transpose()
    }

    /// Its end: when it expires, is removed or is changed.
    pub(super) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        // Polled together with its stream, a token of its own shares no lock with other streams.
        let withdrawn = self.withdrawn.child_token();
        let expires = self.rule.expires;
        async move {
            tokio::select! {
                () = withdrawn.cancelled() => {}
                () = expired(expires) => {}
            }
        }
    }
}

async fn expired(at: Option<SystemTime>) {
    let Some(at) = at else {
        return std::future::pending().await;
    };
    while let Ok(left) = at.duration_since(SystemTime::now())
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(LOOK_UP)).await;
    }
}
