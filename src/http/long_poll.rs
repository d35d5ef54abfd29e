//! Downlinks as one JSON answer, for clients that cannot stream.

use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::problem::{Kind, Problem};
use crate::downlink::{Cursor, Delivery, Subscription};

/// An answer that has grown this large takes no further event, in bytes. The rest comes with the next poll.
const FULL: usize = 4 * 1024 * 1024;

/// Waits for the first event, but not beyond `until`, then takes what is there.
pub(super) async fn answer(
    mut subscription: Subscription,
    limit: usize,
    wait: Duration,
    until: impl Future<Output = ()>,
) -> Response {
    let mut next = tokio::select! {
        first = first(&mut subscription, limit, wait) => first,
        () = until => None,
    };
    if let Some(Delivery::Unavailable) = next {
        let what = "the stored downlinks cannot be read at the moment";
        return Problem::new(Kind::StoreUnavailable, what)
            .retry_after(1)
            .into_response();
    }
    let mut json = b"{\"events\":[".to_vec();
    let (mut count, mut further) = (0, false);
    while let Some(delivery) = next {
        // Behind: the next poll begins with a gap. Unavailable: it goes on here.
        if !write(&mut json, &delivery, further) {
            break;
        }
        further = true;
        // A gap does not count: alone, it would leave the position where it was, and the next poll would find it again.
        count += usize::from(matches!(delivery, Delivery::Event(_)));
        let over = matches!(delivery, Delivery::Deleted { last: true, .. });
        let full = over || count >= limit || json.len() >= FULL;
        next = if full {
            None
        } else {
            subscription.present().await
        };
    }
    let position = subscription.position().unwrap_or(Cursor::ZERO);
    json.extend_from_slice(format!("],\"next\":\"{position}\"}}\n").as_bytes());
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Body::from(json)).into_response()
}

async fn first(subscription: &mut Subscription, limit: usize, wait: Duration) -> Option<Delivery> {
    if limit > 0
        && let Some(present) = subscription.present().await
    {
        return Some(present);
    }
    if wait.is_zero() {
        return None;
    }
    tokio::time::timeout(wait, subscription.next()).await.ok()
}

/// Writes one event; `false` when there is none.
fn write(json: &mut Vec<u8>, delivery: &Delivery, further: bool) -> bool {
    let separator: &[u8] = if further { b"," } else { b"" };
    match delivery {
        Delivery::Event(event) => {
            json.extend_from_slice(separator);
            let head = format!(
                "{{\"id\":\"{}\",\"event\":\"downlink\",\"data\":",
                event.cursor()
            );
            json.extend_from_slice(head.as_bytes());
            json.extend_from_slice(event.data());
        }
        Delivery::Gap(gap) => {
            json.extend_from_slice(separator);
            json.extend_from_slice(b"{\"event\":\"gap\",\"data\":");
            // Writing it to memory cannot fail.
            let _ = serde_json::to_writer(&mut *json, gap);
        }
        Delivery::Deleted { device, .. } => {
            json.extend_from_slice(separator);
            json.extend_from_slice(b"{\"event\":\"deleted\",\"data\":");
            // Writing it to memory cannot fail.
            let _ = serde_json::to_writer(&mut *json, &serde_json::json!({ "device": device }));
        }
        Delivery::Behind | Delivery::Unavailable => return false,
    }
    json.push(b'}');
    true
}
