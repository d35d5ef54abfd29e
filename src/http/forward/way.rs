//! The way to other members as routes have it: in a build that cannot have other members there is no such thing, and its
//! compiler leaves out all that would be done with one.

#[cfg(any(test, feature = "nats"))]
mod of_member {
    use std::sync::Arc;

    use tokio_util::sync::CancellationToken;

    use super::super::{Forward, Members};
    use crate::http::HttpLimits;

    pub(in crate::http) type Way = Arc<Forward>;

    /// `None` in one process.
    pub(in crate::http) fn way(
        members: Option<Members>,
        limits: HttpLimits,
        shutdown: &CancellationToken,
    ) -> Option<Way> {
        members.map(|members| Arc::new(Forward::new(members, limits, shutdown.clone())))
    }
}

#[cfg(not(any(test, feature = "nats")))]
mod of_none {
    use std::ops::Deref;
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use tokio::sync::RwLock;
    use tokio_util::sync::CancellationToken;

    use super::super::{Delivered, Ear, Forward, Members, PageWanted, Unreached, WholePage};
    use crate::device::DeviceId;
    use crate::http::HttpLimits;
    use crate::http::problem::Problem;
    use crate::message::{Uplink, UplinkId};
    use crate::registry::Registry;
    use crate::uplink::{Uplinks, Wishes};

    #[derive(Debug, Clone)]
    pub(in crate::http) enum Way {}

    pub(in crate::http) fn way(
        _: Option<Members>,
        _: HttpLimits,
        _: &CancellationToken,
    ) -> Option<Way> {
        None
    }

    impl Deref for Way {
        type Target = Forward;

        fn deref(&self) -> &Forward {
            match *self {}
        }
    }

    /// In place of those of [`Forward`] that are waited for: what a future goes on with, no compiler can leave out.
    impl Way {
        pub(in crate::http) async fn deliver(
            &self,
            _: &Uplinks,
            _: Uplink,
            _: Wishes,
        ) -> Delivered {
            match *self {}
        }

        pub(in crate::http) async fn deliver_in_turn(
            &self,
            _: &Uplinks,
            _: Uplink,
            _: Wishes,
            _: Arc<RwLock<()>>,
        ) -> Delivered {
            match *self {}
        }

        pub(in crate::http) async fn receipt(
            &self,
            _: UplinkId,
        ) -> Result<Option<(DeviceId, Bytes)>, Unreached> {
            match *self {}
        }

        pub(in crate::http) async fn page(
            &self,
            _: &Registry,
            _: &PageWanted,
        ) -> Result<WholePage, Unreached> {
            match *self {}
        }

        pub(in crate::http) async fn exists(&self, _: &DeviceId) -> Result<bool, Problem> {
            match *self {}
        }

        pub(in crate::http) async fn registered(
            &self,
            _: &DeviceId,
        ) -> Result<Option<Bytes>, Unreached> {
            match *self {}
        }

        pub(in crate::http) async fn listen(
            &self,
            _: &Arc<Registry>,
            _: Vec<DeviceId>,
            _: Duration,
            _: &CancellationToken,
        ) -> Ear {
            match *self {}
        }
    }
}

#[cfg(any(test, feature = "nats"))]
pub(in crate::http) use of_member::{Way, way};
#[cfg(not(any(test, feature = "nats")))]
pub(in crate::http) use of_none::{Way, way};
