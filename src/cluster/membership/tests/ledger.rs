//! Who has which partition, by what the members themselves were told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::cluster::{Partition, Partitions, Peers, Place, Sessions};

/// What all members of a test write into. Two that have the same partition at a time are a failure of the test.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    holders: BTreeMap<Partition, String>,
    moves: BTreeMap<Partition, usize>,
    lost: usize,
    wrong: Vec<String>,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap()
    }

    pub(super) fn assert_never_two(&self) {
        let wrong = &self.book().wrong;
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    pub(super) fn holders(&self) -> BTreeMap<Partition, String> {
        self.book().holders.clone()
    }

    pub(super) fn held_by(&self, name: &str) -> Partitions {
        let book = self.book();
        let held = book.holders.iter().filter(|(_, holder)| *holder == name);
        held.map(|(partition, _)| *partition).collect()
    }

    /// How often a partition was taken, all together.
    pub(super) fn moves(&self) -> usize {
        self.book().moves.values().sum()
    }

    /// How many partitions were lost.
    pub(super) fn lost(&self) -> usize {
        self.book().lost
    }

    pub(super) fn crashed(&self, name: &str) {
        self.book().holders.retain(|_, holder| holder != name);
    }

    fn take(&self, name: &str, partitions: Partitions) {
        let mut book = self.book();
        for partition in partitions {
            *book.moves.entry(partition).or_default() += 1;
            if let Some(holder) = book.holders.insert(partition, name.to_owned()) {
                let wrong = format!("{name} takes {partition}, which {holder} has");
                book.wrong.push(wrong);
            }
        }
    }

    fn end(&self, name: &str, partitions: Partitions) {
        let mut book = self.book();
        for partition in partitions {
            if book
                .holders
                .get(&partition)
                .is_some_and(|holder| holder == name)
            {
                book.holders.remove(&partition);
            }
        }
    }

    fn complain(&self, wrong: String) {
        self.book().wrong.push(wrong);
    }
}

/// The sessions of one member.
pub(super) struct Recorded {
    ledger: Ledger,
    name: String,
    peers: Arc<dyn Peers>,
    /// How long sessions take to end.
    drain: Duration,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Told to take, and nothing else since.
    had: Partitions,
    /// Futures that have not resolved.
    under_way: Partitions,
}

impl Recorded {
    pub(super) fn new(ledger: &Ledger, name: &str, peers: Arc<dyn Peers>) -> Self {
        Self {
            ledger: ledger.clone(),
            name: name.to_owned(),
            peers,
            drain: Duration::from_millis(50),
            state: Arc::default(),
        }
    }

    /// What resolves after a while, and what is then the case.
    fn later(
        &self,
        partitions: Partitions,
        then: impl FnOnce(&Ledger) + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        let (state, ledger, drain) = (Arc::clone(&self.state), self.ledger.clone(), self.drain);
        Box::pin(async move {
            tokio::time::sleep(drain).await;
            let mut state = state.lock().unwrap();
            state.under_way = state.under_way.without(partitions);
            then(&ledger);
        })
    }

    fn begin(&self, what: &str, partitions: Partitions) {
        let mut state = self.state.lock().unwrap();
        let twice = state.under_way.common(partitions);
        if !twice.is_empty() {
            let name = &self.name;
            self.ledger.complain(format!(
                "{name} {what} {twice}, where something is under way"
            ));
        }
        state.under_way = state.under_way.and(partitions);
    }
}

impl Sessions for Recorded {
    fn take(&self, partitions: Partitions) -> BoxFuture<'static, ()> {
        self.begin("takes", partitions);
        self.ledger.take(&self.name, partitions);
        let mut state = self.state.lock().unwrap();
        state.had = state.had.and(partitions);
        drop(state);
        let table = self.peers.table();
        if partitions
            .iter()
            .any(|partition| table.place(partition) == Place::Here)
        {
            self.ledger
                .complain(format!("{} has {partitions} before it is there", self.name));
        }
        self.later(partitions, |_| {})
    }

    fn leave(&self, partitions: Partitions) -> BoxFuture<'static, ()> {
        self.begin("leaves", partitions);
        let table = self.peers.table();
        if partitions
            .iter()
            .any(|partition| table.place(partition) == Place::Here)
        {
            self.ledger
                .complain(format!("{} still has {partitions}", self.name));
        }
        let (name, state) = (self.name.clone(), Arc::clone(&self.state));
        self.later(partitions, move |ledger| {
            // What was lost meanwhile may be another's already.
            let _ = &state;
            ledger.end(&name, partitions);
        })
    }

    fn lose(&self, partitions: Partitions) {
        let mut state = self.state.lock().unwrap();
        state.had = state.had.without(partitions);
        self.ledger.end(&self.name, partitions);
        self.ledger.book().lost += partitions.len();
    }
}
