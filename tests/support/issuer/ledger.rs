//! The issuer's codes and tokens, and which of them are used up. Pure: requests in, responses out.
//!
//! It never forgets a token, so a test can check at the end what became of each.

use crate::http::{Response, find};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// The behavior of this issuer. Any field can change while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// The account signed in at the browser; the e-mail is `<account>@example.test`.
    pub account: String,
    /// The user at the browser refuses.
    pub deny: bool,
    /// Lifetime of an access token in seconds; `None` leaves `expires_in` out.
    pub expires_in: Option<u64>,
    /// A refresh returns a new refresh token and voids the old one (RFC 6749 §10.4).
    pub rotate: bool,
    /// Reuse of a used-up refresh token revokes its whole family (RFC 9700 §4.14.2).
    pub reuse_revokes: bool,
    /// A used-up refresh token whose successor is unused returns that same successor again.
    pub grace: bool,
    /// Access tokens are JWTs with an `exp`.
    pub jwt_access: bool,
    /// Every response has an ID token.
    pub id_token: bool,
    /// Claims added to every JWT.
    pub claims: Map<String, Value>,
    /// The redirect carries `iss` (RFC 9207), and the metadata says so.
    pub response_iss: bool,
    /// There is a revocation endpoint (RFC 7009).
    pub revocation: bool,
    /// The granted scope, included in every response (RFC 6749 §5.1).
    pub scope: Option<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            account: "alice".to_owned(),
            deny: false,
            expires_in: Some(3600),
            rotate: true,
            reuse_revokes: true,
            grace: false,
            jwt_access: true,
            id_token: true,
            claims: Map::new(),
            response_iss: true,
            revocation: true,
            scope: None,
        }
    }
}

/// The state of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It can be used.
    Live,
    /// It was used and replaced with this one.
    Spent {
        /// The refresh token that replaced it.
        successor: String,
    },
    /// Its family was revoked: by a logout, or by reuse of a used-up member.
    Revoked,
    /// This issuer never issued it.
    Unknown,
}

/// The tokens of one response, for seeding a store.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
    /// The account they belong to.
    pub account: String,
}

/// All codes and tokens ever issued.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    codes: BTreeMap<String, Code>,
    families: Vec<Family>,
    refresh: BTreeMap<String, Refresh>,
    access: BTreeMap<String, usize>,
    made: u64,
}

#[derive(Debug)]
struct Code {
    account: String,
    client: String,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    used: bool,
}

#[derive(Debug)]
struct Family {
    account: String,
    client: String,
    revoked: bool,
}

#[derive(Debug)]
struct Refresh {
    family: usize,
    successor: Option<String>,
}

