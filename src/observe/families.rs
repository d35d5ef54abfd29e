//! Every metric that there is: its name, its labels, and what it says. `docs/src/metrics.md` is made from this.
//!
//! Labels are bounded: connectors, states, outcomes, causes, route templates. Never a device, a topic or an address.

use super::exposition::{Family, Kind};

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Counter,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family {
        name,
        kind: Kind::Gauge,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family {
        name,
        kind: Kind::Histogram,
        labels,
        help,
    }
}

const CONNECTOR: &[&str] = &["connector"];

/// Declares the families of a group, and the list of them.
macro_rules! families {
    ($(#[$doc:meta])* $list:ident: $($name:ident = $family:expr;)*) => {
        $(pub(super) static $name: Family = $family;)*
        $(#[$doc])*
        pub(super) static $list: &[&Family] = &[$(&$name),*];
    };
}

families! {
    /// The bridge as a whole.
    BRIDGE:
    BUILD_INFO = gauge(
        "causeway_build_info",
        &["version"],
        "Always 1; the label says which version runs.",
    );
    READY = gauge(
        "causeway_ready",
        &[],
        "1 while /readyz answers 200, 0 otherwise.",
    );
    RELOADS = counter(
        "causeway_config_reloads_total",
        &["outcome"],
        "Configurations that were read while the bridge runs, on SIGHUP or because a file has changed: applied, or refused \
         as a whole.",
    );
    CONFIG_APPLIED = gauge(
        "causeway_config_applied_timestamp_seconds",
        &[],
        "When the configuration that runs was taken over, at the start or by a reload, in seconds since 1970.",
    );
    RELOAD_REFUSED = gauge(
        "causeway_config_refused",
        &[],
        "1 while the last configuration that was read is not the one that runs, because it was refused; /readyz says why.",
    );
    QUEUE_BYTES = gauge(
        "causeway_queue_bytes",
        &[],
        "Payloads of uplinks that wait in memory or are in flight, all connectors together.",
    );
    QUEUE_LIMIT_BYTES = gauge(
        "causeway_queue_limit_bytes",
        &[],
        "What they may come to: limits.queued_bytes. Uplinks beyond it are stored, or answered with 503.",
    );
}

families! {
    /// Requests and connections.
    HTTP:
    HTTP_REQUESTS = counter(
        "causeway_http_requests_total",
        &["route", "method", "status"],
        "Answered requests of both listeners, by route template (other: a path that is none), method and status class.",
    );
    HTTP_SECONDS = histogram(
        "causeway_http_request_duration_seconds",
        &["route", "method"],
        "From a request's head until that of its answer: with a stream until it begins, with a long poll until it ends.",
    );
    HTTP_PROBLEMS = counter(
        "causeway_http_problems_total",
        &["kind"],
        "Refused requests by the last part of the problem's type; a kind is there from its first time on. Lines of a \
         batch are not requests: see causeway_uplinks_total.",
    );
    HTTP_CONNECTIONS = gauge(
        "causeway_http_connections",
        &[],
        "Open connections of the main listener.",
    );
    HTTP_ACCEPTED = counter(
        "causeway_http_connections_accepted_total",
        &[],
        "Connections of the main listener that were served.",
    );
    HTTP_REFUSED = counter(
        "causeway_http_connections_refused_total",
        &["cause"],
        "Connections that were refused: too_many in all, or too_many_of_address.",
    );
    HTTP_CLOSED = counter(
        "causeway_http_connections_closed_total",
        &["cause"],
        "Connections that the bridge closed: slow (a head or a TLS handshake took too long), idle, or evicted (idle, and \
         others needed the room).",
    );
}

families! {
    /// The road out.
    UPLINKS_OUT:
    UPLINKS = counter(
        "causeway_uplinks_total",
        &["connector", "outcome"],
        "Uplinks by what their sender was told: delivered (200), queued (202), refused (by the broker or the platform: \
         502, 422), invalid (not carried: 4xx), not_taken (neither confirmed nor stored: 503), unconfirmed (504). \
         A client that went away before its answer is not counted.",
    );
    UPLINK_SECONDS = histogram(
        "causeway_uplink_duration_seconds",
        &["connector", "outcome"],
        "The same uplinks, from the moment they were read until their answer.",
    );
    PUBLISHES = counter(
        "causeway_publishes_total",
        &["connector", "outcome"],
        "Uplinks that brokers have settled: confirmed (QoS 0: sent) or refused; those that were stored first included.",
    );
    PUBLISHES_REPEATED = counter(
        "causeway_publishes_repeated_total",
        CONNECTOR,
        "Uplinks sent again after a lost connection; they may arrive twice.",
    );
    UPLINKS_WAITING = gauge(
        "causeway_uplinks_waiting",
        CONNECTOR,
        "Uplinks that wait in memory to be sent.",
    );
    UPLINKS_IN_FLIGHT = gauge(
        "causeway_uplinks_in_flight",
        CONNECTOR,
        "Uplinks that are sent and that the broker has not settled.",
    );
    BACKLOG_UPLINKS = gauge(
        "causeway_backlog_uplinks",
        CONNECTOR,
        "Uplinks that wait on disk for a broker. Absent without a store, as the next three are.",
    );
    BACKLOG_BYTES = gauge(
        "causeway_backlog_bytes",
        CONNECTOR,
        "Their bytes as stored.",
    );
    BACKLOG_AGE = gauge(
        "causeway_backlog_oldest_age_seconds",
        CONNECTOR,
        "How long ago the oldest of them was accepted; 0 when there is none.",
    );
    BACKLOG_ORPHANS = gauge(
        "causeway_backlog_orphaned_uplinks",
        &[],
        "Uplinks on disk whose device is not registered any more; they wait until it is.",
    );
}

families! {
    /// The road in.
    DOWNLINKS_IN:
    DOWNLINKS_RECEIVED = counter(
        "causeway_downlinks_received_total",
        CONNECTOR,
        "Downlinks received from the broker.",
    );
    DOWNLINKS_DROPPED = counter(
        "causeway_downlinks_dropped_total",
        CONNECTOR,
        "QoS 0 downlinks dropped, because too many waited while none could be stored.",
    );
    DOWNLINKS_DELIVERED = counter(
        "causeway_downlinks_delivered_total",
        &["connector", "source"],
        "Downlinks given to listeners, once for each of them: from memory, or from the store as a replay.",
    );
    DOWNLINK_GAPS = counter(
        "causeway_downlink_gaps_total",
        CONNECTOR,
        "Gaps that listeners were told of: downlinks that they asked for and that are no longer kept.",
    );
    LISTENERS = gauge(
        "causeway_listeners",
        CONNECTOR,
        "Listeners for downlinks, streams and long polls; one counts for each connector that it has devices of.",
    );
    LISTENERS_BEHIND = counter(
        "causeway_listeners_behind_total",
        CONNECTOR,
        "Listeners that were disconnected because they read too slowly; only without a store.",
    );
}

families! {
    /// The connections to brokers.
    SESSIONS_OF:
    DEVICES = gauge("causeway_devices", CONNECTOR, "Registered devices.");
    SESSIONS = gauge(
        "causeway_sessions",
        &["connector", "state"],
        "MQTT sessions by where they stand: idle (not needed yet), connecting, connected, backing_off, refused, \
         taken_over, no_key (none is active) or closed.",
    );
    CONNECTS = counter(
        "causeway_connects_total",
        CONNECTOR,
        "Connections that the broker accepted.",
    );
    RECONNECTS = counter(
        "causeway_reconnects_total",
        &["connector", "cause"],
        "Why sessions had to connect again: renewal (the token was about to expire, or the key was swapped), replaced \
         (by a change of the configuration), unreachable, refused (CONNACK), \
         lost, timeout (the broker fell silent), taken_over, dismissed (DISCONNECT), overrun (downlinks could not be \
         stored), unusable (the device's own key), version (MQTT 5 refused: 3.1.1 is next). Each failed attempt counts.",
    );
    CERTIFICATE_EXPIRY = gauge(
        "causeway_certificate_expiry_timestamp_seconds",
        CONNECTOR,
        "When the first of the connector's client certificates expires, those of its devices included. Absent without any.",
    );
}

families! {
    /// What survives a restart; absent without a store.
    STORE:
    STORE_WRITABLE = gauge(
        "causeway_store_writable",
        &[],
        "1 while the store takes what must be durable; 0 while it cannot write, for example because the disk is full.",
    );
    STORE_COMMIT_SECONDS = histogram(
        "causeway_store_commit_duration_seconds",
        &[],
        "From the beginning of a commit's transaction until it was durable.",
    );
    STORE_COMMITS_FAILED = counter(
        "causeway_store_failed_commits_total",
        &[],
        "Commits that failed.",
    );
    STORE_CHANGES = counter(
        "causeway_store_changes_total",
        &[],
        "Changes in the commits that succeeded.",
    );
    STORE_UPLINKS = gauge(
        "causeway_store_uplinks",
        &[],
        "Uplinks on disk, all connectors together, until their settlement is durable.",
    );
    STORE_UPLINKS_BYTES = gauge(
        "causeway_store_uplinks_bytes",
        &[],
        "Their bytes as stored.",
    );
    STORE_DOWNLINKS = gauge(
        "causeway_store_downlinks",
        &[],
        "Downlinks that can be replayed.",
    );
    STORE_DOWNLINKS_BYTES = gauge(
        "causeway_store_downlinks_bytes",
        &[],
        "Their bytes as stored.",
    );
    STORE_RECEIPTS = gauge(
        "causeway_store_receipts",
        &[],
        "Receipts of settled uplinks.",
    );
    STORE_KEYS = gauge(
        "causeway_store_idempotency_keys",
        &[],
        "Answers kept for requests with an Idempotency-Key.",
    );
    STORE_RECEIPTS_DROPPED = counter(
        "causeway_store_receipts_dropped_total",
        &[],
        "Receipts dropped before they were written, because too many waited.",
    );
    STORE_SETTLEMENTS_DROPPED = counter(
        "causeway_store_settlements_dropped_total",
        &[],
        "Settlements given up while nothing could be written; their uplinks are sent once more.",
    );
}

families! {
    /// Only with a collector.
    TRACES:
    SPANS_EXPORTED = counter(
        "causeway_spans_exported_total",
        &[],
        "Spans that the collector has taken. Absent without telemetry.otlp_url, as the next one is.",
    );
    SPANS_DROPPED = counter(
        "causeway_spans_dropped_total",
        &[],
        "Spans that were dropped, because more came than could be sent, or the collector did not take them.",
    );
}

families! {
    /// The process; only on Linux.
    PROCESS:
    PROCESS_RESIDENT = gauge(
        "process_resident_memory_bytes",
        &[],
        "Resident memory.",
    );
    PROCESS_VIRTUAL = gauge("process_virtual_memory_bytes", &[], "Virtual memory.");
    PROCESS_THREADS = gauge("process_threads", &[], "Threads.");
    PROCESS_CPU = counter(
        "process_cpu_seconds_total",
        &[],
        "Time on processors, in the program and in the kernel.",
    );
    PROCESS_START = gauge(
        "process_start_time_seconds",
        &[],
        "When the process was started, since the epoch.",
    );
    PROCESS_FDS = gauge("process_open_fds", &[], "Open file descriptors.");
    PROCESS_MAX_FDS = gauge(
        "process_max_fds",
        &[],
        "How many there may be; absent without a limit.",
    );
}

families! {
    /// The replicas that share a store on NATS JetStream. Absent where the store is a file.
    CLUSTER:
    CLUSTER_MEMBERS = gauge(
        "causeway_cluster_members",
        &["state"],
        "Replicas, as this one knows them: alive, leaving, or late with the renewal of their lease.",
    );
    CLUSTER_PARTITIONS = gauge(
        "causeway_cluster_partitions",
        &["state"],
        "Partitions of this replica: running, or moving to it or away. All replicas together run 64.",
    );
    CLUSTER_VACANT = gauge(
        "causeway_cluster_vacant_partitions",
        &[],
        "Partitions that no replica has a lease on, as this one knows it. More than 0 for longer than some seconds: devices \
         without a session.",
    );
    CLUSTER_CONFIGURATIONS = gauge(
        "causeway_cluster_configurations",
        &[],
        "Different configurations (connectors, devices, access) that the replicas have. More than 1 for longer than it takes to \
         change them one after the other: what one of them does not know, it refuses.",
    );
    CLUSTER_MOVES = counter(
        "causeway_cluster_partition_moves_total",
        &["how"],
        "Partitions that this replica gained, handed_over in order, or lost with its lease.",
    );
    CLUSTER_LEASE = gauge(
        "causeway_cluster_lease_remaining_seconds",
        &[],
        "How long this replica may use what it has without another renewal; 0 without a lease.",
    );
    CLUSTER_RENEWALS = counter(
        "causeway_cluster_lease_renewals_total",
        &["outcome"],
        "Renewals of this replica's lease: confirmed by nats-server, or failed.",
    );
    CLUSTER_RENEWAL = gauge(
        "causeway_cluster_lease_renewal_duration_seconds",
        &[],
        "How long nats-server took to confirm the last renewal; absent before the first one.",
    );
    CLUSTER_CONNECTED = gauge(
        "causeway_cluster_connected",
        &[],
        "1 while this replica's connection to nats-server is up.",
    );
    CLUSTER_BEHIND = gauge(
        "causeway_cluster_records_behind",
        &[],
        "Changes of the cluster that have been made and have not come to this replica yet, as far as it knows.",
    );
    CLUSTER_ASKED = counter(
        "causeway_cluster_requests_total",
        &["outcome"],
        "Requests of this replica to others: answered (whatever the answer says), nobody (not taken there), timed_out, \
         lost (the connection, before the answer), too_large.",
    );
    CLUSTER_SERVED = counter(
        "causeway_cluster_requests_served_total",
        &["outcome"],
        "Requests of other replicas to this one: answered, or turned_away because too many were under way.",
    );
}

/// All groups, each with its heading, in the order in which they are told.
pub(super) static GROUPS: [(&str, &[&Family]); 9] = [
    ("The bridge", BRIDGE),
    ("HTTP", HTTP),
    ("Uplinks", UPLINKS_OUT),
    ("Downlinks", DOWNLINKS_IN),
    ("Connections to brokers", SESSIONS_OF),
    ("The store", STORE),
    ("Several replicas", CLUSTER),
    ("Traces", TRACES),
    ("The process", PROCESS),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_texts_are_as_prometheus_wants_them() {
        let mut names = HashSet::new();
        for family in GROUPS.iter().flat_map(|(_, group)| group.iter()) {
            let name = family.name;
            assert!(names.insert(name), "{name} twice");
            assert!(name.starts_with("causeway_") || name.starts_with("process_"));
            assert_eq!(
                name.ends_with("_total"),
                family.kind == Kind::Counter,
                "{name}"
            );
            assert!(family.help.ends_with('.'), "{name}: {}", family.help);
            assert!(
                !family.help.contains(['|', '\n', '<']),
                "{name}: it stands in a table"
            );
        }
    }
}
