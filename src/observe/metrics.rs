//! The bridge in figures: where each metric is read from.
//!
//! What happens on a message's way is counted by those who are on it (see [`tally`](crate::tally)); everything else is
//! read here when somebody asks.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::exposition::{Exposition, Family};
use super::health::{Excluded, Health};
use super::{families as f, process};
use crate::cluster::Peers;
use crate::cluster::{MemberState, Report};
use crate::registry::{Device, Registry};
use crate::session::{Budget, State};
use crate::store::{self, Engine, TIMING_BOUNDS};
use crate::tally::{
    Answered, Asked, BOUNDS, Cause, ClusterTally, ConnectorTally, HttpTally, ListenerFigures,
    Source, Tally,
};
use crate::telemetry::TracerFigures;

/// Reads the figures of the whole bridge.
#[derive(Debug)]
pub struct Metrics {
    sources: Sources,
}

/// Whom they are read from.
#[derive(Debug)]
pub struct Sources {
    /// The devices and their sessions.
    pub registry: Arc<Registry>,
    /// What is counted on the way.
    pub tally: Arc<Tally>,
    /// The memory of all queues.
    pub budget: Arc<Budget>,
    /// Without a store its series are absent.
    pub store: Option<Arc<dyn Engine>>,
    /// Whether the bridge is ready.
    pub health: Arc<Health>,
    /// Requests of both listeners.
    pub http: Arc<HttpTally>,
    /// Connections of the main listener.
    pub listener: Arc<ListenerFigures>,
    /// What has become of spans, where they are made.
    pub traces: Option<Arc<TracerFigures>>,
    /// The replicas that share the store. The series of a cluster are absent without.
    pub peers: Option<Arc<dyn Peers>>,
}

impl Metrics {
    /// The figures of these.
    pub fn new(sources: Sources) -> Self {
        Self { sources }
    }

    /// All figures of this moment, in Prometheus's text format. Takes time in proportion to the number of devices.
    pub fn render(&self) -> String {
        let figures = self.connectors();
        let mut text = Exposition::default();
        self.of_bridge(&mut text);
        self.of_http(&mut text);
        self.of_uplinks(&mut text, &figures);
        of_downlinks(&mut text, &figures);
        of_sessions(&mut text, &figures);
        if let Some(store) = &self.sources.store {
            of_store(&mut text, &store.health(), &store.counters());
        }
        if let Some(peers) = &self.sources.peers {
            of_cluster(&mut text, &peers.report(), &self.sources.tally.cluster);
        }
        if let Some(traces) = &self.sources.traces {
            text.single(&f::SPANS_EXPORTED, read(&traces.exported));
            text.single(&f::SPANS_DROPPED, read(&traces.dropped));
        }
        process::render(&mut text);
        text.finish()
    }

    fn of_bridge(&self, text: &mut Exposition) {
        let Sources {
            budget,
            health,
            tally,
            ..
        } = &self.sources;
        let reloads = &tally.reloads;
        text.family(&f::BUILD_INFO)
            .sample(&[env!("CARGO_PKG_VERSION")], 1);
        text.single(
            &f::READY,
            u8::from(health.report().is_ready(Excluded::default())),
        );
        let mut outcomes = text.family(&f::RELOADS);
        outcomes.sample(&["applied"], reloads.applied());
        outcomes.sample(&["refused"], reloads.refused());
        text.single(&f::CONFIG_APPLIED, reloads.applied_at());
        text.single(&f::RELOAD_REFUSED, u8::from(reloads.refusal().is_some()));
        text.single(&f::QUEUE_BYTES, budget.used());
        text.single(&f::QUEUE_LIMIT_BYTES, budget.limit());
    }

    fn of_http(&self, text: &mut Exposition) {
        let Sources { http, listener, .. } = &self.sources;
        let mut requests = text.family(&f::HTTP_REQUESTS);
        for (route, method, tally) in http.operations() {
            for (status, count) in tally.answers() {
                requests.sample(&[route, method, status], count);
            }
        }
        let mut took = text.family(&f::HTTP_SECONDS);
        for (route, method, tally) in http.operations() {
            let timings = tally.took().read();
            took.histogram(&[route, method], &BOUNDS, &timings.buckets, timings.sum);
        }
        let mut problems = text.family(&f::HTTP_PROBLEMS);
        for (kind, count) in http.problems() {
            problems.sample(&[kind], count);
        }
        text.single(&f::HTTP_CONNECTIONS, listener.open());
        text.single(&f::HTTP_ACCEPTED, read(&listener.accepted));
        let mut refused = text.family(&f::HTTP_REFUSED);
        refused.sample(&["too_many"], read(&listener.refused));
        refused.sample(&["too_many_of_address"], read(&listener.refused_by_address));
        let mut closed = text.family(&f::HTTP_CLOSED);
        closed.sample(&["slow"], read(&listener.slow));
        closed.sample(&["idle"], read(&listener.idle));
        closed.sample(&["evicted"], read(&listener.evicted));
    }