/// A response and the name under which it is counted.
pub(super) type Outcome = (Response, &'static str);

impl Ledger {
    /// The authorization endpoint, with the user's decision already made (RFC 6749 §4.1.1, RFC 7636
    /// §4.3).
    pub(super) fn authorize(
        &mut self,
        issuer: &str,
        policy: &Policy,
        query: &[(String, String)],
    ) -> Outcome {
        let field = |name| find(query, name).unwrap_or_default();
        let redirect_uri = field("redirect_uri");
        let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
        if !loopback.iter().any(|start| redirect_uri.starts_with(start)) {
            return (
                Response::new(400, "text/plain", "redirect_uri is not loopback"),
                "bad_redirect",
            );
        }
        let mut back = url::Url::parse(redirect_uri).expect("a redirect URI");
        back.query_pairs_mut().append_pair("state", field("state"));
        if policy.response_iss {
            back.query_pairs_mut().append_pair("iss", issuer);
        }
        let proper = field("response_type") == "code"
            && field("code_challenge_method") == "S256"
            && field("code_challenge").len() == 43
            && !field("client_id").is_empty();
        if !proper {
            back.query_pairs_mut().append_pair("error", "invalid_request");
            return (Response::redirect(back.as_str()), "invalid_request");
        }
        if policy.deny {
            back.query_pairs_mut()
                .append_pair("error", "access_denied")
                .append_pair("error_description", "the person said no");
            return (Response::redirect(back.as_str()), "access_denied");
        }
        let name = self.name("code");
        let code = Code {
            account: policy.account.clone(),
            client: field("client_id").to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            challenge: field("code_challenge").to_owned(),
            nonce: find(query, "nonce").map(str::to_owned),
            used: false,
        };
        self.codes.insert(name.clone(), code);
        back.query_pairs_mut().append_pair("code", &name);
        (Response::redirect(back.as_str()), "success")
    }

    /// The token endpoint (RFC 6749 §4.1.3 and §6).
    pub(super) fn token(
        &mut self,
        issuer: &str,
        policy: &Policy,
        fields: &[(String, String)],
        now_ms: u64,
    ) -> Outcome {
        let field = |name| find(fields, name).unwrap_or_default();
        match field("grant_type") {
            "authorization_code" => self.redeem(issuer, policy, fields, now_ms),
            "refresh_token" => {
                self.renew(issuer, policy, field("refresh_token"), field("client_id"), now_ms)
            }
            _ => refuse("unsupported_grant_type", "unsupported_grant_type"),
        }
    }

    fn redeem(
        &mut self,
        issuer: &str,
        policy: &Policy,
        fields: &[(String, String)],
        now_ms: u64,
    ) -> Outcome {
        let field = |name| find(fields, name).unwrap_or_default();
        let Some(code) = self.codes.get_mut(field("code")) else {
            return refuse("invalid_grant", "unknown_code");
        };
        if code.used {
            return refuse("invalid_grant", "used_code");
        }
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
        if challenge != code.challenge {
            return refuse("invalid_grant", "wrong_verifier");
        }
        if field("redirect_uri") != code.redirect_uri || field("client_id") != code.client {
            return refuse("invalid_grant", "wrong_redirect_or_client");
        }
        code.used = true;
        let (account, client, nonce) =
            (code.account.clone(), code.client.clone(), code.nonce.clone());
        let refresh = self.start_family(&account, &client);
        (self.reply(issuer, policy, &refresh, Some(&refresh), nonce, now_ms), "success")
    }

    fn renew(
        &mut self,
        issuer: &str,
        policy: &Policy,
        token: &str,
        client: &str,
        now_ms: u64,
    ) -> Outcome {
        let Some(known) = self.refresh.get(token) else {
            return refuse("invalid_grant", "unknown");
        };
        let (family, successor) = (known.family, known.successor.clone());
        if self.families[family].client != client {
            return refuse("invalid_grant", "wrong_client");
        }
        if self.families[family].revoked {
            return refuse("invalid_grant", "revoked");
        }
        if let Some(successor) = successor {
            let unused = self.refresh.get(&successor).is_some_and(|next| next.successor.is_none());
            if policy.grace && unused {
                let body = self.reply(issuer, policy, &successor, Some(&successor), None, now_ms);
                return (body, "grace");
            }
            self.families[family].revoked = policy.reuse_revokes;
            return refuse("invalid_grant", "reuse");
        }
        if !policy.rotate {
            return (self.reply(issuer, policy, token, None, None, now_ms), "success");
        }
        let next = self.name("rt-secret");
        self.refresh.insert(next.clone(), Refresh { family, successor: None });
        self.refresh.entry(token.to_owned()).and_modify(|old| old.successor = Some(next.clone()));
        (self.reply(issuer, policy, &next, Some(&next), None, now_ms), "success")
    }

    /// The revocation endpoint: revoking a refresh token revokes the whole grant (RFC 7009 §2.1).
    pub(super) fn revoke(&mut self, fields: &[(String, String)]) -> Outcome {
        let token = find(fields, "token").unwrap_or_default();
        let family = self.refresh.get(token).map(|known| known.family);
        let known = family.or_else(|| self.access.get(token).copied());
        if let Some(family) = family {
            self.families[family].revoked = true;
        }
        self.access.remove(token);
        let outcome = if known.is_some() { "success" } else { "unknown_token" };
        (Response::new(200, "text/plain", ""), outcome)
    }

    /// The userinfo endpoint (OIDC Core §5.3).
    pub(super) fn userinfo(&self, authorization: &str) -> Outcome {
        let token = authorization.strip_prefix("Bearer ").unwrap_or_default();
        let family = self.access.get(token).map(|family| &self.families[*family]);
        match family.filter(|family| !family.revoked) {
            Some(family) => {
                let account = &family.account;
                let claims = json!({"sub": account, "email": format!("{account}@example.test")});
                (Response::json(200, &claims), "success")
            }
            None => (Response::json(401, &json!({"error": "invalid_token"})), "invalid_token"),
        }
    }

    /// Tokens of an account as if it had just logged in.
    pub(super) fn grant(
        &mut self,
        issuer: &str,
        policy: &Policy,
        account: &str,
        client: &str,
        now_ms: u64,
    ) -> Tokens {
        let refresh = self.start_family(account, client);
        let access = self.access_token(issuer, policy, &refresh, now_ms);
        Tokens { access, refresh, account: account.to_owned() }
    }

    /// The state of a refresh token.
    pub(super) fn state_of(&self, token: &str) -> TokenState {
        let Some(known) = self.refresh.get(token) else { return TokenState::Unknown };
        if self.families[known.family].revoked {
            return TokenState::Revoked;
        }
        known
            .successor
            .clone()
            .map_or(TokenState::Live, |successor| TokenState::Spent { successor })
    }

    fn start_family(&mut self, account: &str, client: &str) -> String {
        let (account, client) = (account.to_owned(), client.to_owned());
        self.families.push(Family { account, client, revoked: false });
        let refresh = self.name("rt-secret");
        let family = self.families.len() - 1;
        self.refresh.insert(refresh.clone(), Refresh { family, successor: None });
        refresh
    }

    fn reply(
        &mut self,
        issuer: &str,
        policy: &Policy,
        of: &str,
        refresh: Option<&str>,
        nonce: Option<String>,
        now_ms: u64,
    ) -> Response {
        let access = self.access_token(issuer, policy, of, now_ms);
        let mut body = json!({"access_token": access, "token_type": "Bearer"});
        if let Some(seconds) = policy.expires_in {
            body["expires_in"] = seconds.into();
        }
        if let Some(refresh) = refresh {
            body["refresh_token"] = refresh.into();
        }
        if let Some(scope) = &policy.scope {
            body["scope"] = scope.as_str().into();
        }
        if policy.id_token {
            let mut claims = json!({});
            if let Some(nonce) = nonce {
                claims["nonce"] = nonce.into();
            }
            body["id_token"] = self.jwt(issuer, policy, of, claims, now_ms).into();
        }
        Response::json(200, &body)
    }

    fn access_token(&mut self, issuer: &str, policy: &Policy, of: &str, now_ms: u64) -> String {
        let name = self.name("at-secret");
        let token = if policy.jwt_access {
            self.jwt(issuer, policy, of, json!({"jti": name}), now_ms)
        } else {
            name
        };
        self.access.insert(token.clone(), self.refresh[of].family);
        token
    }

    /// A token in the format of a JWT (RFC 7519); its signature is random.
    fn jwt(&self, issuer: &str, policy: &Policy, of: &str, extra: Value, now_ms: u64) -> String {
        let family = &self.families[self.refresh[of].family];
        let account = &family.account;
        let now = now_ms / 1000;
        let mut claims = json!({
            "iss": issuer, "sub": account, "aud": family.client, "iat": now,
            "exp": now + policy.expires_in.unwrap_or(3600),
            "email": format!("{account}@example.test"), "email_verified": true,
        });
        let all = claims.as_object_mut().expect("an object");
        all.extend(policy.claims.clone());
        if let Value::Object(extra) = extra {
            all.extend(extra);
        }
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": "k1"});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("not-a-signature"))
    }

    fn name(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{:06}", self.made)
    }
}

/// The metadata document (RFC 8414 §2, OIDC Discovery §3).
pub(super) fn metadata(issuer: &str, policy: &Policy) -> Value {
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
        "jwks_uri": format!("{issuer}/jwks"),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["none"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid", "email", "offline_access"],
        "authorization_response_iss_parameter_supported": policy.response_iss,
    });
    if policy.revocation {
        document["revocation_endpoint"] = format!("{issuer}/revoke").into();
    }
    document
}

