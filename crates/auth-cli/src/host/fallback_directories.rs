//! Where to write an issuer's response if the disk of its store fails at that moment.

use std::path::{Path, PathBuf};

use crate::host::context::Context;

/// The directories on this machine, the best first: memory of this user, memory shared by all
/// users, and temporary files. Whether one is safe is checked when it is needed.
pub(crate) fn places(context: &Context) -> Vec<PathBuf> {
    let named = |variable: &str| {
        let text = context.env(variable).filter(|it| !it.is_empty());
        text.map(|it| context.user_path(it))
    };
    #[cfg(unix)]
    let user = Some(rustix::process::geteuid().as_raw());
    #[cfg(not(unix))]
    let user = None;
    known(named("XDG_RUNTIME_DIR").as_deref(), named("TMPDIR").as_deref(), user)
}

fn known(runtime: Option<&Path>, temporary: Option<&Path>, user: Option<u32>) -> Vec<PathBuf> {
    let mut places: Vec<_> = runtime.map(|it| it.join("clawdbot")).into_iter().collect();
    if let Some(user) = user {
        let name = format!("clawdbot-{user}");
        places.push(Path::new("/run/user").join(user.to_string()).join("clawdbot"));
        places.push(Path::new("/dev/shm").join(&name));
        places.extend(temporary.map(|it| it.join(&name)));
        places.push(Path::new("/tmp").join(&name));
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_place_without_any_variable_and_it_is_looked_into_with_them_too() {
        let without = known(None, None, Some(7));
        let names = ["/run/user/7/clawdbot", "/dev/shm/clawdbot-7", "/tmp/clawdbot-7"];
        assert_eq!(without, names.map(PathBuf::from));
        let with = known(Some(Path::new("/run/user/7")), Some(Path::new("/t")), Some(7));
        assert_eq!(with[0], Path::new("/run/user/7/clawdbot"));
        assert!(without.iter().all(|place| with.contains(place)));
        assert!(known(None, None, None).is_empty());
    }
}
