//! The connections of a listener: how many there are, from where, and how long each may go on like this.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{self, AbortHandle, JoinSet};
use tokio::time::Instant;

use super::limits::{ConnectionLimits, Origin};
use super::pulse::{Ask, Beat, Pulse, Stage};

/// How long a connection may go on that was asked to finish and has nothing under way: long enough for a request that
/// was on its way, and for a client of HTTP/2 to agree.
const FINISHING: Duration = Duration::from_secs(1);

/// All connections of a listener. Dropped, it ends them.
#[derive(Default)]
pub(super) struct Table {
    tasks: JoinSet<()>,
    entries: HashMap<task::Id, Entry>,
    origins: HashMap<Origin, usize>,
}

struct Entry {
    pulse: Arc<Pulse>,
    task: AbortHandle,
    origin: Origin,
    /// When it was asked to finish.
    finishing: Option<Instant>,
}

/// Why there is no room for one more connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// `http.max_connections` are busy.
    All,
    /// `http.max_connections_per_address` are.
    Origin,
}

/// What became of connections that were looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Ended before their first request, or in the head of one.
    pub(super) slow: u64,
    /// Asked to end, as they had been idle for long.
    pub(super) idle: u64,
}

impl Table {
    pub(super) fn open(&self) -> usize {
        self.entries.len()
    }

    /// Whether no task is left, of those that do not count any more either.
    pub(super) fn is_over(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Makes room for one more connection. Where there is none left, those without a request under way end for it:
    /// first such that never had one or are slow to send it, then idle ones; of each kind the oldest first, as an
    /// honest client is quick. Gives how many ended.
    pub(super) fn make_room(
        &mut self,
        from: SocketAddr,
        limits: &ConnectionLimits,
    ) -> Result<u64, Full> {
        let origin = Origin::of(from.ip());
        let of_origin = self.origins.get(&origin).copied().unwrap_or(0);
        let is_full = self.entries.len() >= limits.max;
        let ended = if of_origin >= limits.of(origin) {
            self.evict(|entry| entry.origin == origin)
        } else if is_full {
            self.evict(|_| true)
        } else {
            return Ok(0);
        };
        match ended {
            0 if is_full => Err(Full::All),
            0 => Err(Full::Origin),
            ended => Ok(ended),
        }
    }

    /// Ends some connections without a request under way, as if there were no room. Gives how many.
    pub(super) fn evict_any(&mut self) -> u64 {
        self.evict(|_| true)
    }

    /// Runs a connection.
    pub(super) fn insert(
        &mut self,
        from: SocketAddr,
        pulse: Arc<Pulse>,
        connection: impl Future<Output = ()> + Send + 'static,
    ) {
        let origin = Origin::of(from.ip());
        let task = self.tasks.spawn(connection);
        *self.origins.entry(origin).or_default() += 1;
        let entry = Entry {
            pulse,
            origin,
            finishing: None,
            task: task.clone(),
        };
        self.entries.insert(task.id(), entry);
    }

    /// Waits for the end of a connection. `None` when there is none. Cancel-safe.
    pub(super) async fn ended(&mut self) -> Option<()> {
        let ended = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(error) => error.id(),
        };
        self.remove(ended);
        Some(())
    }

    /// Ends what has taken its time.
    pub(super) fn sweep(&mut self, limits: &ConnectionLimits) -> Swept {
        let (now, clock) = (Instant::now(), SystemTime::now());
        let mut swept = Swept::default();
        let mut aborted = Vec::new();
        for (id, entry) in &mut self.entries {
            let beat = entry.pulse.beat(clock);
            match verdict(&beat, entry.finishing, now, limits) {
                Verdict::GoOn => {}
                Verdict::Finish => {
                    entry.finishing = Some(now);
                    entry.pulse.ask(Ask::Finish);
                    swept.idle += 1;
                }
                Verdict::TellSlow => {
                    entry.finishing = Some(now);
                    entry.pulse.ask(Ask::TooSlow);
                    swept.slow += 1;
                }
                Verdict::End => {
                    swept.slow += u64::from(entry.finishing.is_none() && !beat.expired);
                    aborted.push(*id);
                }
            }
        }
        aborted.into_iter().for_each(|id| self.abort(id));
        swept
    }