fn refuse(error: &str, outcome: &'static str) -> Outcome {
    (Response::json(400, &json!({"error": error})), outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renew(ledger: &mut Ledger, policy: &Policy, token: &str) -> (u16, &'static str) {
        let (response, outcome) = ledger.renew("http://i", policy, token, "c", 0);
        (response.status, outcome)
    }

    #[test]
    fn a_spent_token_revokes_its_family() {
        let (mut ledger, policy) = (Ledger::default(), Policy::default());
        let first = ledger.grant("http://i", &policy, "alice", "c", 0).refresh;
        assert_eq!(renew(&mut ledger, &policy, &first), (200, "success"));
        let TokenState::Spent { successor } = ledger.state_of(&first) else { panic!("not spent") };
        assert_eq!(renew(&mut ledger, &policy, &first), (400, "reuse"));
        assert_eq!(renew(&mut ledger, &policy, &successor), (400, "revoked"));
    }

    #[test]
    fn grace_gives_the_same_successor_until_it_is_used() {
        let (mut ledger, policy) = (Ledger::default(), Policy { grace: true, ..Policy::default() });
        let first = ledger.grant("http://i", &policy, "alice", "c", 0).refresh;
        renew(&mut ledger, &policy, &first);
        let TokenState::Spent { successor } = ledger.state_of(&first) else { panic!("not spent") };
        assert_eq!(renew(&mut ledger, &policy, &first), (200, "grace"));
        renew(&mut ledger, &policy, &successor);
        assert_eq!(renew(&mut ledger, &policy, &first), (400, "reuse"));
    }

    #[test]
    fn without_rotation_the_token_stays() {
        let (mut ledger, policy) =
            (Ledger::default(), Policy { rotate: false, ..Policy::default() });
        let first = ledger.grant("http://i", &policy, "alice", "c", 0).refresh;
        renew(&mut ledger, &policy, &first);
        assert_eq!(ledger.state_of(&first), TokenState::Live);
    }
}
