//! The head of a response as sent to the client.

use std::sync::Arc;

use auth_routing::cooldown::judgement::Class;
use hyper::Response;
use hyper::header::{CONTENT_ENCODING, HeaderName, HeaderValue};

use crate::accounts::Accounts;
use crate::api::Api;
use crate::api::pointer::{Place, header};
use crate::client::Right;
use crate::conversation::learn::Learner;
use crate::gateway::Gateway;
use crate::http::headers::{clean_answer, is_event_stream};
use crate::http::idle::Idle;
use crate::http::unpack::Unpacker;
use crate::proxy::failover::Received;
use crate::proxy::relay::{Relay, Reply, Trip};

impl<A: Accounts> Gateway<A> {
    /// Forwards a response. From here on, nothing is sent again.
    pub(crate) fn relay(
        &self,
        mut trip: Trip<A>,
        api: &Api,
        received: Received,
    ) -> Response<Reply<A>> {
        let Received { mut head, held, body, profile, judgement, veil } = received;
        let status = head.status.as_u16();
        let asked = Arc::clone(&trip.asked);
        self.metrics.answered(&asked.provider, status);
        let is_served = judgement.class == Class::Served;
        let unpacker = Unpacker::for_reply(&head.headers);
        let is_plain = !head.headers.contains_key(CONTENT_ENCODING) || unpacker.is_some();
        if is_served {
            for place in &api.bound {
                if let Place::Header(name) = place
                    && let Some(id) = header(&head.headers, name)
                {
                    self.bind_id(&asked, crate::conversation::facts::id_key(id), &profile);
                }
            }
        }
        let may_fail = is_served && is_plain && is_event_stream(&head.headers);
        clean_answer(&mut head.headers);
        veil.cover_headers(&mut head.headers);
        if asked.caller.may(Right::Status)
            && let Ok(name) = HeaderValue::from_str(profile.as_str())
        {
            head.headers.insert(PROFILE_HEADER, name);
        }
        let learner = (is_served && is_plain && !api.bound.is_empty()).then(Learner::new);
        trip.status = status;
        trip.profile = Some(profile);
        let idle = Idle::new(self.limits.provider_idle);
        let relay = Relay { held, body, idle, veil, unpacker, learner, may_fail, trip };
        Response::from_parts(head, Reply::Relayed(Box::new(relay)))
    }
}

/// The header with the profile, for callers that may see it.
const PROFILE_HEADER: HeaderName = HeaderName::from_static("x-clawdbot-profile");
