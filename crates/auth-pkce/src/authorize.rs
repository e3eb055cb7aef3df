//! The authorization URL (RFC 6749 §4.1.1, RFC 7636 §4.3), which is opened in the browser.

use std::fmt::Write as _;

use url::Url;

use crate::attempt::Attempt;
use crate::pkce::Challenge;
use crate::redirect::is_loopback;

/// The issuer's part of an authorization request; the rest comes from the [`Attempt`].
#[derive(Clone, Debug, Default)]
pub struct AuthorizationRequest {
    /// The issuer's authorization endpoint: `https`, or `http` on a loopback host. It may have a
    /// query of its own, which is kept (RFC 6749 §3.1).
    pub authorization_endpoint: String,
    /// The client identifier issued by the issuer (RFC 6749 §2.2).
    pub client_id: String,
    /// The requested scopes, joined with spaces; with none, the parameter is omitted (RFC 6749
    /// §3.3).
    pub scopes: Vec<String>,
    /// Additional parameters of this issuer, none of them a [reserved](is_reserved_parameter) one.
    pub extra: Vec<(String, String)>,
    /// Whether to send the nonce: with every request for `openid` (`OpenID` Connect Core §3.1.2.1).
    pub nonce: bool,
}

/// Why there is no authorization URL: the description of the issuer is wrong and must be corrected.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AuthorizationUrlError {
    /// The endpoint is not an address that may be opened in a browser.
    #[error("the authorization endpoint {reason}")]
    Endpoint {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An additional parameter, or the endpoint's own query, sets a parameter of the login itself.
    #[error("the authorization parameter `{name}` is set by the login itself")]
    Reserved {
        /// The name of the parameter.
        name: String,
    },
}

/// Whether the login itself sets this parameter, so that no description of an issuer may set it.
///
/// These are the parameters of the code flow with PKCE, and `request` and `request_uri`, which
/// would replace them all (RFC 9101 §5).
pub fn is_reserved_parameter(name: &str) -> bool {
    matches!(
        name,
        "response_type"
            | "client_id"
            | "redirect_uri"
            | "scope"
            | "state"
            | "nonce"
            | "code_challenge"
            | "code_challenge_method"
            | "request"
            | "request_uri"
    )
}

impl Attempt {
    /// The URL to open in the browser, for this login and this issuer.
    ///
    /// # Errors
    /// [`AuthorizationUrlError`] says what is wrong with the description of the issuer.
    pub fn authorization_url(
        &self,
        request: &AuthorizationRequest,
    ) -> Result<String, AuthorizationUrlError> {
        let mut url = endpoint(&request.authorization_endpoint)?;
        let mut query = url.query().unwrap_or_default().to_owned();

        let mut append = |name: &str, value: &str| {
            if !query.is_empty() && !query.ends_with('&') {
                query.push('&');
            }
            encode_into(&mut query, name);
            query.push('=');
            encode_into(&mut query, value);
        };
        append("response_type", "code");
        append("client_id", &request.client_id);
        append("redirect_uri", self.redirect_uri());
        if !request.scopes.is_empty() {
            append("scope", &request.scopes.join(" "));
        }
        append("state", self.state().expose());
        append("code_challenge", self.verifier().challenge().as_str());
        append("code_challenge_method", Challenge::METHOD);
        if request.nonce {
            append("nonce", self.nonce().expose());
        }
        for (name, value) in &request.extra {
            refuse_reserved(name)?;
            append(name, value);
        }

        url.set_query(Some(&query));
        Ok(url.into())
    }
}

fn endpoint(text: &str) -> Result<Url, AuthorizationUrlError> {
    let wrong = |reason| AuthorizationUrlError::Endpoint { reason };
    let url = Url::parse(text).map_err(|_| wrong("is not an absolute URL"))?;
    match url.scheme() {
        "https" => {}
        "http" if url.host().is_some_and(|host| is_loopback(&host)) => {}
        _ => return Err(wrong("is neither https nor http on a loopback host")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("has a user name in it"));
    }
    if url.fragment().is_some() {
        return Err(wrong("has a fragment"));
    }
    for (name, _) in url.query_pairs() {
        refuse_reserved(&name)?;
    }
    Ok(url)
}

