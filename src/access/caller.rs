//! A request, or a stream, that goes on in the name of a grant.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use super::grant::Grant;
use super::rule::Rule;
use super::scope::Scope;
use crate::device::DeviceId;

/// Who sends a request. The request counts as under way for as long as this, or a clone of it, is there.
#[derive(Debug, Clone)]
pub struct Caller {
    grant: Arc<Grant>,
    /// Absent where requests are not counted.
    _place: Option<Arc<Place>>,
}

/// A grant has as many requests or streams under way as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy {
    /// How many that is.
    pub limit: u32,
}

impl Caller {
    /// Begins a request in the name of a grant.
    pub fn begin(grant: Arc<Grant>) -> Result<Self, Busy> {
        let place = Place::take(&grant, Kind::Request)?;
        Ok(Self {
            grant,
            _place: place.map(Arc::new),
        })
    }

    /// Whoever was let in elsewhere: he may do everything, and nothing is counted.
    pub fn anybody() -> Self {
        Self {
            grant: Arc::new(Grant::new(Rule::of_anybody())),
            _place: None,
        }
    }

    /// In whose name.
    pub fn grant(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// Whether he may do such things.
    pub fn may(&self, scope: Scope) -> bool {
        self.grant.allows(scope)
    }

    /// Whether he may know and do something about a device, registered or not.
    pub fn may_use(&self, device: &DeviceId) -> bool {
        self.grant.covers(device)
    }

    /// Whether nothing more is done in his name.
    pub fn is_over(&self) -> bool {
        self.grant.is_over(SystemTime::now())
    }

    /// When nothing more is done in his name: his token expires, is removed or is changed.
    pub fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        self.grant.over()
    }

    /// Begins a stream. It counts as such, and no longer as a request.
    pub fn listen(self) -> Result<Listener, Busy> {
        let place = Place::take(&self.grant, Kind::Stream)?;
        Ok(Listener {
            grant: self.grant,
            _place: place,
        })
    }
}

/// Who listens to a stream. It counts as open for as long as this is there.
#[derive(Debug)]
pub struct Listener {
    grant: Arc<Grant>,
    _place: Option<Place>,
}

impl Listener {
    /// Whether he may know something about a device. A stream of all devices tells only of these.
    pub fn may_use(&self, device: &DeviceId) -> bool {
        self.grant.covers(device)
    }

    /// When the stream must end: the token expires, is removed or is changed.
    pub fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        self.grant.over()
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Request,
    Stream,
}

/// One of as many as there may be, given back when dropped.
#[derive(Debug)]
struct Place {
    grant: Arc<Grant>,
    kind: Kind,
}

impl Place {
    /// `None` where they are not counted.
    fn take(grant: &Arc<Grant>, kind: Kind) -> Result<Option<Self>, Busy> {
        let (limit, taken) = match kind {
            Kind::Request => (grant.rule().max_requests, &grant.requests),
            Kind::Stream => (grant.rule().max_streams, &grant.streams),
        };
        let Some(limit) = limit else {
            return Ok(None);
        };
        taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .map_err(|_| Busy { limit })?;
        let grant = Arc::clone(grant);
        Ok(Some(Self { grant, kind }))
    }

    fn taken(&self) -> &AtomicU32 {
        match self.kind {
            Kind::Request => &self.grant.requests,
            Kind::Stream => &self.grant.streams,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken().fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(max_requests: Option<u32>, max_streams: Option<u32>) -> Arc<Grant> {
        Arc::new(Grant::new(Rule {
            max_requests,
            max_streams,
            ..Rule::of_anybody()
        }))
    }

    #[test]
    fn as_many_as_may_be_are_under_way_at_a_time() {
        let grant = grant(Some(2), Some(1));
        let first = Caller::begin(Arc::clone(&grant)).unwrap();
        let second = Caller::begin(Arc::clone(&grant)).unwrap();
        let begin = || Caller::begin(Arc::clone(&grant));
        assert_eq!(begin().unwrap_err(), Busy { limit: 2 });
        // A clone is the same request.
        let same = first.clone();
        drop(first);
        assert!(begin().is_err());
        drop(same);
        drop(begin().unwrap());

        // A stream gives the request's place back.
        let stream = second.listen().unwrap();
        let (third, fourth) = (begin().unwrap(), begin().unwrap());
        assert_eq!(third.listen().unwrap_err(), Busy { limit: 1 });
        drop(stream);
        assert!(fourth.listen().is_ok());
    }

    #[test]
    fn without_limits_nothing_is_counted() {
        let grant = grant(None, None);
        let callers: Vec<_> = (0..100)
            .map(|_| Caller::begin(Arc::clone(&grant)).unwrap())
            .collect();
        assert_eq!(grant.requests.load(Ordering::Relaxed), 0);
        assert!(callers.into_iter().all(|caller| caller.listen().is_ok()));
    }
}
