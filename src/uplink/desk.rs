//! Where platforms' answers are matched to uplinks: by device, and by the id that the uplink carried.
//!
//! An answer may come before the broker's confirmation has been seen, while somebody waits for it, long after, or never.
//! The desk knows the latest uplinks, up to a number and an age; an answer to any other is known by its id alone.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::platform::PlatformOutcome;
use crate::device::DeviceId;
use crate::message::UplinkId;

/// How many uplinks are known.
const LIMIT: usize = 10_000;
/// How long one is.
const AGE: Duration = Duration::from_secs(10 * 60);

/// The latest uplinks that platforms may answer, all devices together.
#[derive(Debug, Default)]
pub(super) struct Desk(Mutex<Expected>);

#[derive(Debug, Default)]
struct Expected {
    uplinks: HashMap<UplinkId, Entry>,
    /// Of several uplinks with one id, the latest.
    by_text: HashMap<(DeviceId, Box<str>), UplinkId>,
    /// The keys of `uplinks`, the oldest first.
    in_order: VecDeque<UplinkId>,
}

#[derive(Debug)]
struct Entry {
    device: DeviceId,
    /// The id that the uplink carried.
    text: Box<str>,
    since: Instant,
    waiting: Option<oneshot::Sender<PlatformOutcome>>,
    /// What has come and is not on the uplink's receipt yet.
    unwritten: Option<PlatformOutcome>,
    /// Whether its receipt is where it can be found.
    recorded: bool,
}

/// The platform's answer to one uplink, when it comes.
pub(super) type Awaited = oneshot::Receiver<PlatformOutcome>;

/// Somebody waits for the answer to another uplink of the device that carried the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InUse;

impl Desk {
    /// Expects an answer to an uplink, before it is sent. One that is sent again keeps whoever waits for it.
    pub(super) fn expect(&self, device: &DeviceId, text: &str, uplink: UplinkId) {
        self.lock().insert(device, text, uplink);
    }

    /// The same, to be waited for.
    pub(super) fn wait_for(
        &self,
        device: &DeviceId,
        text: &str,
        uplink: UplinkId,
    ) -> Result<Awaited, InUse> {
        let mut expected = self.lock();
        if expected.is_awaited(device, text) {
            return Err(InUse);
        }
        let (sender, receiver) = oneshot::channel();
        if let Some(entry) = expected.insert(device, text, uplink) {
            entry.waiting = Some(sender);
        }
        Ok(receiver)
    }

    /// An answer has come. Gives the uplink where it is to be written on its receipt; that of an uplink without a receipt
    /// yet is kept until then.
    pub(super) fn answer(
        &self,
        device: &DeviceId,
        text: &str,
        outcome: &PlatformOutcome,
    ) -> Option<UplinkId> {
        let mut expected = self.lock();
        let known = expected
            .by_text
            .get(&(device.clone(), text.into()))
            .copied();
        // An uplink that is not known any more may still have a receipt.
        let Some(uplink) = known else {
            return UplinkId::parse(text);
        };
        let entry = expected.uplinks.get_mut(&uplink)?;
        if let Some(waiting) = entry.waiting.take() {
            // Whoever waited may have gone.
            let _ = waiting.send(outcome.clone());
        }
        entry.unwritten = Some(outcome.clone());
        entry.recorded.then_some(uplink)
    }

    /// Whether answers to this uplink are expected.
    pub(super) fn expects(&self, uplink: UplinkId) -> bool {
        self.lock().uplinks.contains_key(&uplink)
    }

    /// The uplink's receipt can be found from now on. Gives the answer that has come already.
    pub(super) fn recorded(&self, uplink: UplinkId) -> Option<PlatformOutcome> {
        let mut expected = self.lock();
        let entry = expected.uplinks.get_mut(&uplink)?;
        entry.recorded = true;
        entry.unwritten.clone()
    }

    /// What has come for an uplink and is not on its receipt yet: whoever asks for the receipt meanwhile is told all the same.
    pub(super) fn unwritten(&self, uplink: UplinkId) -> Option<PlatformOutcome> {
        self.lock().uplinks.get(&uplink)?.unwritten.clone()
    }