fn refuse_reserved(name: &str) -> Result<(), AuthorizationUrlError> {
    if is_reserved_parameter(name) {
        return Err(AuthorizationUrlError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

/// Percent-encodes everything except unreserved characters: a space becomes `%20`, which no server
/// misreads.
fn encode_into(query: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            query.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(query, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attempt() -> Attempt {
        Attempt::new([9; 96], "http://localhost:1455/auth/callback".into())
    }

    fn request() -> AuthorizationRequest {
        AuthorizationRequest {
            authorization_endpoint: "https://login.acme.example/authorize".into(),
            client_id: "acme-cli".into(),
            scopes: vec!["openid".into(), "offline_access".into()],
            extra: vec![("prompt".into(), "login & consent".into())],
            nonce: true,
        }
    }

    fn check(request: &AuthorizationRequest, wanted: Result<&str, AuthorizationUrlError>) {
        let url = attempt().authorization_url(request);
        assert_eq!(url, wanted.map(str::to_owned));
    }

    fn with_endpoint(endpoint: &str) -> AuthorizationRequest {
        AuthorizationRequest { authorization_endpoint: endpoint.into(), ..request() }
    }

    #[test]
    fn the_url_is_the_same_to_the_byte() {
        check(
            &request(),
            Ok("https://login.acme.example/authorize?response_type=code&client_id=acme-cli\
                &redirect_uri=http%3A%2F%2Flocalhost%3A1455%2Fauth%2Fcallback\
                &scope=openid%20offline_access&state=CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk\
                &code_challenge=g80hPkaKL7rbUpYj1pvTaDr7jxOh8KvDFn00a94wNxk&code_challenge_method=S256\
                &nonce=CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk&prompt=login%20%26%20consent"),
        );
    }

    #[test]
    fn without_scopes_and_nonce_neither_is_sent() {
        let bare =
            AuthorizationRequest { scopes: vec![], extra: vec![], nonce: false, ..request() };
        let url = attempt().authorization_url(&bare).unwrap();
        assert!(!url.contains("scope=") && !url.contains("nonce="), "{url}");
    }

    #[test]
    fn the_verifier_is_not_in_the_url() {
        let attempt = Attempt::new(
            std::array::from_fn(|i| u8::try_from(i).unwrap()),
            "http://127.0.0.1:1/cb".into(),
        );
        assert!(
            !attempt.authorization_url(&request()).unwrap().contains(attempt.verifier().expose())
        );
    }

    #[test]
    fn the_query_of_the_endpoint_is_kept() {
        let url = attempt()
            .authorization_url(&with_endpoint("https://a.example/o?tenant=x%20y"))
            .unwrap();
        assert!(url.starts_with("https://a.example/o?tenant=x%20y&response_type=code&"), "{url}");
        let url = attempt().authorization_url(&with_endpoint("https://a.example/o?")).unwrap();
        assert!(url.starts_with("https://a.example/o?response_type=code&"), "{url}");
    }

    #[test]
    fn no_description_of_an_issuer_sets_what_the_login_sets() {
        let names = "response_type client_id redirect_uri scope state nonce code_challenge code_challenge_method \
                     request request_uri";
        for name in names.split_whitespace() {
            let reserved = || Err(AuthorizationUrlError::Reserved { name: name.into() });
            check(
                &AuthorizationRequest { extra: vec![(name.into(), "x".into())], ..request() },
                reserved(),
            );
            check(&with_endpoint(&format!("https://a.example/?{name}=x")), reserved());
        }
        check(
            &with_endpoint("https://a.example/?st%61te=x"),
            Err(AuthorizationUrlError::Reserved { name: "state".into() }),
        );
    }

    #[test]
    fn an_endpoint_a_browser_must_not_open_is_refused() {
        let wrong = |reason| Err(AuthorizationUrlError::Endpoint { reason });
        check(&with_endpoint("/authorize"), wrong("is not an absolute URL"));
        check(
            &with_endpoint("http://a.example/"),
            wrong("is neither https nor http on a loopback host"),
        );
        check(
            &with_endpoint("javascript:alert(1)"),
            wrong("is neither https nor http on a loopback host"),
        );
        check(&with_endpoint("https://user@a.example/"), wrong("has a user name in it"));
        check(&with_endpoint("https://a.example/#x"), wrong("has a fragment"));
        assert!(
            attempt().authorization_url(&with_endpoint("http://127.0.0.1:8080/authorize")).is_ok()
        );
    }

    proptest! {
        #[test]
        fn every_value_comes_back_as_it_was(client in any::<String>(), name in "[a-z]{1,8}x", value in any::<String>()) {
            let request = AuthorizationRequest {
                client_id: client.clone(),
                extra: vec![(name.clone(), value.clone())],
                ..request()
            };
            let url = Url::parse(&attempt().authorization_url(&request).unwrap()).unwrap();
            let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
            prop_assert!(pairs.contains(&("client_id".into(), client)));
            prop_assert!(pairs.contains(&(name, value)));
            prop_assert_eq!(pairs.iter().filter(|(name, _)| name == "state").count(), 1);
        }
    }
}
