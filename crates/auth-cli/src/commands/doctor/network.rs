//! Checks the issuers of the stored logins: whether they can be reached, and whether their clock
//! agrees with ours. No credential is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use auth_providers::{HttpClient as _, HttpRequest};
use auth_store::{Credential, Document};

use crate::commands::doctor::examination::Examination;
use crate::commands::doctor::finding::{Finding, Severity};
use crate::host::network;
use crate::host::process::runtime;
use crate::host::shell_quote::word;

pub(crate) fn examine(examination: &Examination<'_>) -> Vec<Finding> {
    let mut endpoints: BTreeMap<String, String> = BTreeMap::new();
    for agent in &examination.agents {
        let Ok(Some(bytes)) = agent.store().bytes() else { continue };
        let Ok(document) = Document::parse(&bytes) else { continue };
        for profile in document.profiles() {
            let Some(Credential::OAuth(login)) = document.credential(&profile.id) else { continue };
            let target = examination.providers.find(&profile.provider);
            let target = target.and_then(|provider| provider.refresh_target(&login).ok());
            if let Some(target) = target {
                endpoints.entry(target.token_endpoint).or_insert(profile.provider.to_string());
            }
        }
    }
    endpoints.iter().filter_map(|(url, provider)| ask(url, provider, examination)).collect()
}

fn ask(url: &str, provider: &str, examination: &Examination<'_>) -> Option<Finding> {
    let client = network::client(examination.context);
    let asked = runtime::run(client.send(HttpRequest::get(url, TIMEOUT))).ok()?;
    let response = match asked {
        Ok(response) => response,
        Err(error) => {
            let what = format!("the issuer of {provider} cannot be reached at {url}: {error}");
            return Some(
                Finding::new("unreachable", Severity::Warning, what)
                    .costs("its logins cannot be renewed; valid tokens go on working")
                    .command(format!("curl -sSI {}; behind a proxy set HTTPS_PROXY", word(url))),
            );
        }
    };
    let theirs = response.date()?;
    let ahead = examination.context.now().0.saturating_sub(theirs.0);
    if ahead.unsigned_abs() < SKEW {
        return None;
    }
    let word = if ahead > 0 { "ahead of" } else { "behind" };
    let seconds = ahead.unsigned_abs() / 1_000;
    let what =
        format!("this machine's clock is {seconds} s {word} that of the issuer of {provider}");
    Some(
        Finding::new("clock_skew", Severity::Warning, what)
            .costs("tokens are used after their end, or renewed again and again")
            .command("set the clock, such as: sudo timedatectl set-ntp true"),
    )
}

const TIMEOUT: Duration = Duration::from_secs(5);
/// In milliseconds: more than a token's own margin covers.
const SKEW: u64 = 30_000;
