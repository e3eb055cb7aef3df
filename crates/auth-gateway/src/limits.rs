//! How much, and how long: what keeps one client or provider from hurting the others.

use std::time::Duration;

/// The limits of a gateway. The defaults are for people and their tools.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at all doors together.
    pub connections: usize,
    /// Requests of one client at one time.
    pub requests_per_client: usize,
    /// Request line and headers together, in bytes; 431 beyond.
    pub head_bytes: usize,
    /// Header fields; 431 beyond.
    pub header_fields: usize,
    /// How long a connection may take to bring the head of its next request.
    pub head_time: Duration,
    /// How long a client may take between two parts of a body, or to read what it is sent.
    pub client_idle: Duration,
    /// How long the rest of a refused request is read.
    pub drain_time: Duration,
    /// The largest body that is kept, so that it can be sent again.
    pub kept_bytes: usize,
    /// The largest body; 413 beyond.
    pub body_bytes: u64,
    /// All the bodies that are kept, together.
    pub all_kept_bytes: usize,
    /// How long a connection to a provider may take.
    pub connect_time: Duration,
    /// How long a provider may think before its response begins.
    pub answer_time: Duration,
    /// How long it may take between two parts of a response.
    pub provider_idle: Duration,
    /// How often one request is sent at most.
    pub attempts: usize,
    /// After this, no other attempt begins.
    pub attempts_within: Duration,
    /// How long a response that began well is held back until it shows that it is one.
    pub held_time: Duration,
    /// How much of it.
    pub held_bytes: usize,
    /// How many of its events.
    pub held_events: usize,
    /// After how much of a cooldown one request may try whether it is over.
    pub probe_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 16_384,
            requests_per_client: 12_288,
            head_bytes: 64 << 10,
            header_fields: 256,
            head_time: Duration::from_mins(1),
            client_idle: Duration::from_mins(5),
            drain_time: Duration::from_secs(10),
            kept_bytes: 32 << 20,
            body_bytes: 64 << 20,
            all_kept_bytes: 256 << 20,
            connect_time: Duration::from_secs(10),
            answer_time: Duration::from_mins(10),
            provider_idle: Duration::from_mins(5),
            attempts: 3,
            attempts_within: Duration::from_secs(30),
            held_time: Duration::from_secs(2),
            held_bytes: 64 << 10,
            held_events: 16,
            probe_after: Duration::from_mins(30),
        }
    }
}
