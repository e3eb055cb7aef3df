//! Which function of the code each step of a model is, and which functions are no step. A test
//! reads the sources: a function that is gone, or one that nobody has judged, fails it.

/// Files of the code whose every function is listed here, from the root of the workspace.
pub const FILES: [&str; 10] = [
    "crates/auth-providers/src/refresh/mod.rs",
    "crates/auth-providers/src/refresh/send.rs",
    "crates/auth-providers/src/refresh/settle.rs",
    "crates/auth-providers/src/refresh/lineage.rs",
    "crates/auth-providers/src/refresh/copies.rs",
    "crates/auth-providers/src/refresh/left_behind.rs",
    "crates/auth-providers/src/refresh/kept.rs",
    "crates/auth-providers/src/refresh/logout.rs",
    "crates/auth-store/src/directory_lock.rs",
    "crates/auth-store/src/lock_memory.rs",
];

/// A step of a model, and the functions that implement it, as `file::function`. The file is the
/// end of one of [`FILES`], or another source of the crates.
pub const STEPS: [(&str, &[&str]); 40] = [
    // Refreshing.
    (
        "refresh::At::Look",
        &["refresh/mod::prepare", "refresh/mod::look", "refresh/mod::after_send"],
    ),
    ("refresh::At::LockToken", &["record::lock", "record::try_lock", "refresh/mod::key_of"]),
    (
        "refresh::At::Decide",
        &[
            "refresh/mod::decide",
            "refresh/copies::newer_copy",
            "refresh/copies::is_own",
            "refresh/copies::is_of_another_login",
        ],
    ),
    ("refresh::At::Note", &["refresh/lineage::note_successor", "refresh/lineage::relation"]),
    (
        "refresh::At::Find",
        &[
            "refresh/lineage::heal",
            "refresh/lineage::chain",
            "refresh/lineage::find",
            "refresh/lineage::everywhere",
        ],
    ),
    ("refresh::At::LockEnd", &["refresh/lineage::heal"]),
    ("refresh::At::DecideEnd", &["refresh/lineage::heal"]),
    ("refresh::At::LockStore", &["store_lock::acquire", "file_lock::acquire"]),
    ("refresh::At::LockDirectory", &["directory_lock::acquire"]),
    (
        "refresh::At::Reread",
        &[
            "refresh/send::send",
            "refresh/left_behind::finish_left_behind",
            "refresh/left_behind::remove_settled_answers",
            "refresh/settle::remove_answer",
            "store_lock::reserve",
        ],
    ),
    ("refresh::At::Await", &["refresh/send::send"]),
    ("refresh::At::Intend", &["refresh/send::send", "record::write"]),
    ("refresh::At::Transmit", &["refresh/send::send", "store_lock::witness"]),
    ("refresh::At::Store", &["answer::store"]),
    (
        "refresh::At::Resolve",
        &[
            "refresh/left_behind::settle_intent",
            "refresh/left_behind::settle_intent_by",
            "refresh/left_behind::answer_to",
            "store_lock::stored_answer",
        ],
    ),
    (
        "refresh::At::Read",
        &[
            "store_lock::update",
            "refresh/settle::merge",
            "refresh/settle::is_moved_on",
            "refresh/settle::is_one_before",
            "refresh/lineage::leads_to",
            "refresh/lineage::is_used_up",
        ],
    ),
    (
        "refresh::At::Rename",
        &["store_lock::update", "store_lock::retake_directory", "atomic::install"],
    ),
    ("refresh::At::Backup", &["store_lock::back_up"]),
    ("refresh::At::Settle", &["refresh/settle::settle", "record::write"]),
    ("refresh::At::Unfile", &["store_lock::remove_answer"]),
    (
        "refresh::At::Give",
        &["refresh/copies::propagate", "refresh/copies::give", "refresh/lineage::logins"],
    ),
    ("refresh::At::Ended", &["refresh/mod::refresh", "store_lock::drop"]),
    // The directory lock.
    ("directory::At::LockStore", &["file_lock::acquire"]),
    ("directory::At::Try", &["directory_lock::attempt"]),
    ("directory::At::Adopt", &["directory_lock::adopt"]),
    ("directory::At::GiveBack", &["directory_lock::adopt", "atomic::exchange"]),
    ("directory::At::Make", &["directory_lock::make_private"]),
    ("directory::At::Remember", &["directory_lock::make_private", "lock_memory::write"]),
    ("directory::At::Place", &["directory_lock::place", "atomic::rename_to_free"]),
    ("directory::At::Exchange", &["directory_lock::take_over", "atomic::exchange"]),
    ("directory::At::Verify", &["directory_lock::take_over", "lock_memory::identity_at"]),
    ("directory::At::SwapBack", &["directory_lock::take_over"]),
    ("directory::At::Discard", &["directory_lock::take_over", "directory_lock::place"]),
    ("directory::At::Settle", &["directory_lock::settle"]),
    ("directory::At::Read", &["store_lock::update"]),
    ("directory::At::Write", &["store_lock::update", "directory_lock::is_ours"]),
    ("directory::At::Release", &["directory_lock::release"]),
    ("directory::At::Forget", &["directory_lock::release"]),
    ("directory::At::Done", &["store_lock::drop"]),
    ("directory::At::Killed", &["lock_memory::read"]),
];

