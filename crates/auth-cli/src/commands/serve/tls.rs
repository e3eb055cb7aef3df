//! The certificate and key of the door for other machines.

use std::path::Path;
use std::sync::Arc;

use auth_gateway::rustls::pki_types::pem::PemObject as _;
use auth_gateway::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use auth_gateway::rustls::server::WebPkiClientVerifier;
use auth_gateway::rustls::{RootCertStore, ServerConfig, crypto};

use crate::host::context::Context;
use crate::host::error::CliError;

/// How connections are secured: with the chain in `certificate` and the key in `key`; clients must
/// show a certificate of `client_ca`, if there is one.
///
/// # Errors
/// A file cannot be read, or is not what it should be.
pub(super) fn config(
    certificate: &str,
    key: &str,
    client_ca: Option<&str>,
    context: &Context,
) -> Result<Arc<ServerConfig>, CliError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let chain = certificates(certificate, context)?;
    let key_bytes = read(key, context)?;
    let key_of = |error: &dyn std::fmt::Display| wrong(key, error, context);
    let private = PrivateKeyDer::from_pem_slice(&key_bytes).map_err(|error| key_of(&error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(certificate, &error, context))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for root in certificates(file, context)? {
                roots.add(root).map_err(|error| wrong(file, &error, context))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            let verifier = verifier.map_err(|error| wrong(file, &error, context))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder.with_single_cert(chain, private);
    let mut config = config.map_err(|error| key_of(&error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(file: &str, context: &Context) -> Result<Vec<CertificateDer<'static>>, CliError> {
    let bytes = read(file, context)?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let all = all.map_err(|error| wrong(file, &error, context))?;
    if all.is_empty() {
        return Err(wrong(file, &"there is no certificate in it", context));
    }
    Ok(all)
}

fn read(file: &str, context: &Context) -> Result<Vec<u8>, CliError> {
    let path = context.user_path(file);
    auth_store::read_regular(&path).map_err(|error| wrong(file, &error, context))
}

fn wrong(file: &str, error: &dyn std::fmt::Display, context: &Context) -> CliError {
    let path: &Path = &context.user_path(file);
    CliError::usage(format!("`{}` cannot be used: {error}", path.display()))
        .hint("a certificate chain and its key, both as PEM: --tls-cert FILE --tls-key FILE")
        .path(path)
}
