//! Who owns a loopback socket, by Linux' `/proc`.
//!
//! A peer that is not found is not ours. The name of a listener is for error messages, best effort.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// A line of `/proc/net/tcp` or `/proc/net/tcp6`.
#[derive(Debug, PartialEq)]
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    is_listening: bool,
    is_established: bool,
    user: u32,
    inode: u64,
}

/// Whether the other end of a connection we accepted is a process of the same user, and both ends are
/// open. An end that is closed has no owner any more, and nothing on it can be believed.
///
/// `local` and `peer` are the addresses as the accepted socket sees them.
pub(crate) fn is_same_user(local: SocketAddr, peer: SocketAddr) -> bool {
    is_same(&tables().unwrap_or_default(), local, peer)
}

/// The users whose processes listen on `port` of a loopback address or of all addresses; `None` if the
/// system does not tell.
pub fn listeners_on(port: u16) -> Option<Vec<u32>> {
    let is_reached = |socket: &Socket| {
        let address = socket.local.ip();
        address.is_loopback() || address.is_unspecified()
    };
    let listening = tables()?.into_iter().filter(|it| it.is_listening && it.local.port() == port);
    Some(listening.filter(is_reached).map(|socket| socket.user).collect())
}

/// The listener on `port`, if it is a process of the same user: `` `node` (process 1234)``.
pub(crate) fn listener_on(port: u16) -> Option<String> {
    let inode = tables()?
        .into_iter()
        .find(|socket| socket.is_listening && socket.local.port() == port)?
        .inode;
    let wanted = format!("socket:[{inode}]");
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(descriptors) = fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let mut links =
            descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
        if links.any(|link| link == Path::new(&wanted)) {
            let command = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            let command: String = command.chars().filter(|c| !c.is_control()).collect();
            return Some(format!("`{command}` (process {id})"));
        }
    }
    None
}

/// Both ends are looked up, so that our own user id is not needed.
fn is_same(sockets: &[Socket], local: SocketAddr, peer: SocketAddr) -> bool {
    let user = |local: SocketAddr, remote: SocketAddr| {
        let is_it = |end: &&Socket| end.local == local && end.remote == remote;
        let open = |end: &&Socket| end.is_established && end.inode != 0;
        sockets.iter().filter(is_it).find(open).map(|end| end.user)
    };
    matches!((user(local, peer), user(peer, local)), (Some(ours), Some(theirs)) if ours == theirs)
}

/// `None` if there are no such tables. A machine without IPv6 has one of them.
fn tables() -> Option<Vec<Socket>> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).ok());
    if tables.iter().all(Option::is_none) {
        return None;
    }
    Some(tables.iter().flatten().flat_map(|table| parse(table)).collect())
}

fn parse(table: &str) -> Vec<Socket> {
    table.lines().skip(1).filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, local, remote, state, _, _, _, user, _, inode, ..] = fields.as_slice() else {
        return None;
    };
    Some(Socket {
        local: parse_address(local)?,
        remote: parse_address(remote)?,
        is_listening: *state == "0A",
        is_established: *state == "01",
        user: user.parse().ok()?,
        inode: inode.parse().ok()?,
    })
}

/// `0100007F:05AF`: 32-bit words in the byte order of the machine, then the port.
fn parse_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let mut bytes = Vec::with_capacity(16);
    for start in (0..address.len()).step_by(8) {
        let word = u32::from_str_radix(address.get(start..start + 8)?, 16).ok()?;
        bytes.extend_from_slice(&word.to_ne_bytes());
    }
    let address = match bytes.len() {
        4 => IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:05AF 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0 100 0 0 10 0
   1: 0100007F:05AF 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 12 1 0 20 4 30 10 -1
   2: 0100007F:D431 0100007F:05AF 01 00000000:00000000 00:00000000 00000000  1000        0 13 1 0 20 4 30 10 -1
   3: 0100007F:05AF 0100007F:D432 01 00000000:00000000 00:00000000 00000000  1000        0 14 1 0 20 4 30 10 -1
   4: 0100007F:D432 0100007F:05AF 01 00000000:00000000 00:00000000 00000000 65534        0 15 1 0 20 4 30 10 -1
   5: 0100007F:05AF 0100007F:D433 01 00000000:00000000 00:00000000 00000000  1000        0 16 1 0 20 4 30 10 -1
   6: 0100007F:D433 0100007F:05AF 05 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1
";
    const TABLE6: &str = "  sl  local_address                         remote_address st ...
   0: 00000000000000000000000001000000:05AF 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000 0 21 1
   1: 0000000000000000FFFF00000100007F:D434 0000000000000000FFFF00000100007F:05AF 01 00000000:00000000 00:00000000 00000000  1001 0 22 1
";

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_line_is_read() {
        let listener = &parse(TABLE)[0];
        assert_eq!((listener.local, listener.is_listening), (address("127.0.0.1:1455"), true));
        assert_eq!((listener.user, listener.inode), (1000, 11));
        let sockets = parse(TABLE6);
        assert_eq!(sockets[0].local, address("[::1]:1455"));
        assert_eq!(sockets[1].local, address("127.0.0.1:54324"));
    }

    #[test]
    fn only_an_open_peer_of_the_same_user_is_ours() {
        let sockets = parse(TABLE);
        let check = |peer: &str, wanted: bool| {
            assert_eq!(
                is_same(&sockets, address("127.0.0.1:1455"), address(peer)),
                wanted,
                "{peer}"
            );
        };
        check("127.0.0.1:54321", true);
        check("127.0.0.1:54322", false);
        // It has closed its end, or is not there.
        check("127.0.0.1:54323", false);
        check("127.0.0.1:9", false);
        // It has ended its side of a connection of which our end still stands.
        let half_closed = TABLE.replace("0100007F:D431 01 0", "0100007F:D431 08 0");
        let sockets = parse(&half_closed);
        assert!(!is_same(&sockets, address("127.0.0.1:1455"), address("127.0.0.1:54321")));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_listens_is_named_and_nobody_else() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let id = std::process::id();
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap();
        let name = format!("`{}` (process {id})", name.trim_end());
        assert_eq!(listener_on(listener.local_addr().unwrap().port()), Some(name));
        assert_eq!(listener_on(1), None);
    }

    #[test]
    fn a_table_of_another_form_is_no_table() {
        for text in [
            "",
            "x",
            "\n\n",
            "head\n 0: 0100007F 1 2 3",
            "head\n 0: é:1 é:2 0A 0 0 0 0 0 0",
            "h\n0: 0:0 0:0 0 0 0 0 0 0 0",
        ] {
            assert_eq!(parse(text), vec![]);
        }
    }
}
