//! The issuer, and its reaction to a reused refresh token.

use std::fmt;

use super::state::{Login, TOKENS, Token};

/// The issuer's reaction to reuse.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Rotates, and refuses a used token.
    Refuses,
    /// Rotates, and revokes the whole family of a used token.
    Revokes,
    /// Rotates, and responds to a used token with another new one.
    Grace,
    /// Does not rotate.
    Fixed,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Refuses, Self::Revokes, Self::Grace, Self::Fixed];
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Refuses => "that refuses reuse",
            Self::Revokes => "that revokes the family",
            Self::Grace => "that gives grace",
            Self::Fixed => "that does not rotate",
        })
    }
}

/// The user of a token.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Who {
    /// One of our processes.
    Ours,
    /// A Clawdbot.
    Clawdbot,
}

/// The state of a token at the issuer.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// There is no such token yet.
    Unissued,
    /// It can be used.
    Live,
    /// It was used by one of these; its successor.
    Used(Who, Token),
    /// Its family was revoked.
    Dead,
}

/// A token response.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reply {
    /// New tokens.
    Tokens {
        /// The refresh token.
        refresh: Token,
        /// The serial number of the access token.
        access: u8,
    },
    /// The refresh token is refused.
    Refused,
}

/// What descends from a login that is made anew.
pub(super) const NEW: u8 = 7;

/// The issuer and its clock.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Issuer {
    /// The status of every token.
    pub tokens: [Status; TOKENS],
    /// To which side each token was issued; the first ones to us.
    pub issued_to: [Who; TOKENS],
    /// The login from which each token descends.
    pub lineage: [u8; TOKENS],
    /// The number of tokens.
    pub count: u8,
    /// The serial number of the next access token. A later one expires later.
    pub next_access: u8,
    /// Access tokens from this one on are valid now.
    pub valid_from: u8,
}

impl Issuer {
    /// An issuer with `logins` logins, whose access tokens have all expired.
    pub fn new(logins: u8) -> Self {
        let mut issuer = Self {
            tokens: [Status::Unissued; TOKENS],
            issued_to: [Who::Ours; TOKENS],
            lineage: [0; TOKENS],
            count: 0,
            next_access: 1,
            valid_from: 1,
        };
        for login in 0..logins {
            issuer.issue(login, Who::Ours);
        }
        issuer
    }

    /// Whether there was room for all tokens.
    pub fn is_in_bounds(&self) -> bool {
        usize::from(self.count) < TOKENS
    }

    /// Whether an access token is valid now.
    pub fn is_valid(&self, login: Login) -> bool {
        login.access >= self.valid_from
    }

    /// The status of a token.
    pub fn status(&self, token: Token) -> Status {
        self.tokens[usize::from(token)]
    }

    /// Makes all access tokens expire.
    pub fn expire(&mut self) {
        self.valid_from = self.next_access;
    }

    /// A person logs in anew, with the account of the first login.
    pub fn log_in(&mut self) -> Login {
        let refresh = self.issue(NEW, Who::Ours);
        let access = self.next_access;
        self.next_access += 1;
        Login { refresh, access, obtained: access }
    }

    /// Whose a token is.
    pub fn account(&self, token: Token) -> u8 {
        match self.lineage[usize::from(token)] {
            NEW => 0,
            lineage => lineage,
        }
    }

    fn issue(&mut self, lineage: u8, who: Who) -> Token {
        let token = self.count;
        let index = usize::from(token);
        self.tokens[index] = Status::Live;
        self.issued_to[index] = who;
        self.lineage[index] = lineage;
        self.count += 1;
        token
    }

    /// Receives the token, and returns the response.
    pub fn spend(&mut self, token: Token, who: Who, kind: Kind) -> Reply {
        let index = usize::from(token);
        let lineage = self.lineage[index];
        let refresh = match (self.tokens[index], kind) {
            (Status::Unissued | Status::Dead, _) | (Status::Used(..), Kind::Refuses) => {
                return Reply::Refused;
            }
            (Status::Used(..), Kind::Revokes) => {
                for (status, of) in self.tokens.iter_mut().zip(self.lineage) {
                    if of == lineage && *status != Status::Unissued {
                        *status = Status::Dead;
                    }
                }
                return Reply::Refused;
            }
            (_, Kind::Fixed) => token,
            (Status::Live | Status::Used(..), _) => {
                let next = self.issue(lineage, who);
                self.tokens[index] = Status::Used(who, next);
                next
            }
        };
        let access = self.next_access;
        self.next_access += 1;
        Reply::Tokens { refresh, access }
    }
}
