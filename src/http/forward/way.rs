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

    use tokio_util::sync::CancellationToken;

    use super::super::{Forward, Members};
    use crate::http::HttpLimits;

    #[derive(Debug, Clone)]
    pub(in crate::http) enum Way {}

    impl Deref for Way {
        type Target = Forward;

        fn deref(&self) -> &Forward {
            match *self {}
        }
    }

    pub(in crate::http) fn way(
        _: Option<Members>,
        _: HttpLimits,
        _: &CancellationToken,
    ) -> Option<Way> {
        None
    }
}

#[cfg(any(test, feature = "nats"))]
pub(in crate::http) use of_member::{Way, way};
#[cfg(not(any(test, feature = "nats")))]
pub(in crate::http) use of_none::{Way, way};
