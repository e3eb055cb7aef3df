//! The Linux system calls on `x86_64` that the binary uses.

use super::trace::{Call, Place};
use nix::errno::Errno;
use nix::libc;

/// The name of a call. A call that is not in the table is `other`: its points are counted too.
pub(crate) fn name(number: u64) -> &'static str {
    let known = |(_, of): &&(&str, libc::c_long)| number == of.cast_unsigned();
    CALLS.iter().find(known).map_or("other", |(name, _)| *name)
}

/// Whether it opens or creates a file by its path.
pub(crate) fn opens(call: &str) -> bool {
    matches!(call, "open" | "openat")
}

/// Whether it can receive from a socket.
pub(crate) fn receives(call: &str) -> bool {
    matches!(call, "read" | "readv" | "recvfrom" | "recvmsg")
}

/// Whether it can send into a socket.
pub(crate) fn sends(call: &str) -> bool {
    matches!(call, "write" | "writev" | "sendto" | "sendmsg")
}

/// How a call names the file it changes.
pub(crate) enum Change {
    /// By a descriptor, its first argument.
    Descriptor,
    /// By a path, its first argument.
    Path,
    /// By a path, its second argument.
    PathAt,
}

/// Whether a disk that rejects all writes makes it fail, and how it names the file.
pub(crate) fn change(call: &str) -> Option<Change> {
    match call {
        "write" | "fsync" | "fdatasync" | "ftruncate" | "fallocate" => Some(Change::Descriptor),
        "rename" | "mkdir" => Some(Change::Path),
        "renameat" | "renameat2" | "mkdirat" => Some(Change::PathAt),
        _ => None,
    }
}

/// Whether its effect can be seen afterwards: a crash just before it differs from one just after
/// it.
pub(crate) fn leaves_a_trace(call: &str) -> bool {
    change(call).is_some()
        || matches!(
            call,
            "openat" | "unlink" | "rmdir" | "connect" | "writev" | "sendto" | "recvfrom" | "clone3"
        )
}

/// The errors worth injecting at a call; none for a call that concerns neither files nor the
/// network.
pub(crate) fn errors(call: &Call) -> &'static [Errno] {
    use Errno as E;
    match (call.point.call, call.leads_to) {
        ("open" | "openat", _) => {
            &[E::EIO, E::EACCES, E::EMFILE, E::ENOSPC, E::EDQUOT, E::EROFS, E::EINTR]
        }
        ("mkdir" | "rename" | "renameat" | "renameat2" | "link" | "linkat", _) => {
            &[E::EIO, E::EACCES, E::ENOSPC, E::EDQUOT, E::EROFS]
        }
        ("unlink" | "rmdir" | "chmod", _)
        | ("fchmod" | "utimensat", Place::File | Place::Directory) => {
            &[E::EIO, E::EACCES, E::EROFS]
        }
        ("write" | "ftruncate" | "fallocate", Place::File) => {
            &[E::EIO, E::ENOSPC, E::EDQUOT, E::EINTR]
        }
        ("fsync" | "fdatasync", _) => &[E::EIO, E::ENOSPC, E::EDQUOT, E::EINTR],
        ("read" | "pread64" | "getdents64", Place::File | Place::Directory) => &[E::EIO, E::EINTR],
        ("lseek" | "close", Place::File) => &[E::EIO],
        ("flock", _) => &[E::EINTR, E::ENOLCK, E::EIO],
        ("stat" | "lstat" | "fstat" | "newfstatat" | "statx" | "readlink" | "access", _) => {
            &[E::EIO, E::EACCES]
        }
        ("socket", _) => &[E::EMFILE, E::EACCES],
        ("connect", _) => &[E::ECONNREFUSED, E::ENETUNREACH, E::EACCES],
        ("write" | "writev" | "sendto" | "sendmsg", Place::Socket) => {
            &[E::EPIPE, E::ECONNRESET, E::EINTR]
        }
        ("read" | "recvfrom" | "recvmsg", Place::Socket) => &[E::ECONNRESET, E::EIO, E::EINTR],
        ("clone" | "clone3" | "fork" | "vfork", _) => &[E::EAGAIN, E::ENOMEM],
        // The second is tokio's, which panics without it; the first is our own check for that.
        ("socketpair", _) if call.point.nth > 1 => &[],
        ("pipe2" | "socketpair" | "epoll_create1" | "eventfd2", _) => &[E::EMFILE],
        _ => &[],
    }
}

