//! `serve`.

use std::net::SocketAddr;

use clap::Args;

/// `serve`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  clawdbot serve
  clawdbot serve --listen 127.0.0.1:8460
  clawdbot serve --socket /srv/box/sink.sock --client box
  clawdbot serve --allow-host host.docker.internal
  clawdbot serve --tls-listen 0.0.0.0:8460 --tls-cert c.pem --tls-key k.pem --allow-host sink.example

It stays in the foreground, and says `listening on …` when it is ready. Programs come in with the
token of a client: clawdbot clients add NAME --provider P")]
pub struct ServeArgs {
    /// Listen on this address instead of port 1460 of this machine; may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Vec<SocketAddr>,
    /// Open this socket for one client: anyone who can open it has that client's rights
    #[arg(long, value_name = "PATH", requires = "client")]
    pub socket: Option<String>,
    /// The client of --socket
    #[arg(long, value_name = "NAME", requires = "socket")]
    pub client: Option<String>,
    /// Listen on this address for other machines, too
    #[arg(long, value_name = "ADDRESS", requires_all = ["tls_cert", "tls_key"])]
    pub tls_listen: Option<SocketAddr>,
    /// The certificate chain of --tls-listen, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    pub tls_cert: Option<String>,
    /// Its key, as PEM
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    pub tls_key: Option<String>,
    /// Other machines must show a certificate of this authority, beside the token of a client
    #[arg(long, value_name = "FILE", requires = "tls_listen")]
    pub tls_client_ca: Option<String>,
    /// Open the status page in the browser, by a link that is good once
    #[arg(long)]
    pub open: bool,
    /// A host name by which programs may call it, beside this machine's own; may be repeated
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
}
