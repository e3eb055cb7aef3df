//! Possible protocol errors, each of which the model must find.

use std::fmt;

/// One way to get the protocol wrong. The real code makes none of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mistake {
    /// The store is read before the directory lock is taken, and not again.
    NoRereadAfterDirectory,
    /// The directory at the lock's path is removed at the end, regardless of its maker.
    ReleaseWithoutOwnerCheck,
    /// A stale directory is removed, and then a new one is made, as proper-lockfile does.
    TakeoverByRmdir,
    /// A directory is identified by its inode number, without its birth time.
    IdentityByInodeNumber,
    /// A crashed process's directory is adopted without checking whether it crashed during a
    /// take-over.
    AdoptInTheMiddleOfATakeover,
    /// Other agents get the new token while the own store is still locked.
    PropagationUnderStoreLock,
    /// Each agent has its own records and locks.
    RecordsPerAgent,
    /// The intent is recorded without the lock of its token.
    RecordWithoutItsLock,
    /// All responses of an agent share one file.
    OneAnswerFilePerAgent,
    /// The backup is made from the store's content after the commit.
    BackupFromReread,
    /// Any token that replaced another is recorded as its successor.
    ChainThatCloses,
    /// An adopted token is returned, whether or not its access token is still valid.
    StopAtExpiredAdoption,
    /// A record is removed although another record or a backup names its token.
    RemovalOfANamedRecord,
    /// A record is removed as soon as nothing on the disk names its token.
    RemovalOfAnUnnamedRecord,
    /// A token is sent while responses of others are unfinished beside its store.
    AnswersLeftBehind,
    /// A token that is already in the store is not written to the backup again.
    NoBackupOfWhatIsThere,
    /// A Clawdbot's successor of our token, or our successor of a Clawdbot's, is not recognized.
    ClawdbotsTokensUnknown,
    /// A copy is replaced with a token that was used up before the copy's store was locked.
    UsedUpTokenWritten,
    /// What came is merged into the store as it was when the request was sent.
    MergeWithoutReread,
    /// The store stays locked while the issuer is asked.
    StoreLockedDuringRequest,
    /// A directory that is kept for a request keeps others of ours from writing.
    DirectoryNotShared,
    /// Who wrote under a directory that another of ours keeps for its request removes it.
    SharedDirectoryRemoved,
    /// What makes sure that the answer can be saved is cleared away by the next of ours.
    ReserveCleared,
    /// Without the directory, a token is sent although the store has another one by now.
    NoLookBeforeSending,
    /// An endpoint that wants to be left alone is asked for another token.
    EndpointIgnored,
    /// The note of an endpoint is locked before the token is.
    EndpointBeforeToken,
    /// A login is replaced without the lock of its token, which may be on its way.
    ReplacedWithoutItsLock,
    /// Who waits for a login is looked for before its store is locked, and not again.
    HandedOverTooEarly,
}

impl Mistake {
    /// The mistakes of the refresh protocol.
    pub const OF_REFRESH: [Self; 24] = [
        Self::NoRereadAfterDirectory,
        Self::PropagationUnderStoreLock,
        Self::RecordsPerAgent,
        Self::RecordWithoutItsLock,
        Self::OneAnswerFilePerAgent,
        Self::BackupFromReread,
        Self::ChainThatCloses,
        Self::StopAtExpiredAdoption,
        Self::RemovalOfANamedRecord,
        Self::RemovalOfAnUnnamedRecord,
        Self::AnswersLeftBehind,
        Self::NoBackupOfWhatIsThere,
        Self::ClawdbotsTokensUnknown,
        Self::UsedUpTokenWritten,
        Self::MergeWithoutReread,
        Self::StoreLockedDuringRequest,
        Self::DirectoryNotShared,
        Self::SharedDirectoryRemoved,
        Self::ReserveCleared,
        Self::NoLookBeforeSending,
        Self::EndpointIgnored,
        Self::EndpointBeforeToken,
        Self::ReplacedWithoutItsLock,
        Self::HandedOverTooEarly,
    ];
    /// The mistakes of the directory lock.
    pub const OF_DIRECTORY: [Self; 6] = [
        Self::NoRereadAfterDirectory,
        Self::ReleaseWithoutOwnerCheck,
        Self::TakeoverByRmdir,
        Self::IdentityByInodeNumber,
        Self::AdoptInTheMiddleOfATakeover,
        Self::SharedDirectoryRemoved,
    ];
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::NoRereadAfterDirectory => "no second look after D",
            Self::ReleaseWithoutOwnerCheck => "release without owner check",
            Self::TakeoverByRmdir => "take-over by rmdir",
            Self::IdentityByInodeNumber => "identity by inode number alone",
            Self::AdoptInTheMiddleOfATakeover => "a dead one's take-over is not finished",
            Self::PropagationUnderStoreLock => "propagation while holding S",
            Self::RecordsPerAgent => "records per agent",
            Self::RecordWithoutItsLock => "a record written without its lock",
            Self::OneAnswerFilePerAgent => "one answer file per agent",
            Self::BackupFromReread => "backup from a re-read",
            Self::ChainThatCloses => "a chain that closes on itself",
            Self::StopAtExpiredAdoption => "stopping at an adopted token that has expired",
            Self::RemovalOfANamedRecord => "removing a record that is still named",
            Self::RemovalOfAnUnnamedRecord => "removing a record that nothing on the disk names",
            Self::AnswersLeftBehind => "sending before older answers are finished",
            Self::NoBackupOfWhatIsThere => "no backup of what is in the store already",
            Self::ClawdbotsTokensUnknown => "not knowing what a Clawdbot made of a token",
            Self::UsedUpTokenWritten => "writing a token that was used up meanwhile",
            Self::MergeWithoutReread => "merging without reading again after the request",
            Self::StoreLockedDuringRequest => "the store locked during the request",
            Self::DirectoryNotShared => "a kept directory that keeps ours waiting, too",
            Self::SharedDirectoryRemoved => "removing a directory that another of ours keeps",
            Self::ReserveCleared => "clearing away the space that another's answer needs",
            Self::NoLookBeforeSending => "no look at the store right before sending",
            Self::EndpointIgnored => "asking an endpoint that wants to be left alone",
            Self::EndpointBeforeToken => "locking the endpoint's note before the token",
            Self::ReplacedWithoutItsLock => "replacing a login without the lock of its token",
            Self::HandedOverTooEarly => "looking for who waits for a login too early",
        };
        formatter.pad(text)
    }
}
