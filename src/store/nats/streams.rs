//! The streams of a store, made as the limits say.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use futures_util::future::try_join_all;

use super::names::{Names, StreamName};
use crate::store::limits::Limits;

/// The least that the server takes as an age.
const LEAST_AGE: Duration = Duration::from_secs(1);

/// Makes the streams that are missing, and changes those whose limits are others.
pub(super) async fn make(
    context: &Context,
    names: &Names,
    limits: &Limits,
    replicas: usize,
) -> Result<(), (String, String)> {
    let made = StreamName::ALL.map(async |stream| {
        let config = config(stream, names, limits, replicas);
        let name = config.name.clone();
        let made = context.create_or_update_stream(config).await;
        made.map(drop).map_err(|error| (name, error.to_string()))
    });
    try_join_all(made).await.map(drop)
}

fn config(stream: StreamName, names: &Names, limits: &Limits, replicas: usize) -> Config {
    let base = Config {
        name: names.stream(stream),
        subjects: vec![names.subjects(stream)],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        discard: DiscardPolicy::Old,
        num_replicas: replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        description: Some("Causeway".to_owned()),
        ..Config::default()
    };
    let latest = |count: u64, age: Duration| Config {
        max_messages_per_subject: 1,
        max_messages: signed(count),
        max_age: age.max(LEAST_AGE),
        ..base.clone()
    };
    match stream {
        // What waits is bounded by whoever puts it there, who knows how much of it is settled; the server must drop none.
        StreamName::Uplinks => Config {
            discard: DiscardPolicy::New,
            ..base
        },
        StreamName::Downlinks => {
            let limits = &limits.downlinks;
            // Twice, and a little: the server counts its own bytes and the milestones too, and what it lets go must have been
            // read by all who follow.
            let more = |limit: u64| signed(limit.saturating_mul(2).saturating_add(1000));
            let bytes = limits.total_bytes.saturating_mul(2);
            Config {
                max_messages_per_subject: more(limits.device_count),
                max_messages: more(limits.total_count),
                max_bytes: signed(bytes.saturating_add(64 * 1024 * 1024)),
                max_age: limits.age.max(LEAST_AGE),
                ..base
            }
        }
        StreamName::Receipts => latest(limits.receipts.count, limits.receipts.age),
        StreamName::Keys => latest(limits.keys.count, limits.keys.age),
        StreamName::Records => Config {
            max_messages_per_subject: 1,
            ..base
        },
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
