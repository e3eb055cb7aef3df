//! The network client, and the environment of plugins.

use auth_providers::plugin::Environment;
use auth_providers::{
    HttpClient, HttpRequest, Proxy, RealTime, ReqwestClient, Sending, Waiting as _,
};

use crate::host::context::Context;
use crate::host::text::printable;

/// The environment of a plugin.
pub fn plugin_environment(context: &Context) -> Environment {
    let all = context.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    Environment::scrubbed(all).launched_by(context.program.clone())
}

/// The network client, with the certificates that the environment adds. Its errors name the
/// certificates and the proxy.
pub fn client(context: &Context) -> Logged {
    let set = |name: &'static str| {
        let value = context.env(name).filter(|value| !value.is_empty())?;
        Some((name, value))
    };
    let extra_ca = ["CLAWDBOT_CA_FILE", "NODE_EXTRA_CA_CERTS"].into_iter().find_map(set);
    let proxy = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter().find_map(set);
    let trusted = ["SSL_CERT_FILE", "SSL_CERT_DIR"].into_iter().filter_map(set);
    let files = trusted.clone().flat_map(|(_, value)| std::env::split_paths(value));
    let files: Vec<_> = files.filter(|path| path.is_absolute()).collect();
    let exceptions = ["NO_PROXY", "no_proxy"].into_iter().find_map(set);
    let exceptions = exceptions.map_or("", |(_, value)| value);
    let proxy = proxy.map(|(name, value)| Proxy::new(name, value, exceptions));
    let named = |(name, value): (&str, &str)| format!("{name} is `{}`", printable(value));
    let certificates = trusted.chain(extra_ca).map(named).collect();
    let client = match extra_ca {
        Some((_, path)) => ReqwestClient::with_extra_ca(context.user_path(path)),
        None => ReqwestClient::new(),
    };
    Logged(client.trusting(files).through(proxy, certificates))
}

/// The network, with a line in the log for each request: method, address without its query, status
/// and time. Headers and bodies are never in it.
pub struct Logged(ReqwestClient);

impl HttpClient for Logged {
    fn send(&self, request: HttpRequest) -> Sending<'_> {
        let what = format!("{:?} {}", request.method(), shown(request.url()));
        let sending = self.0.send(request);
        Box::pin(async move {
            let began = RealTime.elapsed();
            let outcome = sending.await;
            let took = RealTime.elapsed().saturating_sub(began).as_millis();
            match &outcome {
                Ok(response) => tracing::info!("{what}: {} in {took} ms", response.status),
                Err(error) => tracing::info!("{what}: {error} in {took} ms"),
            }
            outcome
        })
    }
}

/// Origin and path of an address.
fn shown(address: &str) -> String {
    let address = address.split(['?', '#']).next().unwrap_or_default();
    match address.split_once("://") {
        // Nobody writes a password into an address of ours, and none is shown.
        Some((scheme, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.rsplit('@').next().unwrap_or_default();
            printable(&format!("{scheme}://{host}/{path}"))
        }
        None => printable(address),
    }
}