#[rustfmt::skip]
const CALLS: &[(&str, libc::c_long)] = &[
    ("access", libc::SYS_access),
    ("arch_prctl", libc::SYS_arch_prctl),
    ("bind", libc::SYS_bind),
    ("brk", libc::SYS_brk),
    ("chdir", libc::SYS_chdir),
    ("chmod", libc::SYS_chmod),
    ("clock_gettime", libc::SYS_clock_gettime),
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("close", libc::SYS_close),
    ("close_range", libc::SYS_close_range),
    ("connect", libc::SYS_connect),
    ("dup", libc::SYS_dup),
    ("dup2", libc::SYS_dup2),
    ("dup3", libc::SYS_dup3),
    ("epoll_create1", libc::SYS_epoll_create1),
    ("epoll_ctl", libc::SYS_epoll_ctl),
    ("epoll_pwait", libc::SYS_epoll_pwait),
    ("epoll_wait", libc::SYS_epoll_wait),
    ("eventfd2", libc::SYS_eventfd2),
    ("execve", libc::SYS_execve),
    ("exit", libc::SYS_exit),
    ("exit_group", libc::SYS_exit_group),
    ("fallocate", libc::SYS_fallocate),
    ("fchmod", libc::SYS_fchmod),
    ("fcntl", libc::SYS_fcntl),
    ("fdatasync", libc::SYS_fdatasync),
    ("flock", libc::SYS_flock),
    ("fork", libc::SYS_fork),
    ("fstat", libc::SYS_fstat),
    ("fsync", libc::SYS_fsync),
    ("ftruncate", libc::SYS_ftruncate),
    ("futex", libc::SYS_futex),
    ("getcwd", libc::SYS_getcwd),
    ("getdents64", libc::SYS_getdents64),
    ("geteuid", libc::SYS_geteuid),
    ("getpeername", libc::SYS_getpeername),
    ("getpid", libc::SYS_getpid),
    ("getrandom", libc::SYS_getrandom),
    ("getsockname", libc::SYS_getsockname),
    ("getsockopt", libc::SYS_getsockopt),
    ("gettid", libc::SYS_gettid),
    ("getuid", libc::SYS_getuid),
    ("ioctl", libc::SYS_ioctl),
    ("kill", libc::SYS_kill),
    ("link", libc::SYS_link),
    ("linkat", libc::SYS_linkat),
    ("lseek", libc::SYS_lseek),
    ("lstat", libc::SYS_lstat),
    ("madvise", libc::SYS_madvise),
    ("mkdir", libc::SYS_mkdir),
    ("mkdirat", libc::SYS_mkdirat),
    ("mmap", libc::SYS_mmap),
    ("mprotect", libc::SYS_mprotect),
    ("mremap", libc::SYS_mremap),
    ("munmap", libc::SYS_munmap),
    ("nanosleep", libc::SYS_nanosleep),
    ("newfstatat", libc::SYS_newfstatat),
    ("open", libc::SYS_open),
    ("openat", libc::SYS_openat),
    ("pipe", libc::SYS_pipe),
    ("pipe2", libc::SYS_pipe2),
    ("poll", libc::SYS_poll),
    ("ppoll", libc::SYS_ppoll),
    ("prctl", libc::SYS_prctl),
    ("pread64", libc::SYS_pread64),
    ("prlimit64", libc::SYS_prlimit64),
    ("pwrite64", libc::SYS_pwrite64),
    ("read", libc::SYS_read),
    ("readlink", libc::SYS_readlink),
    ("readlinkat", libc::SYS_readlinkat),
    ("readv", libc::SYS_readv),
    ("recvfrom", libc::SYS_recvfrom),
    ("recvmsg", libc::SYS_recvmsg),
    ("rename", libc::SYS_rename),
    ("renameat", libc::SYS_renameat),
    ("renameat2", libc::SYS_renameat2),
    ("restart_syscall", libc::SYS_restart_syscall),
    ("rmdir", libc::SYS_rmdir),
    ("rseq", libc::SYS_rseq),
    ("rt_sigaction", libc::SYS_rt_sigaction),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("rt_sigreturn", libc::SYS_rt_sigreturn),
    ("sched_getaffinity", libc::SYS_sched_getaffinity),
    ("sched_yield", libc::SYS_sched_yield),
    ("sendmmsg", libc::SYS_sendmmsg),
    ("sendmsg", libc::SYS_sendmsg),
    ("sendto", libc::SYS_sendto),
    ("set_robust_list", libc::SYS_set_robust_list),
    ("set_tid_address", libc::SYS_set_tid_address),
    ("setsid", libc::SYS_setsid),
    ("setsockopt", libc::SYS_setsockopt),
    ("shutdown", libc::SYS_shutdown),
    ("sigaltstack", libc::SYS_sigaltstack),
    ("socket", libc::SYS_socket),
    ("socketpair", libc::SYS_socketpair),
    ("stat", libc::SYS_stat),
    ("statfs", libc::SYS_statfs),
    ("statx", libc::SYS_statx),
    ("sysinfo", libc::SYS_sysinfo),
    ("tgkill", libc::SYS_tgkill),
    ("uname", libc::SYS_uname),
    ("unlink", libc::SYS_unlink),
    ("unlinkat", libc::SYS_unlinkat),
    ("utimensat", libc::SYS_utimensat),
    ("vfork", libc::SYS_vfork),
    ("wait4", libc::SYS_wait4),
    ("waitid", libc::SYS_waitid),
    ("write", libc::SYS_write),
    ("writev", libc::SYS_writev),
];
