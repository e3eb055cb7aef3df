//! The sending door: no request with a secret can be made anywhere else.

use super::{Tree, banned, is_test_file};

const DOOR: &str = "crates/auth-providers/src/http/destination/";
const REQUEST: &str = "crates/auth-providers/src/http/mod.rs";

/// Who may say which origins there are: from the entry of a provider, from what is recorded, or from what the user
/// names at the paste of a key. The audit log names the origin of an address.
const ORIGINS: [&str; 4] = [
    "crates/auth-providers/src/provider/destinations.rs",
    "crates/auth-cli/src/profiles/save/mod.rs",
    "crates/auth-cli/src/flows/paste.rs",
    "crates/auth-cli/src/profiles/audit/mod.rs",
];

/// Who may open a connection: the client that takes requests of the door; the gateway, which sends what a client asked
/// for to the address of the provider's entry; and a client of another gateway of ours.
const NETWORK: [&str; 3] = [
    "crates/auth-providers/src/http/reqwest_client.rs",
    "crates/auth-gateway/src/upstream.rs",
    "crates/auth-gateway/src/remote.rs",
];

const CONNECTIONS: [&str; 6] = [
    "reqwest::",
    "hyper::client",
    "hyper_util::client",
    "TcpStream::connect",
    "UnixStream::connect",
    "UdpSocket",
];

/// A request has a body or header fields only by the door, and only the door makes a destination of an address, since the
/// fields of both are private there; nobody else speaks to the network or names origins.
pub(super) fn secrets_leave_by_one_door(tree: &Tree) -> Vec<String> {
    let mut complaints = open_fields(tree.get(REQUEST).unwrap_or_default());
    for (path, text) in tree.under("crates/", ".rs").filter(|(path, _)| path.contains("/src/")) {
        if is_test_file(path) || path.starts_with(DOOR) {
            continue;
        }
        if !NETWORK.contains(&path) {
            complaints.extend(banned(path, text, &CONNECTIONS));
        }
        if !ORIGINS.contains(&path) {
            complaints.extend(banned(path, text, &["Destinations::from_urls"]));
        }
    }
    complaints
}

/// The fields of a request that others can set.
fn open_fields(text: &str) -> Vec<String> {
    let Some((_, rest)) = text.split_once("pub struct HttpRequest {") else {
        return vec![format!("{REQUEST}: there is no `HttpRequest`")];
    };
    let fields = rest.split('}').next().unwrap_or_default().lines().map(str::trim);
    let open = fields.filter(|field| field.starts_with("pub"));
    open.map(|field| format!("{REQUEST}: `{field}` can be set past the sending door")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::tree;
    use super::*;

    const CLOSED: &str = "pub struct HttpRequest {\n    body: Option<Vec<u8>>,\n}\n";

    #[test]
    fn a_way_past_the_sending_door_is_found() {
        let clean = [
            (REQUEST, CLOSED),
            ("crates/auth-providers/src/http/destination/mod.rs", "Destination { url }"),
        ];
        assert_eq!(secrets_leave_by_one_door(&tree(&clean)), Vec::<String>::new());
        for (path, text) in [
            (REQUEST, "pub struct HttpRequest {\n    pub body: Option<Vec<u8>>,\n}\n"),
            (REQUEST, ""),
            ("crates/auth-providers/src/backend/revoke.rs", "reqwest::Client::new().post(url)"),
            ("crates/auth-cli/src/commands/doctor/network.rs", "let s = TcpStream::connect(a)?;"),
            (
                "crates/auth-providers/src/oauth/probe.rs",
                "let all = Destinations::from_urls([url]);",
            ),
        ] {
            let others = clean.iter().filter(|(known, _)| *known != path).copied();
            let files: Vec<_> = others.chain([(path, text)]).collect();
            assert_eq!(secrets_leave_by_one_door(&tree(&files)).len(), 1, "{path}: {text}");
        }
    }
}
