//! `[store]` and `[downlinks]`: what survives a restart, and how much of it.

use std::sync::Arc;
use std::time::Duration;

use super::files::Files;
use super::model::{Downlinks, Store};
use super::nats;
use super::section::Section;
use crate::identity::SealingKey;
use crate::store::{HistoryLimits, KeyLimits, Limits, QueueLimits, ReceiptLimits};

const MIB: usize = 1024 * 1024;
const GIB: usize = 1024 * MIB;
const HOUR: Duration = Duration::from_secs(60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The store's file where none is named, beside the configuration.
const DEFAULT_PATH: &str = "causeway.redb";
const ENCRYPTION_KEY_FILE: &str = "encryption_key_file";

pub(super) fn downlinks(mut section: Section<'_>) -> Downlinks {
    let downlinks = Downlinks {
        history: section.count("history", 1000, 0..=1_000_000) as usize,
        history_bytes: section.bytes("history_bytes", MIB, 0..=64 * GIB),
        history_age: section.duration("history_age", 7 * 24 * HOUR, HOUR / 60..=YEAR),
        total: section.count("total", 1_000_000, 1..=100_000_000).into(),
        total_bytes: section.bytes("total_bytes", 256 * MIB, MIB..=1024 * GIB) as u64,
    };
    section.finish();
    downlinks
}

pub(super) fn store(mut section: Section<'_>, files: &Files<'_>, downlinks: &Downlinks) -> Store {
    let enabled = section.flag("enabled", true);
    let path = section.text("path");
    let servers = nats::servers(&mut section, files, enabled);
    let uplinks = QueueLimits {
        device_count: section
            .count("device_uplinks", 10_000, 1..=100_000_000)
            .into(),
        device_bytes: section.bytes("device_bytes", 64 * MIB, MIB..=1024 * GIB) as u64,
        total_count: section
            .count("total_uplinks", 1_000_000, 1..=100_000_000)
            .into(),
        total_bytes: section.bytes("total_bytes", GIB, MIB..=1024 * GIB) as u64,
    };
    let receipts = ReceiptLimits {
        age: section.duration("receipt_age", 24 * HOUR, HOUR / 60..=YEAR),
        count: section.count("receipts", 100_000, 1..=100_000_000).into(),
    };
    let keys = KeyLimits {
        age: section.duration("key_age", 24 * HOUR, HOUR / 60..=YEAR),
        count: section.count("keys", 100_000, 1..=100_000_000).into(),
    };
    let encryption_key = encryption_key(&mut section, files);
    if !enabled && section.has(ENCRYPTION_KEY_FILE) {
        section.error(
            ENCRYPTION_KEY_FILE,
            "has no effect with enabled = false: nothing is stored; remove one of the two",
        );
    }
    let recent_receipts = section.count("recent_receipts", 10_000, 0..=10_000_000) as usize;
    section.finish();
    let history = HistoryLimits {
        age: downlinks.history_age,
        device_count: downlinks.history as u64,
        device_bytes: downlinks.history_bytes as u64,
        total_count: downlinks.total,
        total_bytes: downlinks.total_bytes,
    };
    Store {
        path: (enabled && servers.is_none()).then(|| files.resolve(path.unwrap_or(DEFAULT_PATH))),
        servers,
        encryption_key,
        limits: Limits {
            uplinks,
            receipts,
            keys,
            downlinks: history,
            ..Limits::default()
        },
        recent_receipts,
    }
}

/// What secrets are sealed with. A problem is reported.
fn encryption_key(section: &mut Section<'_>, files: &Files<'_>) -> Option<Arc<SealingKey>> {
    let file = files.private(section, ENCRYPTION_KEY_FILE)?;
    let path = file.path.display();
    let text = std::str::from_utf8(&file.bytes).unwrap_or("not text");
    SealingKey::from_text(text)
        .map(Arc::new)
        .map_err(|error| section.error(ENCRYPTION_KEY_FILE, format_args!("{path}: {error}")))
        .ok()
}
