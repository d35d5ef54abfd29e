//! A list that somebody else appends to, and that a test can wait on.

use std::fmt::Debug;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::DEADLINE;

/// What a program printed, a subscriber received or a stream delivered, in order. Clones show the same list.
#[derive(Debug)]
pub struct Lines<T = String>(watch::Sender<Seen<T>>);

/// One moment of the list.
#[derive(Debug)]
struct Seen<T> {
    items: Vec<T>,
    ended: bool,
}

impl<T: Clone + Debug> Lines<T> {
    /// An empty list.
    pub fn new() -> Self {
        Self(watch::Sender::new(Seen {
            items: Vec::new(),
            ended: false,
        }))
    }

    /// Appends one item and wakes whoever waits.
    pub fn push(&self, item: T) {
        self.0.send_modify(|seen| seen.items.push(item));
    }

    /// Nothing will follow: a wait that is not satisfied yet fails at once.
    pub fn end(&self) {
        self.0.send_modify(|seen| seen.ended = true);
    }

    /// What is there now.
    pub fn all(&self) -> Vec<T> {
        self.0.borrow().items.clone()
    }

    /// What has come behind the first `count` items.
    pub fn since(&self, count: usize) -> Vec<T> {
        self.0.borrow().items[count..].to_vec()
    }

    /// Waits until `condition` holds for the whole list, and returns it.
    /// Panics with `what` and the list when it does not within [`DEADLINE`], or when the list has ended without it.
    pub async fn wait_until(&self, what: &str, condition: impl FnMut(&[T]) -> bool) -> Vec<T> {
        self.wait_within(DEADLINE, what, condition).await
    }

    /// The same, but the end of the list will do as well.
    pub async fn wait_until_or_end(&self, mut condition: impl FnMut(&[T]) -> bool) -> Vec<T> {
        let mut list = self.0.subscribe();
        let met = list.wait_for(|seen| seen.ended || condition(&seen.items));
        let waited = timeout(DEADLINE, met).await.is_ok();
        let seen = self.all();
        assert!(waited, "not in time; seen so far: {seen:#?}");
        seen
    }

    /// Waits until nothing more can come, and returns everything.
    pub async fn wait_end(&self) -> Vec<T> {
        let mut list = self.0.subscribe();
        let ended = timeout(DEADLINE, list.wait_for(|seen| seen.ended)).await;
        assert!(ended.is_ok(), "no end yet, after {:?}", self.all());
        self.all()
    }

    async fn wait_within(
        &self,
        deadline: Duration,
        what: &str,
        mut condition: impl FnMut(&[T]) -> bool,
    ) -> Vec<T> {
        let mut list = self.0.subscribe();
        let mut met = false;
        let wait = list.wait_for(|seen| {
            met = condition(&seen.items);
            met || seen.ended
        });
        let waited = timeout(deadline, wait).await.is_ok();
        let seen = self.all();
        let why = if waited {
            "it ended without that"
        } else {
            "not in time"
        };
        assert!(met, "{what}: {why}; seen so far: {seen:#?}");
        seen
    }
}

impl Lines<String> {
    /// Waits for a line that contains `text`, and returns that line.
    pub async fn wait_for(&self, text: &str) -> String {
        let has = |line: &String| line.contains(text);
        let lines = self
            .wait_until(&format!("a line with {text:?}"), |lines| {
                lines.iter().any(has)
            })
            .await;
        lines.into_iter().find(has).unwrap()
    }
}

impl<T> Clone for Lines<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Debug> Default for Lines<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wait_sees_what_came_before_and_after_it() {
        let lines = Lines::default();
        lines.push("one".to_owned());
        let writer = lines.clone();
        let (found, ()) = tokio::join!(lines.wait_for("wo"), async {
            writer.push("two".to_owned());
        });
        assert_eq!(found, "two");
        assert_eq!(lines.since(1), ["two"]);
        writer.end();
        assert_eq!(lines.wait_end().await, ["one", "two"]);
    }

    #[tokio::test]
    #[should_panic(expected = "it ended without that; seen so far: [\n    \"one\",\n]")]
    async fn an_end_fails_the_wait_and_shows_the_list() {
        let lines = Lines::new();
        lines.push("one".to_owned());
        lines.end();
        lines.wait_for("two").await;
    }

    #[tokio::test]
    #[should_panic(expected = "two items: not in time")]
    async fn a_late_condition_fails_by_name() {
        let lines = Lines::<u8>::new();
        let two = |list: &[u8]| list.len() == 2;
        lines
            .wait_within(Duration::from_millis(1), "two items", two)
            .await;
    }
}
