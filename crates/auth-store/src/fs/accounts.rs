//! Who is in a group. Many systems give each user a group of their own and let it write (umask 002);
//! Kubernetes gives a volume a group that no account has. Such a group is nobody else's.

use std::path::Path;
use std::sync::OnceLock;

use crate::fs::open;

/// Whether a group has no member but this user and the administrator. A group of which that is not
/// known has others in it.
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
    /// Empty where it does not exist.
    nsswitch: String,
}

impl Accounts {
    fn read() -> Option<Self> {
        let text = |path: &str| String::from_utf8(open::read_of_system(Path::new(path))?).ok();
        Some(Self {
            passwd: text("/etc/passwd")?,
            group: text("/etc/group")?,
            nsswitch: text("/etc/nsswitch.conf").unwrap_or_default(),
        })
    }

    /// Whether nobody but `user` and the administrator is in `group`.
    fn only(&self, user: u32, group: u32) -> bool {
        let (mut own_names, mut primary_of_others) = (Vec::new(), false);
        for line in self.passwd.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields[..] else { continue };
            let (Ok(uid), Ok(gid)) = (uid.parse::<u32>(), gid.parse::<u32>()) else { continue };
            if uid == user || uid == 0 {
                own_names.push(name);
            } else {
                primary_of_others |= gid == group;
            }
        }
        let (mut others_are_members, mut is_by_our_name) = (false, false);
        for line in self.group.lines() {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields[..] else { continue };
            if gid.parse() != Ok(group) {
                continue;
            }
            let is_other = |member: &str| !member.is_empty() && !own_names.contains(&member);
            others_are_members |= members.split(',').map(str::trim).any(is_other);
            is_by_our_name |= group == user || own_names.contains(&name);
        }
        !primary_of_others && !others_are_members && (is_by_our_name || self.are_all())
    }

    /// Whether there are no other accounts than these: none of a directory service.
    fn are_all(&self) -> bool {
        let databases = ["passwd:", "group:", "initgroups:"];
        self.nsswitch.lines().map(str::trim).all(|line| {
            let sources = databases.iter().find_map(|name| line.strip_prefix(name));
            let sources = sources.unwrap_or_default().split('#').next().unwrap_or_default();
            let words = sources.split_whitespace().filter(|word| !word.starts_with('['));
            words.into_iter().all(|word| LOCAL.contains(&word))
        })
    }
}

/// Sources of accounts that are on this machine, or make accounts of its own processes.
const LOCAL: [&str; 6] = ["files", "compat", "db", "systemd", "mymachines", "cache"];

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:100::/home/bob:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nalice:x:1000:\nusers:x:100:\nstaff:x:50:\nteam:x:2000:alice,bob\nown:x:2001:alice,root\n";

    fn only(user: u32, group: u32, nsswitch: &str) -> bool {
        let [passwd, group_file, nsswitch] = [PASSWD, GROUP, nsswitch].map(str::to_owned);
        Accounts { passwd, group: group_file, nsswitch }.only(user, group)
    }

    #[test]
    fn a_group_without_others_is_nobody_elses() {
        let local =
            "passwd: files systemd # here\ngroup: files [SUCCESS=merge] systemd\nhosts: dns\n";
        for nsswitch in ["", local] {
            // The user's own, one without members, one with us alone, a number that nobody has.
            for group in [1000, 50, 2001, 7777] {
                assert!(only(1000, group, nsswitch), "{group}");
            }
            // Somebody's first group, one with a member, another user's own.
            for (user, group) in [(1000, 100), (1000, 2000), (1001, 1000)] {
                assert!(!only(user, group, nsswitch), "{user} {group}");
            }
        }
    }

    #[test]
    fn where_a_directory_service_has_accounts_only_the_users_own_group_counts() {
        for nsswitch in ["group: files sss\n", "passwd: files ldap\n", "initgroups: winbind\n"] {
            assert!(only(1000, 1000, nsswitch), "{nsswitch}");
            for group in [50, 2001, 7777, 100] {
                assert!(!only(1000, group, nsswitch), "{nsswitch} {group}");
            }
        }
    }
}
