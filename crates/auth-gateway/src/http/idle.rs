//! A timeout between two parts of a body, which costs nothing while the parts arrive.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The timer of a body, which is set only while we wait for the body.
#[derive(Debug)]
pub(crate) struct Idle {
    limit: Duration,
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    /// A part has arrived.
    pub(crate) fn reset(&mut self) {
        self.since = None;
    }

    /// No part has arrived. Ready: the timeout has passed.
    pub(crate) fn poll_expired(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let end = *self.since.get_or_insert(now) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        loop {
            match timer.as_mut().poll(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) if end <= Instant::now() => return Poll::Ready(()),
                // A part has arrived since the timer was set; the timer is set again only when it
                // fires.
                Poll::Ready(()) => timer.as_mut().reset(end),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_ends_only_what_is_still_for_too_long() {
        let mut idle = Idle::new(Duration::from_secs(10));
        let start = Instant::now();
        for _ in 0..3 {
            let wait = poll_fn(|context| idle.poll_expired(context));
            assert!(tokio::time::timeout(Duration::from_secs(9), wait).await.is_err());
            idle.reset();
        }
        poll_fn(|context| idle.poll_expired(context)).await;
        assert_eq!(start.elapsed().as_secs(), 27 + 10);
    }
}
