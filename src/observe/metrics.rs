//! The bridge in figures: which series there are, and where each is read from.
//!
//! Everything is read when somebody asks; nothing is counted for it on a message's way. Labels are bounded: connectors,
//! states and outcomes, never devices.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::exposition::{Exposition, Kind};
use crate::downlink::Hub;
use crate::registry::Registry;
use crate::session::{State, Status};
use crate::store::{self, Engine};

/// Reads the figures of the whole bridge.
#[derive(Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    hub: Arc<Hub>,
    store: Option<Arc<dyn Engine>>,
}

impl Metrics {
    /// The figures of these parts. Without a store its series are absent.
    pub fn new(registry: Arc<Registry>, hub: Arc<Hub>, store: Option<Arc<dyn Engine>>) -> Self {
        Self {
            registry,
            hub,
            store,
        }
    }

    /// All figures of this moment, in Prometheus's text format. Takes time in proportion to the number of devices.
    pub fn render(&self) -> String {
        let devices = self.registry.all();
        let mut connectors: BTreeMap<&str, ConnectorFigures> = BTreeMap::new();
        let mut seen = HashSet::new();
        for device in &devices {
            let figures = connectors
                .entry(device.connector.name.as_str())
                .or_default();
            // Devices of one connector may share a session.
            let status = device.session.status();
            if seen.insert(Arc::as_ptr(status)) {
                figures.add(status);
            }
        }
        let figures = Figures {
            listeners: self.hub.listeners() as u64,
            connectors,
            store: self
                .store
                .as_ref()
                .map(|store| (store.health(), store.counters())),
        };
        figures.render()
    }
}

/// What was read, before it is text.
#[derive(Debug, Default)]
struct Figures<'a> {
    listeners: u64,
    connectors: BTreeMap<&'a str, ConnectorFigures>,
    store: Option<(store::Health, store::Counters)>,
}

/// The sum of a connector's sessions.
#[derive(Debug)]
struct ConnectorFigures {
    sessions: BTreeMap<&'static str, u64>,
    connects: u64,
    renewals: u64,
    delivered: u64,
    refused: u64,
    repeated: u64,
    in_flight: u64,
    downlinks: u64,
    downlinks_dropped: u64,
}

/// A family with one sample for each `T`.
struct Series<T> {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: fn(&T) -> u64,
}

const fn counter<T>(name: &'static str, help: &'static str, of: fn(&T) -> u64) -> Series<T> {
    Series {
        name,
        kind: Kind::Counter,
        help,
        of,
    }
}

const fn gauge<T>(name: &'static str, help: &'static str, of: fn(&T) -> u64) -> Series<T> {
    Series {
        name,
        kind: Kind::Gauge,
        help,
        of,
    }
}

/// Shown for each connector even where there are none, so that a series does not come and go.
const STATES: [State; 8] = [
    State::Idle,
    State::Connecting,
    State::Connected,
    State::BackingOff,
    State::Refused,
    State::TakenOver,
    State::NoKey,
    State::Closed,
];

/// Label `connector`.
const OF_CONNECTOR: [Series<ConnectorFigures>; 6] = [
    counter(
        "causeway_connects_total",
        "Connections that the broker accepted.",
        |figures| figures.connects,
    ),
    counter(
        "causeway_renewals_total",
        "Connections replaced before their token expired, or for another key.",
        |figures| figures.renewals,
    ),
    counter(
        "causeway_uplinks_repeated_total",
        "Uplinks sent again after a lost connection.",
        |figures| figures.repeated,
    ),
    gauge(
        "causeway_uplinks_in_flight",
        "Uplinks that are sent and that the broker has not settled.",
        |figures| figures.in_flight,
    ),
    counter(
        "causeway_downlinks_total",
        "Downlinks received.",
        |figures| figures.downlinks,
    ),
    counter(
        "causeway_downlinks_dropped_total",
        "QoS 0 downlinks dropped, because too many waited while none could be stored.",
        |figures| figures.downlinks_dropped,
    ),
];

/// Without labels.
const OF_STORE: [Series<store::Counters>; 11] = [
    counter(
        "causeway_store_commits_total",
        "Commits that succeeded.",
        |counters| counters.commits,
    ),
    counter(
        "causeway_store_failed_commits_total",
        "Commits that failed.",
        |counters| counters.failed_commits,
    ),
    counter(
        "causeway_store_changes_total",
        "Changes in the commits that succeeded.",
        |counters| counters.changes,
    ),
    gauge(
        "causeway_store_queued_uplinks",
        "Uplinks that wait on disk for a broker.",
        |counters| counters.uplinks.count,
    ),
    gauge(
        "causeway_store_queued_uplinks_bytes",
        "Their bytes as stored.",
        |counters| counters.uplinks.bytes,
    ),
    gauge(
        "causeway_store_downlinks",
        "Downlinks that can be replayed.",
        |counters| counters.downlinks.count,
    ),
    gauge(
        "causeway_store_downlinks_bytes",
        "Their bytes as stored.",
        |counters| counters.downlinks.bytes,
    ),
    gauge(
        "causeway_store_receipts",
        "Receipts of settled uplinks.",
        |counters| counters.receipts,
    ),
    gauge(
        "causeway_store_idempotency_keys",
        "Answers kept for requests with an Idempotency-Key.",
        |counters| counters.keys,
    ),
    counter(
        "causeway_store_receipts_dropped_total",
        "Receipts dropped before they were written, because too many waited.",
        |counters| counters.receipts_dropped,
    ),
    counter(
        "causeway_store_settlements_dropped_total",
        "Settlements given up while nothing could be written; their uplinks are sent once more.",
        |counters| counters.settlements_dropped,
    ),
];

