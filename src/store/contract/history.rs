//! Downlinks: windows, pages, gaps.

use proptest::prelude::*;

use super::*;
use crate::store::HistoryLimits;
use crate::store::records::Window;

fn limits(downlinks: HistoryLimits) -> Limits {
    Limits {
        downlinks,
        ..Limits::default()
    }
}

async fn append(store: &dyn Engine, numbers: &[usize]) -> Vec<u64> {
    let downlinks = numbers.iter().map(|n| downlink(&device(*n), b"0123456789"));
    store.append(downlinks.collect()).await.unwrap()
}

/// Everything behind a cursor, page by page, and what has fallen off.
async fn read(
    store: &dyn Engine,
    numbers: &[usize],
    after: u64,
    limit: ReadLimit,
) -> (Vec<u64>, Option<u64>) {
    let devices: Arc<[DeviceId]> = numbers.iter().map(|n| device(*n)).collect();
    let (mut cursors, mut after, mut fallen) = (Vec::new(), after, None);
    loop {
        let page = store.history(Arc::clone(&devices), after, limit);
        let page = page.await.unwrap();
        assert!(page.events.len() <= limit.count.max(1));
        cursors.extend(page.events.iter().map(|event| event.cursor));
        fallen = fallen.max(page.fallen);
        if page.until == store.newest_cursor() {
            return (cursors, fallen);
        }
        assert!(page.until > after, "no progress");
        after = page.until;
    }
}

async fn a_downlink_is_read_as_it_was_stored(kind: Kind) {
    let mut fixture = Fixture::new(kind, Limits::default()).await;
    let sent = downlink(&device(1), b"\x00\xff");
    let start = fixture.store.newest_cursor();
    let cursors = fixture.store.append(vec![sent.clone()]).await.unwrap();
    assert!(cursors[0] > start);
    fixture.reopen().await;
    assert_eq!(fixture.store.newest_cursor(), cursors[0]);
    let page = fixture
        .store
        .history([device(1)].into(), 0, ALL)
        .await
        .unwrap();
    assert_eq!(page.events[0].cursor, cursors[0]);
    assert_eq!(
        format!("{:?}", page.events[0].downlink),
        format!("{sent:?}")
    );
}

async fn pages_merge_devices_in_the_order_of_cursors(kind: Kind) {
    let fixture = Fixture::new(kind, Limits::default()).await;
    let store = &*fixture.store;
    let cursors = append(store, &[0, 1, 2, 1, 0, 2, 0]).await;
    let of = |indexes: &[usize]| indexes.iter().map(|i| cursors[*i]).collect::<Vec<_>>();
    let start = cursors[0] - 1;
    for count in [1, 2, 100] {
        let limit = ReadLimit { count, ..ALL };
        let (read_0_2, fallen) = read(store, &[0, 2, 0], start, limit).await;
        assert_eq!((read_0_2, fallen), (of(&[0, 2, 4, 5, 6]), None));
        let (read_1, _) = read(store, &[1], cursors[1], limit).await;
        assert_eq!(read_1, of(&[3]));
        // So many devices that the whole history is looked through.
        let many: Vec<_> = (1..200).collect();
        let (read_many, _) = read(store, &many, start, limit).await;
        assert_eq!(read_many, of(&[1, 2, 3, 5]));
    }
    let (few_bytes, _) = read(store, &[0], start, ReadLimit { bytes: 1, ..ALL }).await;
    assert_eq!(few_bytes, of(&[0, 4, 6]));
}

async fn what_falls_off_leaves_a_mark_for_its_device(kind: Kind) {
    let fixture = Fixture::new(
        kind,
        limits(HistoryLimits {
            device_count: 2,
            ..HistoryLimits::default()
        }),
    )
    .await;
    let store = &*fixture.store;
    let origin = store.newest_cursor();
    let cursors = append(store, &[0, 0, 0, 1]).await;
    let window = |oldest, newest, fallen| Window {
        oldest: Some(oldest),
        newest: Some(newest),
        fallen,
    };
    let first = store.window(&device(0)).await.unwrap();
    assert_eq!(first, window(cursors[1], cursors[2], cursors[0]));
    let second = store.window(&device(1)).await.unwrap();
    assert_eq!(second, window(cursors[3], cursors[3], origin));
    let none = store.window(&device(2)).await.unwrap();
    let nothing = Window {
        fallen: origin,
        ..Window::default()
    };
    assert_eq!(none, nothing);
    assert_eq!(read(store, &[0], origin, ALL).await.1, Some(cursors[0]));
    assert_eq!(read(store, &[0], cursors[0], ALL).await.1, None);
    assert_eq!(read(store, &[1, 2], origin, ALL).await.1, None);
    let before = read(store, &[1, 2], origin - 1, ALL).await.1;
    assert_eq!(before, Some(origin), "from a store that is gone");
}

