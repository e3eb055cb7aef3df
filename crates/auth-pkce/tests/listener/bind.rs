//! Which port is opened, and the error if none can be.

use std::net::TcpListener;

use auth_pkce::{Loopback, Redirect};

use crate::support::port_of;

fn redirect(host: &str, ports: &[u16]) -> Redirect {
    Redirect::new(host, ports.to_vec(), "/auth/callback").unwrap()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// Currently free ports; another program may take one at any time, so callers offer several.
fn free_ports() -> Vec<u16> {
    let held: Vec<TcpListener> =
        (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    held.iter().map(port).collect()
}

#[test]
fn the_redirect_uri_names_the_port_that_was_opened() {
    for host in ["localhost", "127.0.0.1"] {
        let loopback = Loopback::bind(&redirect(host, &[])).unwrap();
        let port = port_of(&loopback);
        assert_eq!(loopback.redirect_uri(), format!("http://{host}:{port}/auth/callback"));
    }
}

#[test]
fn a_taken_port_makes_room_for_the_next() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let ports = [vec![port(&other)], free_ports()].concat();
    let loopback = Loopback::bind(&redirect("localhost", &ports)).unwrap();
    assert!(ports[1..].contains(&port_of(&loopback)));
}

#[test]
fn a_port_whose_ipv6_side_is_taken_is_not_safe() {
    let Ok(squatter) = TcpListener::bind("[::1]:0") else {
        return; // No IPv6 here, so nobody can squat on it.
    };
    let ports = [vec![port(&squatter)], free_ports()].concat();
    let loopback = Loopback::bind(&redirect("localhost", &ports)).unwrap();
    assert_ne!(port_of(&loopback), port(&squatter));

    // The control: an address that names IPv4 is not affected.
    let loopback = Loopback::bind(&redirect("127.0.0.1", &ports)).unwrap();
    assert_eq!(port_of(&loopback), port(&squatter));
}

#[test]
fn the_error_names_every_port_and_who_has_it() {
    let taken: Vec<TcpListener> =
        (0..2).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<u16> = taken.iter().map(port).collect();
    let error = Loopback::bind(&redirect("localhost", &ports)).unwrap_err();
    assert_eq!(error.failures.iter().map(|f| f.address.port()).collect::<Vec<_>>(), ports);
    let text = error.to_string();
    for port in ports {
        assert!(text.contains(&format!("127.0.0.1:{port}: in use by ")), "{text}");
    }
    #[cfg(target_os = "linux")]
    assert!(text.contains(&format!("(process {})", std::process::id())), "{text}");
}

#[test]
fn the_port_is_never_shared() {
    let loopback = Loopback::bind(&redirect("localhost", &[])).unwrap();
    let port = port_of(&loopback);
    assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
    assert!(TcpListener::bind(("::1", port)).is_err());
    assert!(Loopback::bind(&redirect("127.0.0.1", &[port])).is_err());
    drop(loopback);
    assert!(TcpListener::bind(("127.0.0.1", port)).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_but_loopback_addresses_is_bound() {
    let loopback = Loopback::bind(&redirect("localhost", &[])).unwrap();
    let port = format!(":{:04X}", port_of(&loopback));
    let mut found = 0;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, _, "0A", ..] = fields.as_slice()
                && let Some(address) = local.strip_suffix(&port)
            {
                let loopback = ["0100007F", "00000000000000000000000001000000"];
                assert!(loopback.contains(&address), "{line}");
                found += 1;
            }
        }
    }
    assert!(found >= 1);
}
