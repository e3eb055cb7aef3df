//! Limits for a client: simultaneous requests, and requests per minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::StatusCode;

use crate::api::shape::Refusal;
use crate::client::Client;

/// The requests of each client.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<String, Rate>>);

#[derive(Debug)]
struct Rate {
    /// Each request in progress holds a clone, so its reference count limits them.
    open: Arc<()>,
    /// How many requests may start at once.
    left: f64,
    counted: Instant,
}

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Turn {
    _open: Arc<()>,
}

impl Rates {
    /// Lets a request start, or returns when to try again.
    pub(crate) fn begin(
        &self,
        client: &Client,
        most_open: usize,
        now: Instant,
    ) -> Result<Turn, Refusal> {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !rates.contains_key(&client.name) {
            let left = client.max_per_minute.map_or(0.0, f64::from);
            rates.insert(client.name.clone(), Rate { open: Arc::default(), left, counted: now });
        }
        let Some(rate) = rates.get_mut(&client.name) else {
            return Ok(Turn { _open: Arc::default() });
        };
        if Arc::strong_count(&rate.open) > most_open {
            let message = format!("the client `{}` has too many requests open", client.name);
            return Err(refusal(message, Duration::from_secs(1)));
        }
        if let Some(most) = client.max_per_minute.map(f64::from) {
            let gained = now.saturating_duration_since(rate.counted).as_secs_f64() * most / 60.0;
            rate.left = (rate.left + gained).min(most);
            rate.counted = now;
            if rate.left < 1.0 {
                let wait = Duration::try_from_secs_f64((1.0 - rate.left) * 60.0 / most);
                let message =
                    format!("the client `{}` may make {most} requests a minute", client.name);
                return Err(refusal(message, wait.unwrap_or(Duration::from_mins(1))));
            }
            rate.left -= 1.0;
        }
        Ok(Turn { _open: Arc::clone(&rate.open) })
    }
}

fn refusal(message: String, wait: Duration) -> Refusal {
    Refusal { retry_after: Some(wait), ..Refusal::new(StatusCode::TOO_MANY_REQUESTS, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(per_minute: Option<u32>) -> Client {
        let (client, _) = Client::new("one", &[], [1; 32]);
        Client { max_per_minute: per_minute, ..client }
    }

    #[test]
    fn a_minute_has_so_many_requests_and_they_come_back_with_time() {
        let (rates, start) = (Rates::default(), Instant::now());
        let client = client(Some(6));
        for _ in 0..6 {
            rates.begin(&client, 100, start).unwrap();
        }
        let refused = rates.begin(&client, 100, start).unwrap_err();
        assert_eq!(refused.retry_after, Some(Duration::from_secs(10)));
        let later = start + Duration::from_secs(11);
        rates.begin(&client, 100, later).unwrap();
        assert!(rates.begin(&client, 100, later).is_err());
    }

    #[test]
    fn a_client_has_so_many_requests_open_and_another_is_not_hindered() {
        let (rates, now) = (Rates::default(), Instant::now());
        let one = client(None);
        let held: Vec<_> = (0..2).map(|_| rates.begin(&one, 2, now).unwrap()).collect();
        assert!(rates.begin(&one, 2, now).is_err());
        let other = Client { name: "other".to_owned(), ..one.clone() };
        rates.begin(&other, 2, now).unwrap();
        drop(held);
        rates.begin(&one, 2, now).unwrap();
    }
}
