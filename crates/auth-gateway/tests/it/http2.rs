//! HTTP/2 to the provider, over TLS.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, server};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::support::{Setup, read_answer};

/// The provider's reaction to a request.
#[derive(Clone, Copy)]
enum Act {
    Reply,
    /// Reports that it has not started processing it.
    Refuse,
    /// Resets it after it has started.
    Break,
    /// Closes the connection in an orderly way, with the request on it.
    GoAway,
    /// Waits until the request is canceled.
    Wait,
}

struct Provider {
    address: SocketAddr,
    /// The number of requests, and of connections.
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    /// One message for each canceled request.
    taken_back: Receiver<()>,
    began: Receiver<()>,
}

fn certificate() -> CertificateDer<'static> {
    CertificateDer::from(&include_bytes!("tls/certificate.der")[..])
}

fn client_tls() -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

fn server_tls() -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(&include_bytes!("tls/key.der")[..]).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut tls = builder.with_single_cert(vec![certificate()], key).unwrap();
    tls.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(tls))
}

impl Provider {
    /// A provider with this reaction to its first request, its second, and so on; all others
    /// succeed.
    fn start(acts: &'static [Act]) -> Self {
        let (tell, address) = channel();
        let (back, taken_back) = channel();
        let (started, began) = channel();
        let (requests, connections) = (Arc::<AtomicUsize>::default(), Arc::default());
        let (ours, theirs) = (Arc::clone(&requests), Arc::clone(&connections));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let tls = server_tls();
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let connections: &AtomicUsize = &theirs;
                    connections.fetch_add(1, Ordering::Relaxed);
                    let (tls, requests) = (tls.clone(), Arc::clone(&ours));
                    let (back, started) = (back.clone(), started.clone());
                    tokio::spawn(async move {
                        let Ok(stream) = tls.accept(stream).await else { return };
                        let Ok(mut connection) = server::handshake(stream).await else { return };
                        while let Some(Ok((_, respond))) = connection.accept().await {
                            let number = requests.fetch_add(1, Ordering::Relaxed);
                            let act = acts.get(number).copied().unwrap_or(Act::Reply);
                            let _ = started.send(());
                            if matches!(act, Act::GoAway) {
                                connection.abrupt_shutdown(Reason::NO_ERROR);
                                continue;
                            }
                            let back = back.clone();
                            tokio::spawn(async move {
                                if reply(act, respond).await {
                                    let _ = back.send(());
                                }
                            });
                        }
                    });
                }
            });
        });
        let address = address.recv().unwrap();
        Self { address, requests, connections, taken_back, began }
    }

    fn counts(&self) -> (usize, usize) {
        (self.requests.load(Ordering::Relaxed), self.connections.load(Ordering::Relaxed))
    }
}

/// Whether the request was canceled.
async fn reply(act: Act, mut respond: SendResponse<Bytes>) -> bool {
    match act {
        Act::Reply | Act::GoAway => {
            let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
            body.send_data(Bytes::from_static(b"fine"), true).unwrap();
        }
        Act::Refuse => respond.send_reset(Reason::REFUSED_STREAM),
        Act::Break => respond.send_reset(Reason::INTERNAL_ERROR),
        Act::Wait => return poll_fn(|context| respond.poll_reset(context)).await.is_ok(),
    }
    false
}

fn setup() -> Setup {
    let mut setup = Setup::keys(&["a", "b"]);
    setup.tls = Some(client_tls());
    setup
}

#[test]
fn all_requests_of_a_profile_share_a_connection() {
    let provider = Provider::start(&[]);
    let gateway = setup().start(provider.address);
    for _ in 0..5 {
        let got = gateway.ask("{}");
        assert_eq!((got.status, got.body.as_str()), (200, "fine"));
    }
    assert_eq!(provider.counts(), (5, 1));
}

#[test]
fn a_stream_that_was_refused_is_sent_once_more_and_with_the_same_account() {
    let provider = Provider::start(&[Act::Refuse]);
    assert_eq!(setup().start(provider.address).ask("{}").status, 200);
    assert_eq!(provider.counts().0, 2);
    let provider = Provider::start(&[Act::Refuse, Act::Refuse]);
    assert_eq!(setup().start(provider.address).ask("{}").status, 502);
    assert_eq!(provider.counts().0, 2);
}

#[test]
fn a_stream_that_broke_after_it_began_is_never_sent_again() {
    for act in [&[Act::Break], &[Act::GoAway]] {
        let provider = Provider::start(act);
        assert_eq!(setup().start(provider.address).ask("{}").status, 502);
        assert_eq!(provider.counts().0, 1);
    }
}

#[test]
fn a_client_that_leaves_takes_its_request_back_and_no_other() {
    let provider = Provider::start(&[Act::Wait]);
    let gateway = setup().start(provider.address);
    let mut client = gateway.connect();
    let request = gateway.request("POST", "/acme/responses", "", "{}");
    std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
    provider.began.recv_timeout(Duration::from_secs(20)).unwrap();
    let mut other = gateway.connect();
    std::io::Write::write_all(&mut other, request.as_bytes()).unwrap();
    assert_eq!(read_answer(&mut other).status, 200);
    drop(client);
    provider.taken_back.recv_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(gateway.ask("{}").status, 200);
    assert_eq!(provider.counts(), (3, 1));
}