async fn a_history_is_bounded_by_bytes_age_and_in_total(kind: Kind) {
    let hour = Duration::from_secs(3600);
    let one = crate::store::format::encode_downlink(&downlink(&device(0), b"0123456789"));
    let size = one.len() as u64;
    let default = HistoryLimits::default();
    for (limit, kept) in [
        (
            HistoryLimits {
                device_bytes: 3 * size,
                ..default
            },
            3..10,
        ),
        (
            HistoryLimits {
                total_bytes: 4 * size,
                ..default
            },
            6..10,
        ),
        (
            HistoryLimits {
                total_count: 5,
                ..default
            },
            5..10,
        ),
        (
            HistoryLimits {
                device_bytes: 0,
                ..default
            },
            5..10,
        ),
        (
            HistoryLimits {
                total_bytes: 0,
                ..default
            },
            9..10,
        ),
    ] {
        let fixture = Fixture::new(kind, limits(limit)).await;
        let cursors = append(&*fixture.store, &[0, 0, 0, 0, 0, 0, 1, 1, 1, 1]).await;
        let (read, _) = read(&*fixture.store, &[0, 1], 0, ALL).await;
        let expected = match (limit.device_bytes, limit.device_bytes == 3 * size) {
            (0, _) => vec![cursors[5], cursors[9]],
            (_, true) => [&cursors[3..6], &cursors[7..10]].concat(),
            _ => cursors[kept].to_vec(),
        };
        assert_eq!(read, expected, "{limit:?}");
        let bytes = fixture.store.counters().downlinks.bytes;
        assert_eq!(bytes, read.len() as u64 * size);
    }
    let age = HistoryLimits {
        age: hour,
        ..default
    };
    let fixture = Fixture::new(kind, limits(age)).await;
    let mut old = downlink(&device(0), b"old");
    old.received_at = now() - 2 * hour;
    let new = downlink(&device(0), b"new");
    let cursors = fixture.store.append(vec![old, new]).await.unwrap();
    let window = fixture.store.window(&device(0)).await.unwrap();
    assert_eq!(
        (window.oldest, window.fallen),
        (Some(cursors[1]), cursors[0])
    );
}

async fn cursors_of_a_new_store_are_behind_those_of_the_one_that_is_gone(kind: Kind) {
    let gone = Fixture::new(kind, Limits::default()).await;
    let last = append(&*gone.store, &[0, 0, 0]).await[2];
    drop(gone);
    let new = Fixture::new(kind, Limits::default()).await;
    assert!(append(&*new.store, &[0]).await[0] > last);
}

#[derive(Debug, Clone)]
struct Case {
    appends: Vec<Vec<usize>>,
    device_count: u64,
    total_count: u64,
    reopen: bool,
    after: usize,
    limit: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let appends = prop::collection::vec(prop::collection::vec(0..3usize, 1..6), 1..12);
    let limits = (1..6u64, 1..12u64);
    (appends, limits, any::<bool>(), 0..30usize, 1..5usize).prop_map(
        |(appends, (device_count, total_count), reopen, after, limit)| Case {
            appends,
            device_count,
            total_count,
            reopen,
            after,
            limit,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    /// Whatever was appended and pruned: behind what is said to have fallen off, nothing is missing.
    #[test]
    fn behind_the_mark_nothing_is_missing(case in cases()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(look_behind_the_mark(Kind::Embedded, case));
    }
}

#[cfg(feature = "nats")]
proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]
    #[test]
    fn behind_the_mark_on_nats_nothing_is_missing(case in cases()) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(look_behind_the_mark(Kind::Nats, case));
    }
}

async fn look_behind_the_mark(kind: Kind, case: Case) {
    let bounds = HistoryLimits {
        device_count: case.device_count,
        total_count: case.total_count,
        ..HistoryLimits::default()
    };
    let mut fixture = Fixture::new(kind, limits(bounds)).await;
    let mut all = vec![(fixture.store.newest_cursor(), usize::MAX)];
    for append_now in &case.appends {
        let cursors = append(&*fixture.store, append_now).await;
        all.extend(cursors.into_iter().zip(append_now.iter().copied()));
    }
    if case.reopen {
        fixture.reopen().await;
    }
    let after = all[case.after % all.len()].0;
    for devices in [&[0][..], &[1, 2], &[0, 1, 2]] {
        let limit = ReadLimit {
            count: case.limit,
            ..ALL
        };
        let (read, fallen) = read(&*fixture.store, devices, after, limit).await;
        let from = fallen.unwrap_or(after);
        let expected = all
            .iter()
            .filter(|(cursor, device)| *cursor > from && devices.contains(device));
        let behind: Vec<_> = expected.map(|(cursor, _)| *cursor).collect();
        let read_behind: Vec<_> = read.iter().copied().filter(|c| *c > from).collect();
        assert_eq!(read_behind, behind);
        assert!(read.is_sorted_by(|a, b| a < b) && read.iter().all(|c| *c > after));
    }
    assert!(fixture.store.counters().downlinks.count <= case.total_count);
}

contract! {
    a_downlink_is_read_as_it_was_stored,
    pages_merge_devices_in_the_order_of_cursors,
    what_falls_off_leaves_a_mark_for_its_device,
    a_history_is_bounded_by_bytes_age_and_in_total,
    cursors_of_a_new_store_are_behind_those_of_the_one_that_is_gone,
}