impl Figures<'_> {
    fn render(&self) -> String {
        let mut text = Exposition::default();
        text.family(
            "causeway_build_info",
            Kind::Gauge,
            "Always 1; the label says which version runs.",
        )
        .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        text.family(
            "causeway_listeners",
            Kind::Gauge,
            "Listeners for downlinks; one that reads several devices counts for each.",
        )
        .sample(&[], self.listeners);
        self.connectors(&mut text);
        if let Some((health, counters)) = &self.store {
            of_store(&mut text, health, counters);
        }
        text.finish()
    }

    fn connectors(&self, text: &mut Exposition) {
        let mut sessions = text.family(
            "causeway_sessions",
            Kind::Gauge,
            "MQTT sessions that carry devices, by where they stand.",
        );
        for (connector, figures) in &self.connectors {
            for (state, count) in &figures.sessions {
                sessions.sample(&[("connector", connector), ("state", state)], *count);
            }
        }
        let mut uplinks = text.family(
            "causeway_uplinks_total",
            Kind::Counter,
            "Uplinks that the broker confirmed (QoS 0: that were sent) or refused.",
        );
        for (connector, figures) in &self.connectors {
            for (outcome, count) in [
                ("delivered", figures.delivered),
                ("refused", figures.refused),
            ] {
                uplinks.sample(&[("connector", connector), ("outcome", outcome)], count);
            }
        }
        for series in OF_CONNECTOR {
            let mut family = text.family(series.name, series.kind, series.help);
            for (connector, figures) in &self.connectors {
                family.sample(&[("connector", connector)], (series.of)(figures));
            }
        }
    }
}

fn of_store(text: &mut Exposition, health: &store::Health, counters: &store::Counters) {
    text.family(
        "causeway_store_writable",
        Kind::Gauge,
        "1 while the store takes what must be durable; 0 while it cannot write, for example because the disk is full.",
    )
    .sample(&[], u64::from(*health == store::Health::Writable));
    for series in OF_STORE {
        text.family(series.name, series.kind, series.help)
            .sample(&[], (series.of)(counters));
    }
    text.histogram(
        "causeway_store_commit_seconds",
        "From the beginning of a commit's transaction until it was durable.",
        &counters.commit_time,
    );
}

impl ConnectorFigures {
    fn add(&mut self, status: &Status) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &status.counters;
        *self.sessions.entry(status.state().name()).or_default() += 1;
        self.connects += read(&counters.connects);
        self.renewals += read(&counters.renewals);
        self.delivered += read(&counters.delivered);
        self.refused += read(&counters.refused);
        self.repeated += read(&counters.repeated);
        self.in_flight += read(&status.in_flight);
        self.downlinks += read(&counters.downlinks);
        self.downlinks_dropped += read(&counters.downlinks_dropped);
    }
}

impl Default for ConnectorFigures {
    fn default() -> Self {
        Self {
            sessions: STATES.map(|state| (state.name(), 0)).into(),
            connects: 0,
            renewals: 0,
            delivered: 0,
            refused: 0,
            repeated: 0,
            in_flight: 0,
            downlinks: 0,
            downlinks_dropped: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(text: &str, line: &str) -> bool {
        text.lines().any(|each| each == line)
    }

    #[test]
    fn sessions_of_a_connector_are_added_up() {
        let (one, two) = (Status::default(), Status::default());
        one.counters.delivered.store(5, Ordering::Relaxed);
        two.counters.delivered.store(2, Ordering::Relaxed);
        two.counters.refused.store(1, Ordering::Relaxed);
        two.counters.downlinks_dropped.store(3, Ordering::Relaxed);
        two.in_flight.store(4, Ordering::Relaxed);
        let mut figures = Figures::default();
        for (connector, status) in [("a", &one), ("a", &two), ("b", &two)] {
            figures.connectors.entry(connector).or_default().add(status);
        }
        let text = figures.render();
        for line in [
            r#"causeway_sessions{connector="a",state="idle"} 2"#,
            r#"causeway_sessions{connector="a",state="connected"} 0"#,
            r#"causeway_sessions{connector="b",state="idle"} 1"#,
            r#"causeway_uplinks_total{connector="a",outcome="delivered"} 7"#,
            r#"causeway_uplinks_total{connector="a",outcome="refused"} 1"#,
            r#"causeway_uplinks_total{connector="b",outcome="delivered"} 2"#,
            r#"causeway_uplinks_in_flight{connector="a"} 4"#,
            r#"causeway_downlinks_dropped_total{connector="b"} 3"#,
        ] {
            assert!(has(&text, line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn a_store_that_cannot_write_shows() {
        let read_only = store::Health::ReadOnly {
            since: std::time::SystemTime::now(),
            cause: "No space left on device".into(),
        };
        for (health, line) in [
            (store::Health::Writable, "causeway_store_writable 1"),
            (read_only, "causeway_store_writable 0"),
        ] {
            let figures = Figures {
                store: Some((health, store::Counters::default())),
                ..Figures::default()
            };
            let text = figures.render();
            assert!(has(&text, line), "{line} is not in\n{text}");
        }
        assert!(!Figures::default().render().contains("causeway_store"));
    }
}
