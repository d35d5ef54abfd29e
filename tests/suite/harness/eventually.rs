//! Waiting for a condition that nothing announces.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How often the condition is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Returns once `condition` holds; panics with `what` when it does not within `deadline`.
pub async fn eventually<F: Future<Output = bool>>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> F,
) {
    let end = Instant::now() + deadline;
    while !condition().await {
        assert!(
            Instant::now() < end,
            "{what}: still not so after {deadline:?}"
        );
        sleep(INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_is_awaited() {
        let mut looks = 0;
        eventually("the third look", Duration::from_secs(60), || {
            looks += 1;
            std::future::ready(looks == 3)
        })
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "pigs fly: still not so")]
    async fn a_condition_that_never_comes_true_fails_by_name() {
        let never = || std::future::ready(false);
        eventually("pigs fly", Duration::from_millis(1), never).await;
    }
}