    fn of_uplinks(&self, text: &mut Exposition, connectors: &Connectors) {
        let timings: Vec<_> = (connectors.0.iter())
            .flat_map(|(name, of)| {
                Answered::ALL.map(|how| (name, how, of.tally.uplinks(how).read()))
            })
            .collect();
        let mut uplinks = text.family(&f::UPLINKS);
        for (name, how, timings) in &timings {
            uplinks.sample(&[name, how.name()], timings.count());
        }
        let mut took = text.family(&f::UPLINK_SECONDS);
        for (name, how, timings) in &timings {
            took.histogram(&[name, how.name()], &BOUNDS, &timings.buckets, timings.sum);
        }
        let mut publishes = text.family(&f::PUBLISHES);
        for (name, of) in &connectors.0 {
            let sessions = &of.tally.sessions;
            publishes.sample(&[name, "confirmed"], read(&sessions.delivered));
            publishes.sample(&[name, "refused"], read(&sessions.refused));
        }
        connectors.each(text, &f::PUBLISHES_REPEATED, |of| {
            read(&of.tally.sessions.repeated)
        });
        connectors.each(text, &f::UPLINKS_WAITING, |of| of.waiting);
        connectors.each(text, &f::UPLINKS_IN_FLIGHT, |of| of.in_flight);
        if self.sources.store.is_some() {
            let now = SystemTime::now();
            let age = |oldest| now.duration_since(oldest).unwrap_or_default().as_secs_f64();
            connectors.each(text, &f::BACKLOG_UPLINKS, |of| of.backlog.count);
            connectors.each(text, &f::BACKLOG_BYTES, |of| of.backlog.bytes);
            let mut oldest = text.family(&f::BACKLOG_AGE);
            for (name, of) in &connectors.0 {
                oldest.sample(&[name], of.backlog.oldest.map_or(0.0, age));
            }
            text.single(&f::BACKLOG_ORPHANS, connectors.1.count);
        }
    }

    /// Connectors that there have been, and the backlog of devices that are not registered.
    fn connectors(&self) -> Connectors {
        let Sources {
            registry,
            tally,
            store,
            ..
        } = &self.sources;
        let mut connectors: BTreeMap<Box<str>, ConnectorFigures> = (tally.connectors().into_iter())
            .map(|(name, tally)| (name.as_str().into(), ConnectorFigures::new(tally)))
            .collect();
        let mut seen = HashSet::new();
        for device in registry.all() {
            let connector = &device.connector;
            let figures = connectors
                .entry(connector.name.as_str().into())
                .or_insert_with(|| ConnectorFigures::new(Arc::clone(&connector.tally)));
            // Devices of one connector may share a session.
            let is_new = seen.insert(Arc::as_ptr(device.session.status()));
            figures.add(&device, is_new);
        }
        let mut orphans = Backlog::default();
        for (id, backlog) in store.iter().flat_map(|store| store.backlogs()) {
            let device = registry.get(&id);
            let connector = device.and_then(|device| {
                let name = device.connector.name.as_str();
                connectors.get_mut(name)
            });
            connector
                .map_or(&mut orphans, |figures| &mut figures.backlog)
                .add(&backlog);
        }
        Connectors(connectors, orphans)
    }
}

/// By name, and what waits for devices of none of them.
struct Connectors(BTreeMap<Box<str>, ConnectorFigures>, Backlog);

impl Connectors {
    /// A family with one sample for each connector.
    fn each(
        &self,
        text: &mut Exposition,
        family: &'static Family,
        of: impl Fn(&ConnectorFigures) -> u64,
    ) {
        let mut samples = text.family(family);
        for (name, figures) in &self.0 {
            samples.sample(&[name], of(figures));
        }
    }
}

/// One connector at one moment.
#[derive(Debug)]
struct ConnectorFigures {
    tally: Arc<ConnectorTally>,
    devices: u64,
    sessions: [u64; State::ALL.len()],
    waiting: u64,
    in_flight: u64,
    backlog: Backlog,
    /// When the first of its client certificates expires.
    expires_at: Option<SystemTime>,
}

impl ConnectorFigures {
    fn new(tally: Arc<ConnectorTally>) -> Self {
        Self {
            tally,
            devices: 0,
            sessions: [0; State::ALL.len()],
            waiting: 0,
            in_flight: 0,
            backlog: Backlog::default(),
            expires_at: None,
        }
    }

    fn add(&mut self, device: &Device, is_new_session: bool) {
        self.devices += 1;
        if !is_new_session {
            return;
        }
        let status = device.session.status();
        self.sessions[status.state() as usize] += 1;
        self.waiting += device.session.queued() as u64;
        self.in_flight += read(&status.in_flight);
        let expires_at = status.certificate().map(|validity| validity.not_after());
        self.expires_at = self.expires_at.into_iter().chain(expires_at).min();
    }
}

/// What waits on disk.
#[derive(Debug, Default)]
struct Backlog {
    count: u64,
    bytes: u64,
    oldest: Option<SystemTime>,
}

impl Backlog {
    fn add(&mut self, more: &store::records::Backlog) {
        self.count += more.count;
        self.bytes += more.bytes;
        self.oldest = self.oldest.into_iter().chain([more.oldest]).min();
    }
}

