//! `GET /v1/cluster`: the replicas, as the one that is asked knows them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract;
use axum::http::Uri;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::guard::Guard;
use super::openapi::{BadRequest, InternalError};
use super::problem::Problem;
use super::query;
use crate::access::Scope;
use crate::cluster::{Member, MemberId, MemberReport, Partition, Partitions, Peers, Report, Table};

const READ: Scope = Scope::DevicesRead;

/// What is told of.
#[derive(Clone)]
enum Told {
    /// A process with a store of its own: the only member, for ever.
    Alone(Arc<Table>),
    Cluster(Arc<dyn Peers>),
}

pub(super) fn router(guard: &Guard, peers: Option<Arc<dyn Peers>>) -> Router {
    let told = peers.map_or_else(
        || {
            Told::Alone(Arc::new(Table::alone(Member {
                id: MemberId::random(),
                name: "alone".into(),
            })))
        },
        Told::Cluster,
    );
    Router::new()
        .route("/v1/cluster", get(guard.asks(READ, show)))
        .with_state(told)
}

/// The replicas that share the store, and which of them has which sessions
///
/// As the replica that answers knows it at the moment. A bridge whose store is a file is the only member of its cluster.
#[utoipa::path(
    get,
    operation_id = "cluster",
    path = "/v1/cluster",
    tag = "management",
    security(("token" = [READ])),
    responses(
        (status = 200, description = "The cluster", body = ClusterBody),
        (status = 400, response = BadRequest),
        (status = 500, response = InternalError),
    )
)]
async fn show(
    extract::State(told): extract::State<Told>,
    uri: Uri,
) -> Result<Json<ClusterBody>, Problem> {
    if let Some((name, _)) = query::parameters(&uri)?.first() {
        return Err(query::unknown(name, "none"));
    }
    Ok(Json(match told {
        Told::Alone(table) => ClusterBody::of(&Report::of(&table), false),
        Told::Cluster(peers) => ClusterBody::of(&peers.report(), true),
    }))
}

/// The cluster.
#[derive(Serialize, ToSchema)]
#[schema(as = Cluster)]
pub(super) struct ClusterBody {
    /// Whether there may be other replicas: whether the store is on NATS JetStream.
    clustered: bool,
    /// The id of the replica that answers. Each start has another one.
    #[schema(value_type = String, example = "k3xw7dqf5a2n6bty")]
    me: String,
    /// All replicas that are alive, this one included, in the order of their ids.
    members: Vec<MemberBody>,
    /// Partitions that move to or from this replica at the moment. Their devices' uplinks wait, or are stored.
    #[schema(example = json!([]))]
    moving: Vec<u8>,
    /// Partitions that nobody has at the moment.
    #[schema(example = json!([]))]
    vacant: Vec<u8>,
    /// How many partitions there are: all devices are divided among them by their ids.
    #[schema(example = 64)]
    partitions: u8,
    /// Absent where the store is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    nats: Option<NatsBody>,
}

/// A replica.
#[derive(Serialize, ToSchema)]
#[schema(as = ClusterMember)]
pub(super) struct MemberBody {
    #[schema(example = "k3xw7dqf5a2n6bty")]
    id: String,
    /// `cluster.name`.
    #[schema(example = "causeway-1")]
    name: String,
    /// `alive`, `leaving` (it gives back what it has and ends) or `late` (with the renewal of its lease; the replica that
    /// answers has none at the moment, if it says so of itself).
    #[schema(example = "alive")]
    state: &'static str,
    /// The partitions whose devices' sessions it has a lease on.
    #[schema(example = json!([0, 3, 5]))]
    partitions: Vec<u8>,
    /// A digest of what it was given: the same for all replicas that have the same connectors, devices and access, apart from
    /// secrets and what is in files of keys and certificates. Absent where the store is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "9f2c41d07a6be358")]
    configuration: Option<String>,
    /// `cluster.lease`, in seconds. Absent where the store is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 6.0)]
    lease_seconds: Option<f64>,
    /// How much of its lease is left; a third of it passes between two renewals. Absent where the store is a file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 4.7)]
    lease_left_seconds: Option<f64>,
}

/// The way of this replica to nats-server.
#[derive(Serialize, ToSchema)]
#[schema(as = ClusterNats)]
pub(super) struct NatsBody {
    /// Whether there is a connection.
    connected: bool,
    /// How long nats-server took to confirm the last renewal of the lease. Absent before the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 0.002)]
    renewal_seconds: Option<f64>,
    /// Changes of the cluster that have been made and have not come here yet. More than one or two for longer than a
    /// moment: what is told here is old.
    #[schema(example = 0)]
    behind: u64,
}

impl ClusterBody {
    fn of(report: &Report, clustered: bool) -> Self {
        let members = report.members.iter();
        Self {
            clustered,
            me: report.me.to_string(),
            members: members.map(|of| MemberBody::of(of, clustered)).collect(),
            moving: numbers(report.moving),
            vacant: numbers(report.vacant),
            partitions: Partition::COUNT,
            nats: clustered.then(|| NatsBody {
                connected: report.is_connected,
                renewal_seconds: report.renewal.map(seconds),
                behind: report.behind,
            }),
        }
    }
}

impl MemberBody {
    fn of(of: &MemberReport, clustered: bool) -> Self {
        Self {
            id: of.member.id.to_string(),
            name: of.member.name.to_string(),
            state: of.state.name(),
            partitions: numbers(of.partitions),
            configuration: of.configuration.as_deref().map(str::to_owned),
            lease_seconds: clustered.then(|| seconds(of.lease)),
            lease_left_seconds: clustered.then(|| seconds(of.lease_left)),
        }
    }
}

fn numbers(partitions: Partitions) -> Vec<u8> {
    partitions.iter().map(Partition::number).collect()
}

/// To the millisecond.
fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1000.0
}
