//! The stream in which members keep their records: written with compare and set, followed by all.
//!
//! nats-server publishes every message that it has stored once more, on `PREFIX.clustered.…` and with its place in the
//! stream (`republish`, since 2.8.3). Whoever follows these needs no consumer, sees a change as soon as it is made, and
//! knows by the places whether something is missing; then all records are read again.
//!
//! Nothing expires here. A server that lets a lease expire would have to agree with its fellows on the time, and with those
//! who use the lease; here, whoever waits for the end of a lease counts the time itself (see `plan`).

use std::time::Duration;

use async_nats::jetstream::context::{GetStreamError, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, InfoError, RawMessageErrorKind, Republish, StorageType, Stream,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::line::{Line, Wire};
use super::record::{PartitionRecord, Record};
use crate::cluster::partition::Partition;
use crate::cluster::table::MemberId;
use crate::store::{NatsError, NatsServers};

/// How many records are read at a time.
const AT_A_TIME: usize = 16;
const SEQUENCE: &str = "Nats-Sequence";

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    line: Line,
    prefix: String,
    replicas: usize,
    /// For one request and its answer.
    patience: Duration,
}

/// Why a record was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// Another one has been written over the expected one.
    Conflict,
    /// It may have been written, or be written yet.
    Unclear(Box<str>),
}

/// All records, as they were when the stream was so far.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) position: u64,
    pub(super) records: Vec<(Record, u64)>,
}

/// What happens in the stream, and to who follows it.
#[derive(Debug)]
pub(super) enum Heard {
    /// What is written from now on comes here.
    Connected,
    Written(Written),
    Lost,
}

/// A record that was written.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) seq: u64,
    /// `None`: of no meaning to this version.
    pub(super) record: Option<Record>,
}

impl Bucket {
    /// Makes the stream where there is none.
    pub(super) async fn open(
        line: Line,
        servers: &NatsServers,
        patience: Duration,
    ) -> Result<Self, NatsError> {
        let bucket = Self {
            line,
            prefix: servers.prefix.clone(),
            replicas: servers.replicas,
            patience,
        };
        let Some(wire) = bucket.line.wire() else {
            return Err(NatsError::Unreachable("the connection was lost".into()));
        };
        let made = bucket.make(&wire).await;
        made.map_err(|cause| NatsError::Stream {
            stream: bucket.name(),
            cause,
        })?;
        Ok(bucket)
    }

    fn name(&self) -> String {
        format!("{}-cluster", self.prefix)
    }

    async fn make(&self, wire: &Wire) -> Result<(), String> {
        let prefix = &self.prefix;
        let config = Config {
            name: self.name(),
            subjects: vec![format!("{prefix}.cluster.>")],
            // On disk, for a server that is restarted must not forget who has what.
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            num_replicas: self.replicas,
            max_messages_per_subject: 1,
            max_bytes: -1,
            max_messages: -1,
            max_consumers: -1,
            republish: Some(Republish {
                source: format!("{prefix}.cluster.>"),
                destination: format!("{prefix}.clustered.>"),
                headers_only: false,
            }),
            description: Some("Causeway".to_owned()),
            ..Config::default()
        };
        let made = wire.context.create_or_update_stream(config).await;
        made.map(drop).map_err(|error| error.to_string())
    }

    async fn stream(&self, wire: &Wire) -> Result<Stream<()>, Box<str>> {
        let stream = wire.context.get_stream_no_info(self.name()).await;
        stream.map_err(|error: GetStreamError| error.to_string().into())
    }

    pub(super) fn is_connected(&self) -> bool {
        self.line.is_connected()
    }

    /// Begins a new connection: the old one is silent.
    pub(super) fn reconnect(&self) {
        self.line.redial();
    }

    /// Follows what is written, over all connections.
    pub(super) fn follow(&self) -> mpsc::UnboundedReceiver<Heard> {
        // Unbounded, but read by a loop that does not wait, and written by few members a few times a second.
        let (to_keeper, heard) = mpsc::unbounded_channel();
        let mut connections = self.line.connections();
        let start = format!("{}.clustered.", self.prefix);
        tokio::spawn(async move {
            while let Some(wire) = connections.next().await {
                let end = tokio::select! {
                    end = follow(&wire, &start, &to_keeper) => end,
                    () = wire.lost.cancelled() => Ok(()),
                };
                if let Err(error) = end {
                    tracing::debug!(error, "the records of the cluster cannot be followed");
                    wire.lost.cancel();
                }
                if to_keeper.send(Heard::Lost).is_err() {
                    break;
                }
            }
        });
        heard
    }

