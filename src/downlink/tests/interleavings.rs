//! Whatever comes in whatever order in front of a history, restarts included.

use proptest::prelude::*;

use super::fake::{Conduct, Fake};
use super::front::Front;
use super::seen::Seen;
use super::*;

#[derive(Debug, Clone)]
enum Step {
    Accept(Vec<usize>),
    Read(usize),
    Reconnect,
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => prop::collection::vec(0..2usize, 1..5).prop_map(Step::Accept),
        4 => (1..6usize).prop_map(Step::Read),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn any_interleaving_shows_every_event_once_or_a_gap(
        steps in steps(), window in 1..6usize, keep in 1..12usize, page in 1..4usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let history = Fake::new(START, Conduct { keep, page, ..Conduct::GOOD });
            let mut front = Front::new(&history, window);
            let mut listener = front.listen(After::Cursor(raw(0)));
            let mut seen = Seen::default();
            for step in steps.into_iter().chain([Step::Read(usize::MAX)]) {
                match step {
                    Step::Accept(devices) => front.accept(&devices).await,
                    Step::Read(count) => {
                        for _ in 0..count {
                            match listener.present().await {
                                Some(delivery) => seen.take(delivery),
                                None => break,
                            }
                        }
                    }
                    Step::Reconnect => {
                        listener = front.listen(After::Cursor(listener.position().unwrap_or(raw(0))));
                    }
                    Step::Restart => {
                        let position = listener.position().unwrap_or(raw(0));
                        front.end().await;
                        front = Front::new(&history, window);
                        listener = front.listen(After::Cursor(position));
                    }
                }
            }
            let missing = seen.check(&[0, 1], history.events());
            // Exactly what is missing, unless the windows still had what the history had lost.
            if keep >= window {
                for gap in &seen.gaps {
                    let last = Cursor::from_raw(gap.next.to_raw() - 1);
                    assert!(!seen.events.contains(&last), "{gap:?} goes too far");
                }
                assert_eq!(seen.gaps.is_empty(), missing == 0, "{:?}", seen.gaps);
            }
        });
    }
}