    /// Asks all connections to end when their requests are answered.
    pub(super) fn finish_all(&mut self) {
        let now = Instant::now();
        for entry in self.entries.values_mut() {
            entry.finishing = Some(now);
            entry.pulse.ask(Ask::Finish);
        }
    }

    /// Ends the connections whose clients were taken for what their certificates say.
    pub(super) fn abort_certified(&mut self) {
        let certified =
            |(id, entry): (&task::Id, &Entry)| entry.pulse.is_certified().then_some(*id);
        let certified: Vec<_> = self.entries.iter().filter_map(certified).collect();
        certified.into_iter().for_each(|id| self.abort(id));
    }

    fn evict(&mut self, of: impl Fn(&Entry) -> bool) -> u64 {
        let clock = SystemTime::now();
        let mut candidates: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| of(entry))
            .filter_map(|(id, entry)| Some((rank(&entry.pulse.beat(clock))?, *id)))
            .collect();
        if candidates.is_empty() {
            return 0;
        }
        // Looking at all of them takes its time, so that in a flood it is not done for each single one that comes.
        let ended = candidates.len().div_ceil(64);
        candidates.select_nth_unstable_by_key(ended - 1, |(rank, _)| *rank);
        candidates.truncate(ended);
        for (_, id) in candidates {
            self.abort(id);
        }
        ended as u64
    }

    /// It does not count any more from now on, not only when its task has ended.
    fn abort(&mut self, id: task::Id) {
        if let Some(entry) = self.remove(id) {
            entry.task.abort();
        }
    }

    fn remove(&mut self, id: task::Id) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some(count) = self.origins.get_mut(&entry.origin) {
            *count -= 1;
            if *count == 0 {
                self.origins.remove(&entry.origin);
            }
        }
        Some(entry)
    }
}

/// The smaller, the sooner a connection ends for another; `None` while it has something under way.
fn rank(beat: &Beat) -> Option<(bool, Instant)> {
    (!beat.active).then_some((beat.stage == Stage::Idle, beat.since))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    GoOn,
    /// Nothing is expected any more; a request that comes now is still answered.
    Finish,
    /// A part of a head has come, so there is somebody to be told.
    TellSlow,
    End,
}

/// What is to be done about a connection now.
fn verdict(
    beat: &Beat,
    finishing: Option<Instant>,
    now: Instant,
    limits: &ConnectionLimits,
) -> Verdict {
    let waited = now.saturating_duration_since(beat.since);
    if beat.expired {
        return Verdict::End;
    }
    if beat.active {
        return Verdict::GoOn;
    }
    if let Some(asked) = finishing {
        let over = now.saturating_duration_since(asked.max(beat.since)) >= FINISHING;
        return if over { Verdict::End } else { Verdict::GoOn };
    }
    match beat.stage {
        Stage::Opening if waited >= limits.head_time => Verdict::End,
        Stage::Head if waited >= limits.head_time => Verdict::TellSlow,
        Stage::Idle if waited >= limits.idle_time => Verdict::Finish,
        _ => Verdict::GoOn,
    }
}

#[cfg(test)]
mod tests {
    use super::super::pulse::Active;
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            max: 3,
            per_address: Some(2),
            head_time: SECOND * 10,
            idle_time: SECOND * 60,
            ..ConnectionLimits::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_stage_has_its_time() {
        let since = Instant::now();
        let at = |stage, active, finishing: Option<u64>, seconds: u64| {
            let beat = Beat {
                active,
                stage,
                since,
                expired: false,
            };
            let finishing = finishing.map(|seconds| since + SECOND * seconds as u32);
            verdict(&beat, finishing, since + SECOND * seconds as u32, &limits())
        };
        use Stage::{Head, Idle, Opening};
        assert_eq!(at(Opening, false, None, 9), Verdict::GoOn);
        assert_eq!(at(Opening, false, None, 10), Verdict::End);
        assert_eq!(at(Head, false, None, 9), Verdict::GoOn);
        assert_eq!(at(Head, false, None, 10), Verdict::TellSlow);
        assert_eq!(at(Head, false, Some(10), 10), Verdict::GoOn);
        assert_eq!(at(Head, false, Some(10), 11), Verdict::End);
        assert_eq!(at(Idle, false, None, 59), Verdict::GoOn);
        assert_eq!(at(Idle, false, None, 60), Verdict::Finish);
        assert_eq!(at(Idle, true, None, 100_000), Verdict::GoOn);
        assert_eq!(at(Idle, true, Some(0), 100_000), Verdict::GoOn);
        // A request that came while it was asked to finish, and has been answered since.
        assert_eq!(at(Idle, false, Some(0), 0), Verdict::GoOn);
        let expired = Beat {
            active: true,
            stage: Idle,
            since,
            expired: true,
        };
        assert_eq!(verdict(&expired, None, since, &limits()), Verdict::End);
    }