    /// The answer is on the receipt.
    pub(super) fn written(&self, uplink: UplinkId, outcome: &PlatformOutcome) {
        if let Some(entry) = self.lock().uplinks.get_mut(&uplink)
            && entry.unwritten.as_ref() == Some(outcome)
        {
            entry.unwritten = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Expected> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expected {
    fn is_awaited(&self, device: &DeviceId, text: &str) -> bool {
        let uplink = self.by_text.get(&(device.clone(), text.into()));
        let entry = uplink.and_then(|uplink| self.uplinks.get(uplink));
        let waiting = entry.and_then(|entry| entry.waiting.as_ref());
        waiting.is_some_and(|sender| !sender.is_closed())
    }

    fn insert(&mut self, device: &DeviceId, text: &str, uplink: UplinkId) -> Option<&mut Entry> {
        let now = Instant::now();
        if !self.uplinks.contains_key(&uplink) {
            self.make_room(now);
            self.in_order.push_back(uplink);
            let entry = Entry {
                device: device.clone(),
                text: text.into(),
                since: now,
                waiting: None,
                unwritten: None,
                recorded: false,
            };
            self.uplinks.insert(uplink, entry);
            // The answer to whoever waits already is not given to somebody else.
            if !self.is_awaited(device, text) {
                self.by_text.insert((device.clone(), text.into()), uplink);
            }
        }
        self.uplinks.get_mut(&uplink)
    }

    fn make_room(&mut self, now: Instant) {
        while let Some(oldest) = self.in_order.front() {
            let entry = self.uplinks.get(oldest);
            let old = entry.is_none_or(|entry| now.duration_since(entry.since) > AGE);
            if !old && self.in_order.len() < LIMIT {
                return;
            }
            let Some(oldest) = self.in_order.pop_front() else {
                return;
            };
            if let Some(Entry { device, text, .. }) = self.uplinks.remove(&oldest) {
                let key = (device, text);
                if self.by_text.get(&key) == Some(&oldest) {
                    self.by_text.remove(&key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uplink::platform::Verdict;

    fn device(id: &str) -> DeviceId {
        DeviceId::parse(id).unwrap()
    }

    fn outcome(code: i64) -> PlatformOutcome {
        PlatformOutcome {
            verdict: Verdict::Accepted,
            code: Some(code),
            messages: Vec::new(),
        }
    }

    #[test]
    fn an_answer_finds_its_uplink_by_device_and_id() {
        let (desk, uplink) = (Desk::default(), UplinkId::new());
        let mut awaited = desk.wait_for(&device("a"), "7", uplink).unwrap();
        assert_eq!(desk.answer(&device("b"), "7", &outcome(1)), None);
        assert!(awaited.try_recv().is_err());
        assert_eq!(desk.answer(&device("a"), "7", &outcome(2)), None);
        assert_eq!(awaited.try_recv(), Ok(outcome(2)));
        // It came before the receipt, and is known until it is written there.
        assert_eq!(desk.recorded(uplink), Some(outcome(2)));
        assert_eq!(desk.unwritten(uplink), Some(outcome(2)));
        desk.written(uplink, &outcome(1));
        assert_eq!(
            desk.unwritten(uplink),
            Some(outcome(2)),
            "another one was written"
        );
        desk.written(uplink, &outcome(2));
        assert_eq!(desk.unwritten(uplink), None);
    }

    #[test]
    fn an_answer_that_nobody_waits_for_goes_on_the_receipt() {
        let (desk, uplink) = (Desk::default(), UplinkId::new());
        drop(desk.wait_for(&device("a"), "7", uplink).unwrap());
        assert_eq!(desk.recorded(uplink), None);
        assert_eq!(desk.answer(&device("a"), "7", &outcome(1)), Some(uplink));
        // Nor is one lost whose uplink is only known by its own id, from before a restart.
        let old = UplinkId::new();
        let text = old.to_string();
        assert_eq!(desk.answer(&device("a"), &text, &outcome(1)), Some(old));
    }

    #[test]
    fn two_with_one_id_are_not_confused_while_the_first_is_waited_for() {
        let (desk, a) = (Desk::default(), device("a"));
        let (first, second) = (UplinkId::new(), UplinkId::new());
        let mut awaited = desk.wait_for(&a, "7", first).unwrap();
        assert_eq!(desk.wait_for(&a, "7", second).unwrap_err(), InUse);
        desk.expect(&a, "7", second);
        desk.answer(&a, "7", &outcome(1));
        assert_eq!(awaited.try_recv(), Ok(outcome(1)));
        // Posted again after nothing came in time: that is what an id of one's own is for.
        drop(awaited);
        assert!(desk.wait_for(&a, "7", UplinkId::new()).is_ok());
    }

    #[test]
    fn only_so_many_are_known() {
        let (desk, a) = (Desk::default(), device("a"));
        let first = UplinkId::new();
        desk.expect(&a, "first", first);
        for number in 0..LIMIT {
            desk.expect(&a, &number.to_string(), UplinkId::new());
        }
        assert!(!desk.expects(first));
        let expected = desk.lock();
        let known = [
            expected.uplinks.len(),
            expected.by_text.len(),
            expected.in_order.len(),
        ];
        assert_eq!(known, [LIMIT; 3]);
    }
}
