//! A hub and one listener against a model that keeps everything.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Accept(usize),
    Read,
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0..2usize).prop_map(Step::Accept),
        3 => Just(Step::Read),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 0..120)
}

/// What a hub and one listener should do, by keeping everything.
struct Model {
    window: usize,
    log: Vec<(Cursor, usize)>,
    position: Cursor,
    told: [Cursor; 2],
    gap: bool,
}

impl Model {
    /// The last event of a device that its window has lost.
    fn evicted(&self, device: usize) -> Cursor {
        let mut events = self.log.iter().rev().filter(|event| event.1 == device);
        events.nth(self.window).map_or(raw(0), |event| event.0)
    }

    fn connect(&mut self) {
        self.told = [self.evicted(0), self.evicted(1)];
        self.gap = self.told.iter().any(|told| *told > self.position);
    }

    fn is_behind(&self) -> bool {
        (0..2).any(|device| self.evicted(device) > self.position.max(self.told[device]))
    }

    fn next(&self) -> Option<Cursor> {
        let kept = |event: &&(Cursor, usize)| event.0 > self.evicted(event.1);
        let mut events = self.log.iter().filter(kept).map(|event| event.0);
        events.find(|cursor| *cursor > self.position)
    }
}

proptest! {
    #[test]
    fn reading_follows_the_model(steps in steps(), window in 1..6usize) {
        let hub = hub(window);
        let mut model = Model { window, log: vec![], position: raw(0), told: [raw(0); 2], gap: false };
        let mut listener = listen(&hub, &[0, 1], After::Cursor(raw(0)));
        for step in steps {
            match step {
                Step::Accept(device) => model.log.push((accept(&hub, device), device)),
                Step::Reconnect => {
                    listener = listen(&hub, &[0, 1], After::Cursor(model.position));
                    model.connect();
                }
                Step::Read => match try_next(&mut listener) {
                    Some(Delivery::Gap(gap)) => {
                        prop_assert!(std::mem::take(&mut model.gap));
                        prop_assert_eq!(gap.after, Some(model.position));
                        prop_assert_eq!(gap.next, model.told.into_iter().max().unwrap().next());
                    }
                    read if model.gap => prop_assert!(false, "{read:?} in place of a gap"),
                    Some(Delivery::Behind | Delivery::Unavailable) => prop_assert!(model.is_behind()),
                    read if model.is_behind() => prop_assert!(false, "{read:?} behind a loss"),
                    Some(Delivery::Event(event)) => {
                        prop_assert_eq!(Some(event.cursor()), model.next());
                        model.position = event.cursor();
                    }
                    Some(Delivery::Deleted { .. }) => prop_assert!(false, "nothing was deleted"),
                    None => {
                        prop_assert_eq!(model.next(), None);
                        model.position = model.log.last().map_or(raw(0), |event| event.0);
                    }
                },
            }
        }
    }
}
