//! Devices that are deleted, or go to another replica, while somebody listens.

use super::*;

#[tokio::test]
async fn listeners_are_told_of_a_deleted_device_and_one_of_the_same_id_is_another_one() {
    let hub = hub(100);
    let mut both = listen(&hub, &[0, 1], After::Now);
    let mut one = listen(&hub, &[0], After::Now);
    accept(&hub, 0);
    hub.forget(&device(0));
    hub.forget(&device(0));
    let deleted = |delivery: Delivery| match delivery {
        Delivery::Deleted { device, last } => (device, last),
        other => panic!("{other:?}"),
    };
    assert_eq!(deleted(both.next().await), (device(0), false));
    assert_eq!(deleted(one.next().await), (device(0), true));
    accept(&hub, 0);
    let cursor = accept(&hub, 1);
    match both.next().await {
        Delivery::Event(event) => assert_eq!(event.cursor(), cursor),
        other => panic!("{other:?}"),
    }
    assert!(try_next(&mut one).is_none());
    assert_eq!(hub.listeners(), 1);
}

#[test]
fn a_device_that_is_dismissed_ends_its_listeners_and_tells_what_is_missing_when_it_is_back() {
    let hub = hub(10);
    let subscribe = |number, after| hub.subscribe([device(number)], None, after);
    let first = accept(&hub, 0);
    let mut listener = subscribe(0, After::Now);
    let mut other = subscribe(1, After::Now);
    accept(&hub, 0);
    hub.dismiss(&device(0));
    assert!(matches!(
        try_next(&mut listener),
        Some(Delivery::Deleted { last: true, .. })
    ));
    assert!(try_next(&mut other).is_none());
    // What came before is no longer in memory, and nothing is silently left out.
    let third = accept(&hub, 0);
    let mut back = subscribe(0, After::Cursor(first));
    assert!(matches!(try_next(&mut back), Some(Delivery::Gap(_))));
    let Some(Delivery::Event(event)) = try_next(&mut back) else {
        panic!("no event");
    };
    assert_eq!(event.cursor(), third);
    // One that nobody has listened to, and nothing has come for, is none.
    hub.dismiss(&device(7));
    assert!(try_next(&mut back).is_none());
}
