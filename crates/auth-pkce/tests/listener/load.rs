//! Many connections, slow ones and silent ones: the login succeeds anyway.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracing::{Event, Metadata, Subscriber, span};

use crate::support::{Waiting, send};

#[tokio::test]
async fn a_silent_connection_is_closed_after_five_seconds() {
    for sent in ["", "GET /auth/callback?code=", "GET / HTTP/1.1\r\nHost: "] {
        let waiting = Waiting::new();
        let mut stream = TcpStream::connect(waiting.address()).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();

        // With the clock paused, time passes only when nothing else is left to do.
        tokio::time::pause();
        let begun = tokio::time::Instant::now();
        let mut received = Vec::new();
        let reading = stream.read_to_end(&mut received);
        let _ = tokio::time::timeout(Duration::from_mins(1), reading).await;
        let seconds = begun.elapsed().as_secs();
        assert!((4..=6).contains(&seconds), "closed after {seconds} s");
        tokio::time::resume();
        waiting.still_succeeds().await;
    }
}

#[tokio::test]
async fn two_hundred_idle_connections_do_not_keep_the_response_out() {
    for sent in ["", "G", "GET /auth/callback?code=x HTTP/1.1\r\nHost: localhost\r\nX-"] {
        let waiting = Waiting::new();
        let mut idle = Vec::new();
        for _ in 0..200 {
            let mut stream = TcpStream::connect(waiting.address()).await.unwrap();
            // The oldest may be closed already.
            let _ = stream.write_all(sent.as_bytes()).await;
            idle.push(stream);
        }
        waiting.still_succeeds().await;
        drop(idle);
    }
}

#[tokio::test]
async fn at_the_cap_the_oldest_idle_connection_is_closed() {
    let waiting = Waiting::new();
    let mut oldest = TcpStream::connect(waiting.address()).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..31 {
        others.push(TcpStream::connect(waiting.address()).await.unwrap());
    }
    // One more, with a response that shows it was served.
    waiting.get("/").await.expect(404, "There is nothing here");
    let mut received = Vec::new();
    assert_eq!(oldest.read_to_end(&mut received).await.unwrap_or(0), 0);

    // The second oldest is still served.
    let request = waiting.request("/");
    others[0].write_all(request.as_bytes()).await.unwrap();
    let mut received = String::new();
    others[0].read_to_string(&mut received).await.unwrap();
    assert!(received.starts_with("HTTP/1.1 404 "), "{received}");
    waiting.still_succeeds().await;
}

#[tokio::test]
async fn a_response_in_a_rush_of_connections_is_read_before_it_is_pushed_out() {
    let waiting = Waiting::new();
    waiting.get("/").await.expect(404, "There is nothing here");

    // Without a pause for the listener, so that it finds all of them at once.
    let mut browser = std::net::TcpStream::connect(waiting.address()).unwrap();
    browser.write_all(waiting.request(&waiting.response()).as_bytes()).unwrap();
    let idle: Vec<_> =
        (0..100).map(|_| std::net::TcpStream::connect(waiting.address()).unwrap()).collect();

    let arrival = tokio::time::timeout(Duration::from_secs(10), waiting.task).await;
    arrival.unwrap().unwrap().unwrap().browser.succeed().await;
    let mut page = String::new();
    browser.read_to_string(&mut page).unwrap();
    assert!(page.contains("You are signed in"), "{page}");
    drop(idle);
}

#[tokio::test]
async fn the_held_browser_outlives_a_rush_of_idle_connections() {
    let waiting = Waiting::new();
    let address = waiting.address();
    let (arrival, browser) = waiting.arrive().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    arrival.browser.succeed().await;
    browser.await.unwrap().expect(200, "You are signed in");
}

#[tokio::test]
async fn a_flood_of_wrong_responses_is_ignored_and_hardly_logged() {
    // Global, because a thread's subscriber is not asked about a call site that another thread
    // reached first.
    tracing::subscriber::set_global_default(Counter).unwrap();
    let waiting = Waiting::new();
    let address = waiting.address();
    let wrong = waiting.request("/auth/callback?code=x&state=wrong");

    let flood: Vec<_> = (0..8)
        .map(|_| {
            let wrong = wrong.clone();
            tokio::spawn(async move {
                for _ in 0..250 {
                    send(address, &wrong).await.expect(400, "not the login that was started");
                }
            })
        })
        .collect();
    for task in flood {
        task.await.unwrap();
    }
    waiting.still_succeeds().await;
    let lines = LINES.get();
    // The first eight, and one that says there are more.
    assert_eq!(lines, 9);
}

thread_local! {
    /// The events of this thread, in which a test and its listener run.
    static LINES: Cell<usize> = const { Cell::new(0) };
}

/// Counts events of every level.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("auth_pkce")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, _: &Event<'_>) {
        LINES.set(LINES.get() + 1);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
