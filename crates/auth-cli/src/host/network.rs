//! The network, and the plugins that stand for one.

use auth_providers::plugin::Environment;
use auth_providers::{Proxy, ReqwestClient};

use crate::host::context::Context;
use crate::host::text::printable;

/// What a plugin finds in its environment.
pub fn plugin_environment(context: &Context) -> Environment {
    let all = context.env.iter().map(|(name, value)| (name.clone(), value.clone()));
    Environment::scrubbed(all).launched_by(context.program.clone())
}

/// The network, with the certificates that the environment adds. Its errors name those, and the
/// proxy.
pub fn client(context: &Context) -> ReqwestClient {
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
    client.trusting(files).through(proxy, certificates)
}
