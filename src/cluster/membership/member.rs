//! Becoming a member, and ceasing to be one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::asking::Asking;
use super::bucket::Bucket;
use super::keeper::{Keeper, Term};
use super::line::Line;
use super::showing::Shown;
use crate::cluster::partition::Partition;
use crate::cluster::peers::{Answerer, AskError, Peers};
use crate::cluster::report::Report;
use crate::cluster::sessions::Sessions;
use crate::cluster::table::{Member, MemberId, Table};
use crate::store::{NatsError, NatsServers};
use crate::tally::ClusterTally;

/// Where the others are, and how this process is seen by them.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// The servers of the store.
    pub servers: NatsServers,
    /// `cluster.name`.
    pub name: Arc<str>,
    /// `cluster.lease`: 3 to 60 s.
    pub lease: Duration,
    /// What this process was given, which may change ([`Config::digest`](crate::config::Config::digest)).
    pub configuration: watch::Receiver<Arc<str>>,
}

/// A connection to the cluster. Others do not see this process before it [joins](Self::join).
#[derive(Debug)]
pub struct Cluster {
    bucket: Bucket,
    asking: Asking,
    me: Member,
    term: Term,
    shown: Arc<Shown>,
    tally: Arc<ClusterTally>,
    configuration: watch::Receiver<Arc<str>>,
}

impl Cluster {
    /// Connects, and makes what members write in. For `patience`, waits for a server that is not there yet.
    pub async fn connect(
        settings: ClusterSettings,
        tally: Arc<ClusterTally>,
        patience: Duration,
    ) -> Result<Self, NatsError> {
        let deadline = Instant::now() + patience;
        let mut pause = Duration::from_millis(50);
        loop {
            let error = match attempt(&settings, &tally).await {
                Ok(cluster) => return Ok(cluster),
                Err(error) if error.may_pass() && Instant::now() + pause < deadline => error,
                Err(error) => return Err(error),
            };
            tracing::warn!("the cluster cannot be joined yet: {error}");
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(Duration::from_secs(2));
        }
    }

    /// The others, and the table; from now on until long after the end.
    pub fn peers(&self) -> Arc<dyn Peers> {
        Arc::new(Others {
            bucket: self.bucket.clone(),
            asking: self.asking.clone(),
            shown: Arc::clone(&self.shown),
        })
    }

    /// Becomes a member: requests of others are answered, and partitions are taken as soon as they are free.
    pub fn join(self, sessions: Arc<dyn Sessions>, answerer: Arc<dyn Answerer>) -> Membership {
        let (leave, stop_serving) = (CancellationToken::new(), CancellationToken::new());
        let serving = self.asking.clone();
        let serving = serving.serve(self.me.id.clone(), answerer, stop_serving.clone());
        let serving = tokio::spawn(serving);
        let heard = self.bucket.follow();
        tracing::info!(member = %self.me.id, name = %self.me.name, "joining the cluster");
        let keeper = Keeper {
            bucket: self.bucket,
            asking: self.asking,
            me: self.me,
            term: self.term,
            sessions,
            shown: self.shown,
            tally: self.tally,
            configuration: self.configuration,
            end: leave.clone(),
        };
        let keeping = tokio::spawn(keeper.run(heard));
        Membership {
            leave,
            keeping,
            stop_serving,
            serving,
        }
    }
}

async fn attempt(
    settings: &ClusterSettings,
    tally: &Arc<ClusterTally>,
) -> Result<Cluster, NatsError> {
    let ClusterSettings {
        servers,
        name,
        lease,
        configuration,
    } = settings;
    let term = Term { lease: *lease };
    let line = Line::open(servers, term.patience()).await?;
    let bucket = Bucket::open(line, servers, term.patience()).await?;
    let line = Line::open(servers, term.patience()).await?;
    let asking = Asking::new(line, &servers.prefix, Arc::clone(tally));
    let me = Member {
        id: MemberId::random(),
        name: Arc::clone(name),
    };
    Ok(Cluster {
        bucket,
        asking,
        shown: Arc::new(Shown::new(me.clone())),
        me,
        term,
        tally: Arc::clone(tally),
        configuration: configuration.clone(),
    })
}

/// A member. Dropping it ends it as a crash does: the others wait for the end of its lease.
pub struct Membership {
    leave: CancellationToken,
    keeping: JoinHandle<()>,
    stop_serving: CancellationToken,
    serving: JoinHandle<()>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").finish_non_exhaustive()
    }
}

impl Membership {
    /// Gives everything back, each partition as soon as its sessions have ended ([`Sessions::leave`]), and ends. Without
    /// nats-server, ends when they have. Requests of others are answered until then.
    pub async fn end(mut self) {
        self.leave.cancel();
        // It panics only where the sessions do.
        let _ = (&mut self.keeping).await;
        self.stop_serving.cancel();
        let _ = (&mut self.serving).await;
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.keeping.abort();
        self.serving.abort();
    }
}

#[derive(Debug)]
struct Others {
    bucket: Bucket,
    asking: Asking,
    shown: Arc<Shown>,
}

impl Peers for Others {
    fn changed(&self) -> watch::Receiver<Arc<Table>> {
        self.shown.table.subscribe()
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.shown.table.borrow())
    }

    fn ask(
        &self,
        member: &MemberId,
        request: Bytes,
        within: Duration,
    ) -> BoxFuture<'static, Result<Bytes, AskError>> {
        self.asking.ask(member, request, within)
    }

    fn owner(
        &self,
        partition: Partition,
    ) -> BoxFuture<'static, Result<Option<MemberId>, Box<str>>> {
        let bucket = self.bucket.clone();
        Box::pin(async move { bucket.owner(partition).await })
    }

    fn report(&self) -> Report {
        self.shown.report()
    }
}