/// Functions that are no step of a model, and why.
pub const NO_STEPS: [(&str, &[&str]); 8] = [
    (
        "values: they touch nothing that others see",
        &[
            "refresh/mod::attempts",
            "refresh/mod::identity",
            "refresh/mod::key",
            "refresh/mod::now",
            "refresh/mod::about",
            "refresh/mod::forces",
            "refresh/mod::hexadecimal",
            "refresh/send::cannot_save",
            "refresh/send::unavailable",
            "refresh/send::says_how_to_read",
            "refresh/left_behind::is_judged",
            "refresh/left_behind::is_open",
            "refresh/kept::read_all",
            "refresh/settle::read",
            "refresh/settle::wait",
            "refresh/lineage::is_same_account",
            "refresh/lineage::is_of_same_account",
            "lock_memory::of",
            "lock_memory::new",
            "directory_lock::modified",
        ],
    ),
    (
        "an answer that nobody can read: in the model every answer is read",
        &[
            "store_lock::keep_answer",
            "store_lock::kept_answer",
            "store_lock::remove_kept_answer",
            "refresh/kept::open",
            "refresh/kept::kept_answer",
            "refresh/kept::merge_kept_answer",
            "refresh/kept::remove_kept_answer",
        ],
    ),
    (
        "login, logout and removal, which the model leaves out",
        &[
            "refresh/logout::logout",
            "refresh/left_behind::finish_begun",
            "refresh/copies::holders",
            "refresh/copies::may_be_read_later",
            "refresh/copies::give_to_successors",
            "refresh/lineage::clear_record",
        ],
    ),
    (
        "a profile that became another account's while its token was out; there is one account each",
        &["refresh/copies::find_home"],
    ),
    (
        "clearing up after a process that died: only what taking the lock of the store does anyway",
        &["refresh/left_behind::clear_up"],
    ),
    ("an issuer that gives a used-up token out again", &["refresh/lineage::revive"]),
    (
        "time: that a lock is touched, for how long it is left free, how old it is",
        &[
            "directory_lock::witness",
            "directory_lock::age",
            "directory_lock::keep_alive",
            "directory_lock::touch_every",
            "directory_lock::touch",
            "directory_lock::leave_a_turn_to_others",
            "lock_memory::turn",
        ],
    ),
    (
        "file systems without an exchange of names, and OpenClaw's lock file",
        &[
            "directory_lock::not_placed",
            "directory_lock::place_without_rename",
            "directory_lock::not_exchanged",
            "directory_lock::take_over_aside",
            "directory_lock::file_lock_of_openclaw",
            "directory_lock::open_directory",
        ],
    ),
];
