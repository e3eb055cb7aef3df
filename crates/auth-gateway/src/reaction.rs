//! The reaction to each class of response: a table for the proxy.

use auth_routing::cooldown::judgement::Class;

/// The reaction to a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reaction {
    /// Forward it to the client, whatever its content.
    Pass,
    /// Refresh the credential and repeat the request; if that does not help, use the next profile.
    Refresh,
    /// Try the next profile.
    Next,
    /// Try the next profile, and no other after it.
    NextOnce,
}

/// The reaction to a class. For every reaction except [`Reaction::Pass`], the request was certainly
/// not carried out.
pub(crate) fn reaction(class: Class) -> Reaction {
    match TABLE.iter().find(|(known, _)| *known == class) {
        Some((_, reaction)) => *reaction,
        None => Reaction::Pass,
    }
}

const TABLE: [(Class, Reaction); 7] = [
    (Class::Credential, Reaction::Refresh),
    (Class::Forbidden, Reaction::Next),
    (Class::Billing, Reaction::Next),
    (Class::Limit, Reaction::Next),
    (Class::Momentary, Reaction::NextOnce),
    (Class::Overload, Reaction::NextOnce),
    (Class::Unavailable, Reaction::NextOnce),
];

/// The name of a class in metrics and logs.
pub(crate) fn word(class: Class) -> &'static str {
    match class {
        Class::Served => "served",
        Class::Credential => "credential",
        Class::Forbidden => "forbidden",
        Class::Billing => "billing",
        Class::Limit => "limit",
        Class::Momentary => "momentary",
        Class::Overload => "overload",
        Class::Unavailable => "unavailable",
        Class::Wall => "wall",
        Class::Request => "request",
        Class::Fault => "fault",
    }
}
