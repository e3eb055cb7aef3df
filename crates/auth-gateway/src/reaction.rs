//! What is done about each class of answer: a table, from which the proxy reads.

use auth_routing::cooldown::judgement::Class;

/// What is done about a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reaction {
    /// It goes to the client, whatever it says.
    Pass,
    /// The credential is refreshed and the request repeated; if that does not help, the next
    /// profile.
    Refresh,
    /// The next profile is tried.
    Next,
    /// The next profile is tried, and after that none.
    NextOnce,
}

/// The request was certainly not carried out where the reaction is not [`Reaction::Pass`].
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

/// The word for a class in metrics and logs.
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
