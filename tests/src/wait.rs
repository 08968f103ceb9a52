//! Waiting for a condition, with a deadline and a name for what is awaited.
//!
//! Tests wait for signals where there are any; these helpers are for what can only be observed by asking again
//! (a queue's length, a process that has exited). They never wait longer than told, also when a probe hangs, and they
//! panic with the name of what did not come true. Where tokio's clock is paused, its time is the one that passes.

use std::convert::Infallible;
use std::fmt::Debug;
use std::time::Duration;

/// Time between two probes: short beside any deadline of a test, long beside the cost of a probe.
const PAUSE: Duration = Duration::from_millis(20);

/// Asks `probe` until it answers `Some`, and returns that value.
///
/// # Panics
/// After `deadline`, naming `what`.
pub async fn eventually<T>(deadline: Duration, what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    poll(deadline, what, async || probe().await.ok_or(None::<Infallible>)).await
}

/// Asks `probe` until it answers `Ok`, and returns that value.
///
/// # Panics
/// After `deadline`, naming `what` and the last error.
pub async fn eventually_ok<T, E: Debug>(
    deadline: Duration,
    what: &str,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    poll(deadline, what, async || probe().await.map_err(Some)).await
}

/// Awaits `future`, which says by itself when it is done.
///
/// # Panics
/// After `deadline`, naming `what`.
pub async fn within<F: Future>(deadline: Duration, what: &str, future: F) -> F::Output {
    match tokio::time::timeout(deadline, future).await {
        Ok(output) => output,
        Err(_) => panic!("{what}: not done after {deadline:?}"),
    }
}

async fn poll<T, E: Debug>(deadline: Duration, what: &str, mut probe: impl AsyncFnMut() -> Result<T, Option<E>>) -> T {
    let mut last = None;
    let answered = tokio::time::timeout(deadline, async {
        loop {
            match probe().await {
                Ok(value) => return value,
                Err(error) => last = error,
            }
            pause(PAUSE).await;
        }
    })
    .await;
    match (answered, last) {
        (Ok(value), _) => value,
        (Err(_), Some(error)) => panic!("{what}: still not so after {deadline:?}, last: {error:?}"),
        (Err(_), None) => panic!("{what}: still not so after {deadline:?}"),
    }
}

/// Really sleeps: for the proxy's delays and the pause between probes, not for tests.
#[allow(clippy::disallowed_methods, reason = "real services and sockets live in real time")]
pub(crate) async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eventually_returns_the_first_answer() {
        let mut asked = 0;
        let answer = eventually(Duration::from_secs(5), "third time", async || {
            asked += 1;
            (asked == 3).then_some("yes")
        })
        .await;
        assert_eq!((answer, asked), ("yes", 3));
    }

    #[tokio::test]
    #[should_panic(expected = "the impossible: still not so after 60ms, last: \"no\"")]
    async fn eventually_ok_names_what_and_the_last_error() {
        eventually_ok(Duration::from_millis(60), "the impossible", async || Err::<(), _>("no")).await;
    }

    #[tokio::test]
    #[should_panic(expected = "a hanging probe: still not so after 60ms")]
    async fn a_hanging_probe_does_not_outlast_the_deadline() {
        eventually(Duration::from_millis(60), "a hanging probe", async || {
            std::future::pending::<()>().await;
            Some(())
        })
        .await;
    }
}
