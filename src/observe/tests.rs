//! Sessions that change while they are watched.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::poll_fn;

use super::survey::{Figures, Survey};
use super::watch::{Seen, Watch};
use crate::device::DeviceId;
use crate::registry::{Device, Registry};
use crate::session::{Detached, State};

/// A device of the profile `plain`, and its session.
fn device(id: &str) -> (Device, Detached) {
    Device::detached(id, "plain", 1)
}

fn ids(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.device.id.as_str()).collect()
}

#[test]
fn a_survey_tells_everything_once_and_then_what_has_changed() {
    let (devices, sessions): (Vec<_>, Vec<_>) =
        (0..250).map(|n| device(&format!("d{n:03}"))).unzip();
    let mut survey = Survey::new(Arc::new(Registry::new(devices)));
    let first = survey.step(|_| true);
    assert!(first.changed.len() < 250 && !first.complete, "in steps");
    let second = survey.step(|_| true);
    assert!(second.complete && second.gone.is_empty());
    let told: HashSet<_> = ids(&first.changed)
        .into_iter()
        .chain(ids(&second.changed))
        .collect();
    assert_eq!(told.len(), 250);

    for (at, what) in [(249, "first"), (7, "old"), (7, "new")] {
        sessions[at].trouble(State::BackingOff, what, "wait");
    }
    let first = survey.step(|_| true);
    assert_eq!(ids(&first.changed), ["d007"], "told once");
    assert_eq!(
        first.changed[0].now.last_trouble.as_ref().unwrap().what,
        "new"
    );
    assert_eq!(ids(&survey.step(|_| true).changed), ["d249"]);
    assert_eq!(survey.step(|_| true).changed.len(), 0);
}

#[test]
fn a_survey_tells_which_devices_are_gone_and_which_figures_are_news() {
    let ((a, _a), (b, _b)) = (device("a"), device("b"));
    let mut survey = Survey::new(Arc::new(Registry::new([a, b])));
    assert_eq!(ids(&survey.step(|_| true).changed), ["a", "b"]);
    let without_b = survey.step(|device| device.as_str() == "a");
    assert_eq!(without_b.gone, [DeviceId::parse("b").unwrap()]);
    assert!(survey.step(|device| device.as_str() == "a").gone.is_empty());
    assert_eq!(ids(&survey.step(|_| true).changed), ["b"], "it is back");

    let id = DeviceId::parse("a").unwrap();
    let figures = Figures {
        backlog: 3,
        ..Figures::default()
    };
    assert!(survey.has_news(&id, figures));
    assert!(!survey.has_news(&id, figures));
    assert!(survey.has_news(&id, Figures::default()));
}

#[tokio::test]
async fn a_watch_tells_at_once_what_is_not_well_and_then_what_changes() {
    let ((a, session), (b, other)) = (device("a"), device("b"));
    session.connected();
    let registry = Arc::new(Registry::new([a, b]));
    let devices = registry.all().into_iter();
    let devices: BTreeMap<_, _> = devices.map(|device| (device.id.clone(), device)).collect();
    let mut watch = Watch::new(Arc::clone(&registry), &devices);
    let mut next = async || poll_fn(|cx| watch.poll_next(cx)).await;
    let seen = next().await;
    assert_eq!(
        (seen.device.id.as_str(), seen.now.state),
        ("b", State::Idle)
    );
    assert!(
        next().now_or_never().is_none(),
        "the other one is connected"
    );

    session.trouble(State::BackingOff, "gone", "wait");
    let seen = next().await;
    assert_eq!(
        (seen.device.id.as_str(), seen.now.state),
        ("a", State::BackingOff)
    );

    let changed = async {
        tokio::task::yield_now().await;
        other.connected();
    };
    let (seen, ()) = tokio::join!(next(), changed);
    assert_eq!(
        (seen.device.id.as_str(), seen.now.state),
        ("b", State::Connected)
    );
}

#[test]
fn a_watch_that_is_gone_is_not_woken_any_more() {
    let (a, session) = device("a");
    let registry = Arc::new(Registry::new([a]));
    let device = registry.all().remove(0);
    let watch = Watch::new(
        registry,
        &BTreeMap::from([(device.id.clone(), Arc::clone(&device))]),
    );
    assert_eq!(device.session.status().watchers(), 1);
    drop(watch);
    assert_eq!(device.session.status().watchers(), 0);
    session.connected();
}
