//! Who is in a group. Many systems give each user a group of their own and let it write (umask 002);
//! Kubernetes lets a group write to a volume that no account has (`fsGroup`). Nobody else is in those.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::OnceLock;

/// Whether a group is the user's own, without another member. A group of which that is not known has
/// others in it.
pub(crate) fn is_nobody_elses(group: u32) -> bool {
    static ACCOUNTS: OnceLock<Option<Accounts>> = OnceLock::new();
    // Elsewhere accounts are in directories that these files do not show.
    if !cfg!(target_os = "linux") {
        return false;
    }
    let accounts = ACCOUNTS.get_or_init(Accounts::read).as_ref();
    accounts.is_some_and(|it| it.only(rustix::process::geteuid().as_raw(), group))
}

/// The accounts of this machine, as `/etc` lists them.
struct Accounts {
    passwd: String,
    group: String,
    /// Whether this is a container that Kubernetes made.
    is_pod: bool,
}

impl Accounts {
    fn read() -> Option<Self> {
        let hosts = text("/etc/hosts").unwrap_or_default();
        let is_pod = hosts.starts_with("# Kubernetes-managed hosts file");
        Some(Self { passwd: text("/etc/passwd")?, group: text("/etc/group")?, is_pod })
    }

    /// Whether nobody but `user` is in `group`.
    fn only(&self, user: u32, group: u32) -> bool {
        let (mut own_names, mut is_others) = (Vec::new(), false);
        for line in self.passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields[..] else { continue };
            let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else { continue };
            if uid == user {
                own_names.push(name);
            } else {
                is_others |= gid == group;
            }
        }
        let (mut is_listed, mut is_own) = (false, group == user);
        for line in self.group.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields[..] else { continue };
            if gid.parse() != Ok(group) {
                continue;
            }
            let is_other = |member: &str| {
                !member.is_empty() && member != "root" && !own_names.contains(&member)
            };
            is_listed = true;
            is_others |= members.split(',').map(str::trim).any(is_other);
            is_own |= own_names.contains(&name);
        }
        !is_others && (is_own || (self.is_pod && !is_listed))
    }
}

/// A list of the administrator's that nobody else can change.
fn text(path: &str) -> Option<String> {
    let file = File::open(path).ok()?;
    let found = file.metadata().ok()?;
    if found.uid() != 0 || found.mode() & 0o022 != 0 || !found.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).ok()?;
    // What is larger is no list of a machine's own accounts.
    Some(text).filter(|text| (text.len() as u64) < LARGEST)
}

const LARGEST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1005::/home/alice:/bin/sh\nbob:x:1001:100::/home/bob:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nalice:x:1005:\nusers:x:100:\nstaff:x:50:\nteam:x:2000:alice,bob\nbob:x:1001:alice\nx:x:7:root\n";

    fn only(user: u32, group: u32, is_pod: bool) -> bool {
        Accounts { passwd: PASSWD.to_owned(), group: GROUP.to_owned(), is_pod }.only(user, group)
    }

    #[test]
    fn a_group_is_the_users_own_by_its_name_or_number_if_nobody_else_is_in_it() {
        for is_pod in [false, true] {
            // By name, by number, and the number of a user who has no account.
            assert!(only(1000, 1005, is_pod) && only(0, 0, is_pod) && only(4242, 4242, is_pod));
            // Another's, one for all, one with members, one with a member beside its owner.
            for (user, group) in [(1001, 1005), (1000, 100), (1000, 50), (1000, 2000), (1001, 1001)]
            {
                assert!(!only(user, group, is_pod), "{user} {group}");
            }
        }
        // The group of a volume, which no account has.
        assert!(only(1000, 7777, true) && !only(1000, 7777, false));
    }
}
