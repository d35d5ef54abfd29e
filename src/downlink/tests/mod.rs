//! What listeners see: every event once and in order, or a gap that covers what is missing.
//!
//! - `window`, `deleted`: a hub that keeps everything in memory; `model`: the same, whatever comes in whatever order
//! - `stored`: a hub in front of a history (`front`, `fake`); `interleavings`: the same, whatever comes in whatever order
//! - `races`: many that produce and many that listen at a time, and what each must have `seen`

mod deleted;
mod fake;
mod front;
mod interleavings;
mod model;
mod races;
mod seen;
mod stored;
mod window;

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;

use super::*;
use crate::device::DeviceId;
use crate::message::{Downlink, Qos};

const START: u64 = 1_000_000;

fn hub(events: usize) -> Arc<Hub> {
    let limits = Limits {
        events,
        bytes: usize::MAX,
        total_bytes: usize::MAX,
    };
    Arc::new(Hub::starting_at(limits, None, Cursor::from_raw(START)))
}

fn device(number: usize) -> DeviceId {
    DeviceId::parse(&format!("d{number}")).unwrap()
}

fn downlink(number: usize, topic: &str) -> Downlink {
    Downlink {
        device: device(number),
        topic: topic.into(),
        payload: bytes::Bytes::from_static(b"{}"),
        content_type: None,
        qos: Qos::AtLeastOnce,
        retained: false,
        received_at: SystemTime::now(),
    }
}

fn accept_on(hub: &Hub, number: usize, topic: &str) -> Cursor {
    hub.accept(&downlink(number, topic))
}

/// What is there; without a history, nothing has to be waited for.
fn try_next(subscription: &mut Subscription) -> Option<Delivery> {
    subscription.present().now_or_never().unwrap()
}

fn accept(hub: &Hub, number: usize) -> Cursor {
    accept_on(hub, number, "t")
}

fn accept_many(hub: &Hub, count: usize) {
    for _ in 0..count {
        accept(hub, 0);
    }
}

fn listen(hub: &Arc<Hub>, devices: &[usize], after: After) -> Subscription {
    hub.subscribe(devices.iter().map(|n| device(*n)), None, after)
}

/// Everything that is there: cursors of events, and gaps.
fn drain(subscription: &mut Subscription) -> (Vec<Cursor>, Vec<Gap>) {
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    loop {
        match try_next(subscription) {
            Some(Delivery::Event(event)) => events.push(event.cursor()),
            Some(Delivery::Gap(gap)) => gaps.push(gap),
            Some(end) => panic!("{end:?}"),
            None => return (events, gaps),
        }
    }
}

fn raw(number: u64) -> Cursor {
    Cursor::from_raw(START + number)
}