fn of_downlinks(text: &mut Exposition, connectors: &Connectors) {
    connectors.each(text, &f::DOWNLINKS_RECEIVED, |of| {
        read(&of.tally.sessions.downlinks)
    });
    connectors.each(text, &f::DOWNLINKS_DROPPED, |of| {
        read(&of.tally.sessions.downlinks_dropped)
    });
    let mut delivered = text.family(&f::DOWNLINKS_DELIVERED);
    for (name, of) in &connectors.0 {
        for from in Source::ALL {
            delivered.sample(&[name, from.name()], of.tally.delivered(from));
        }
    }
    connectors.each(text, &f::DOWNLINK_GAPS, |of| read(&of.tally.gaps));
    connectors.each(text, &f::LISTENERS, |of| read(&of.tally.listeners));
    connectors.each(text, &f::LISTENERS_BEHIND, |of| read(&of.tally.behind));
}

fn of_sessions(text: &mut Exposition, connectors: &Connectors) {
    connectors.each(text, &f::DEVICES, |of| of.devices);
    let mut sessions = text.family(&f::SESSIONS);
    for (name, of) in &connectors.0 {
        for (state, count) in State::ALL.iter().zip(of.sessions) {
            sessions.sample(&[name, state.name()], count);
        }
    }
    connectors.each(text, &f::CONNECTS, |of| read(&of.tally.sessions.connects));
    let mut reconnects = text.family(&f::RECONNECTS);
    for (name, of) in &connectors.0 {
        for cause in Cause::ALL {
            reconnects.sample(&[name, cause.name()], of.tally.reconnected(cause));
        }
    }
    let mut expiry = text.family(&f::CERTIFICATE_EXPIRY);
    for (name, of) in &connectors.0 {
        if let Some(at) = of.expires_at {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            expiry.sample(&[name], at.as_secs());
        }
    }
}

fn of_cluster(text: &mut Exposition, report: &Report, tally: &ClusterTally) {
    let mut members = text.family(&f::CLUSTER_MEMBERS);
    for state in MemberState::ALL {
        let in_state = report.members.iter().filter(|of| of.state == state);
        members.sample(&[state.name()], in_state.count());
    }
    let mut partitions = text.family(&f::CLUSTER_PARTITIONS);
    partitions.sample(&["running"], report.running.len());
    partitions.sample(&["moving"], report.moving.len());
    text.single(&f::CLUSTER_VACANT, report.vacant.len());
    text.single(&f::CLUSTER_CONFIGURATIONS, report.configurations());
    let mut moves = text.family(&f::CLUSTER_MOVES);
    moves.sample(&["gained"], read(&tally.gained));
    moves.sample(&["handed_over"], read(&tally.left));
    moves.sample(&["lost"], read(&tally.lost));
    let left = report.own().map_or(0.0, |own| own.lease_left.as_secs_f64());
    text.single(&f::CLUSTER_LEASE, left);
    let mut renewals = text.family(&f::CLUSTER_RENEWALS);
    renewals.sample(&["confirmed"], read(&tally.renewed));
    renewals.sample(&["failed"], read(&tally.not_renewed));
    if let Some(took) = report.renewal {
        text.single(&f::CLUSTER_RENEWAL, took.as_secs_f64());
    }
    text.single(&f::CLUSTER_CONNECTED, u8::from(report.is_connected));
    text.single(&f::CLUSTER_BEHIND, report.behind);
    let mut asked = text.family(&f::CLUSTER_ASKED);
    for how in Asked::ALL {
        asked.sample(&[how.name()], tally.requests(how));
    }
    let mut served = text.family(&f::CLUSTER_SERVED);
    served.sample(&["answered"], read(&tally.served));
    served.sample(&["turned_away"], read(&tally.turned_away));
}

fn of_store(text: &mut Exposition, health: &store::Health, counters: &store::Counters) {
    let took = &counters.commit_time;
    text.single(
        &f::STORE_WRITABLE,
        u8::from(*health == store::Health::Writable),
    );
    text.family(&f::STORE_COMMIT_SECONDS)
        .histogram(&[], &TIMING_BOUNDS, &took.buckets, took.sum);
    for (family, value) in [
        (&f::STORE_COMMITS_FAILED, counters.failed_commits),
        (&f::STORE_CHANGES, counters.changes),
        (&f::STORE_UPLINKS, counters.uplinks.count),
        (&f::STORE_UPLINKS_BYTES, counters.uplinks.bytes),
        (&f::STORE_DOWNLINKS, counters.downlinks.count),
        (&f::STORE_DOWNLINKS_BYTES, counters.downlinks.bytes),
        (&f::STORE_RECEIPTS, counters.receipts),
        (&f::STORE_KEYS, counters.keys),
        (&f::STORE_RECEIPTS_DROPPED, counters.receipts_dropped),
        (&f::STORE_SETTLEMENTS_DROPPED, counters.settlements_dropped),
    ] {
        text.single(family, value);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