    /// Writes a record, if the last one of its subject has this place; 0: if there is none.
    pub(super) async fn write(&self, record: &Record, over: u64) -> Result<u64, NotWritten> {
        let unclear = |cause: &dyn ToString| NotWritten::Unclear(cause.to_string().into());
        let wire = self.line.wire();
        let wire = wire.ok_or_else(|| unclear(&"not connected"))?;
        let subject = format!("{}.cluster.{}", self.prefix, record.key());
        let message = PublishMessage::build()
            .payload(record.write())
            .expected_last_subject_sequence(over);
        let write = async {
            let ack = wire.context.send_publish(subject, message).await?;
            Ok::<u64, PublishError>(ack.await?.sequence)
        };
        let written = tokio::time::timeout(self.patience, wire.unless_lost(write)).await;
        let written = written.map_err(|_| unclear(&"no confirmation came in time"))?;
        let written = written.ok_or_else(|| unclear(&"the connection was lost"))?;
        written.map_err(|error| match error.kind() {
            PublishErrorKind::WrongLastSequence => NotWritten::Conflict,
            _ => unclear(&error),
        })
    }

    /// The last record of a subject, from the server that has the last word.
    pub(super) async fn read(&self, key: &str) -> Result<Option<(Record, u64)>, Box<str>> {
        let wire = self.line.wire().ok_or("not connected")?;
        let stream = self.stream(&wire).await?;
        let subject = format!("{}.cluster.{key}", self.prefix);
        let read = stream.get_last_raw_message_by_subject(&subject);
        match self.within(&wire, read).await? {
            Ok(message) => {
                let record = Record::read(key, &message.payload);
                Ok(record.map(|record| (record, message.sequence)))
            }
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(error.to_string().into()),
        }
    }

    /// Who has a partition and may hold it, at this moment.
    pub(super) async fn owner(&self, partition: Partition) -> Result<Option<MemberId>, Box<str>> {
        let key = format!("partition.{partition}");
        let Some((
            Record::Partition(
                _,
                PartitionRecord {
                    holder: Some(holder),
                },
            ),
            _,
        )) = self.read(&key).await?
        else {
            return Ok(None);
        };
        let life = self.read(&format!("member.{holder}")).await?;
        let Some((Record::Member(_, life), _)) = life else {
            return Ok(None);
        };
        Ok(life.may_hold().then_some(holder))
    }

    /// Reads all records. Makes the stream again where there is none any more.
    pub(super) async fn list(&self) -> Result<Listing, Box<str>> {
        let wire = self.line.wire().ok_or("not connected")?;
        let stream = self.stream(&wire).await?;
        let start = format!("{}.cluster.", self.prefix);
        let listed = stream.info_with_subjects(format!("{start}>"));
        let listed = match self.within(&wire, listed).await? {
            Ok(listed) => listed,
            Err(error) if error.to_string().contains("stream not found") => {
                self.within(&wire, self.make(&wire)).await??;
                return Err("the stream was missing".into());
            }
            Err(error) => return Err(error.to_string().into()),
        };
        let position = listed.info.state.last_sequence;
        let subjects = listed.try_collect::<Vec<(String, usize)>>();
        let subjects = self.within(&wire, subjects).await?;
        let subjects = subjects.map_err(|error: InfoError| error.to_string())?;
        let keys = subjects.into_iter();
        let keys = keys.filter_map(|(subject, _)| Some(subject.strip_prefix(&start)?.to_owned()));
        let records: Vec<Option<(Record, u64)>> = stream::iter(keys)
            .map(|key| async move { self.read(&key).await })
            .buffer_unordered(AT_A_TIME)
            .try_collect()
            .await?;
        let records = records.into_iter().flatten().collect();
        Ok(Listing { position, records })
    }

    /// Removes what nobody needs any more, unless it has been written over.
    pub(super) async fn remove(&self, seq: u64) {
        let Some(wire) = self.line.wire() else { return };
        if let Ok(stream) = self.stream(&wire).await {
            // What stays is removed another time.
            let _ = self.within(&wire, stream.delete_message(seq)).await;
        }
    }

    async fn within<T>(&self, wire: &Wire, asked: impl Future<Output = T>) -> Result<T, Box<str>> {
        let answer = tokio::time::timeout(self.patience, wire.unless_lost(asked)).await;
        let answer = answer.map_err(|_| "no answer came in time")?;
        Ok(answer.ok_or("the connection was lost")?)
    }
}

/// Follows what is written on one connection.
async fn follow(
    wire: &Wire,
    start: &str,
    to_keeper: &mpsc::UnboundedSender<Heard>,
) -> Result<(), String> {
    let written = wire.client.subscribe(format!("{start}>")).await;
    let mut written = written.map_err(|error| error.to_string())?;
    let flushed = wire.client.flush().await;
    flushed.map_err(|error| error.to_string())?;
    // Nobody hears it when the keeper has ended; then this ends too.
    let _ = to_keeper.send(Heard::Connected);
    while let Some(message) = written.next().await {
        let headers = message.headers.as_ref();
        let seq = headers.and_then(|headers| headers.get(SEQUENCE)?.as_str().parse().ok());
        let Some(seq) = seq else { continue };
        let record = message.subject.strip_prefix(start);
        let record = record.and_then(|key| Record::read(key, &message.payload));
        if to_keeper
            .send(Heard::Written(Written { seq, record }))
            .is_err()
        {
            return Ok(());
        }
    }
    Err("the subscription has ended".to_owned())
}
