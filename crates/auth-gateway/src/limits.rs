//! Sizes and time limits, which keep one client or provider from harming the others.

use std::time::Duration;

/// The limits of a gateway. The defaults are for individual users and their tools.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The maximum number of connections on all listeners together.
    pub connections: usize,
    /// The maximum number of simultaneous requests of one client.
    pub requests_per_client: usize,
    /// The maximum size of request line and headers together, in bytes; 431 beyond.
    pub head_bytes: usize,
    /// The maximum number of header fields; 431 beyond.
    pub header_fields: usize,
    /// How long a connection may take to send the head of its next request.
    pub head_time: Duration,
    /// How long a client may take between two parts of a body, or to read a response.
    pub client_idle: Duration,
    /// How long the rest of a refused request is read.
    pub drain_time: Duration,
    /// The largest body that is kept for sending it again, in bytes.
    pub kept_bytes: usize,
    /// The largest body, in bytes; 413 beyond.
    pub body_bytes: u64,
    /// The maximum size of all kept bodies together, in bytes.
    pub all_kept_bytes: usize,
    /// How long connecting to a provider may take.
    pub connect_time: Duration,
    /// How long a provider may take before its response starts.
    pub answer_time: Duration,
    /// How long it may take between two parts of a response.
    pub provider_idle: Duration,
    /// The maximum number of times one request is sent.
    pub attempts: usize,
    /// No further attempt starts after this time.
    pub attempts_within: Duration,
    /// How long a response with a success status is held back until it has content.
    pub held_time: Duration,
    /// How many bytes of it are held back.
    pub held_bytes: usize,
    /// How many of its events are held back.
    pub held_events: usize,
    /// How long a cooldown must have lasted before one request may test whether it is over.
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