    /// A table with connections that never end by themselves.
    struct Bench {
        table: Table,
    }

    impl Bench {
        fn connect(&mut self, from: &str) -> Result<Arc<Pulse>, Full> {
            let from = from.parse().unwrap();
            self.table.make_room(from, &limits())?;
            let pulse = Arc::new(Pulse::new());
            self.table
                .insert(from, Arc::clone(&pulse), std::future::pending());
            Ok(pulse)
        }

        fn has(&self, pulse: &Arc<Pulse>) -> bool {
            self.table
                .entries
                .values()
                .any(|entry| Arc::ptr_eq(&entry.pulse, pulse))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_newest_is_refused_where_all_are_busy() {
        let mut bench = Bench {
            table: Table::default(),
        };
        let mut busy = Vec::new();
        for (from, refused) in [
            ("10.0.0.1:1", None),
            ("10.0.0.1:2", None),
            ("10.0.0.1:3", Some(Full::Origin)),
            ("10.0.0.2:1", None),
            ("10.0.0.2:2", Some(Full::All)),
        ] {
            let connected = bench.connect(from);
            busy.extend(connected.as_ref().ok().map(Active::begin));
            assert_eq!(connected.err(), refused, "{from}");
        }
        drop(busy);
        assert!(bench.connect("10.0.0.2:2").is_ok());
        assert_eq!(bench.table.open(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn those_without_a_request_make_room_the_oldest_first_and_idle_ones_last() {
        let mut bench = Bench {
            table: Table::default(),
        };
        let mut next = async |from| {
            tokio::time::advance(SECOND).await;
            bench.connect(from).unwrap()
        };
        let idle = next("10.0.0.1:1").await;
        drop(Active::begin(&idle));
        let slow = next("10.0.0.2:1").await;
        slow.received();
        let silent = next("10.0.0.3:1").await;
        let first = next("10.0.0.4:1").await;
        assert!(!bench.has(&slow) && bench.has(&silent) && bench.has(&idle));
        let _busy = Active::begin(&first);
        bench.connect("10.0.0.4:2").unwrap();
        assert!(!bench.has(&silent) && bench.has(&idle));
        // At its own limit an address makes room itself.
        bench.connect("10.0.0.4:3").unwrap();
        assert!(bench.has(&idle) && bench.has(&first));
        assert_eq!(bench.table.open(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_is_not_counted_any_more() {
        let mut table = Table::default();
        let from = "10.0.0.1:1".parse().unwrap();
        for _ in 0..2 {
            table.insert(from, Arc::new(Pulse::new()), async {});
        }
        assert_eq!(table.open(), 2);
        while table.ended().await.is_some() {}
        assert!(table.open() == 0 && table.is_over() && table.origins.is_empty());

        table.insert(from, Arc::new(Pulse::new()), std::future::pending());
        let certified = Arc::new(Pulse::new());
        certified.certified(SystemTime::now() + SECOND);
        table.insert(from, certified, std::future::pending());
        table.abort_certified();
        assert_eq!((table.open(), table.origins.len()), (1, 1));
        tokio::time::advance(SECOND * 10).await;
        let swept = table.sweep(&limits());
        assert_eq!(swept, Swept { slow: 1, idle: 0 });
        assert_eq!((table.open(), table.origins.len()), (0, 0));
    }
}
