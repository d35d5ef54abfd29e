//! A hub in front of a history, and what is there for its listeners.

use tokio::task::JoinHandle;

use super::fake::Fake;
use super::*;
use crate::store::DownlinkHistory;

/// A hub in front of a history, as it is after a start.
pub(super) struct Front {
    pub(super) hub: Arc<Hub>,
    pub(super) intake: Intake,
    writer: JoinHandle<()>,
}

impl Front {
    pub(super) fn new(history: &Arc<Fake>, window: usize) -> Self {
        let history = Arc::clone(history) as Arc<dyn DownlinkHistory>;
        let limits = Limits {
            events: window,
            ..Limits::default()
        };
        let hub = Arc::new(Hub::with_history(limits, history));
        let (intake, writer) = intake(&hub);
        Self {
            hub,
            intake,
            writer: tokio::spawn(writer.run()),
        }
    }

    pub(super) async fn accept(&self, numbers: &[usize]) {
        self.intake.accept(downlinks(numbers)).await.unwrap();
    }

    pub(super) fn listen(&self, after: After) -> Subscription {
        listen(&self.hub, &[0, 1], after)
    }

    pub(super) async fn end(self) {
        drop(self.intake);
        self.writer.await.unwrap();
    }
}

pub(super) fn downlinks(numbers: &[usize]) -> Arc<[Downlink]> {
    numbers.iter().map(|n| downlink(*n, "t")).collect()
}

/// Everything that is there.
pub(super) async fn present(listener: &mut Subscription) -> (Vec<Cursor>, Vec<Gap>) {
    let (mut events, mut gaps) = (Vec::new(), Vec::new());
    while let Some(delivery) = listener.present().await {
        match delivery {
            Delivery::Event(event) => events.push(event.cursor()),
            Delivery::Gap(gap) => gaps.push(gap),
            other => panic!("{other:?}"),
        }
    }
    (events, gaps)
}

pub(super) fn raws(numbers: impl IntoIterator<Item = u64>) -> Vec<Cursor> {
    numbers.into_iter().map(raw).collect()
}
