//! What remains in memory of a dropped secret, as a debugger would see it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use auth_store::Secret;

/// Long enough that the allocator does not overwrite all of it when the memory is freed.
const LENGTH: usize = 300;
/// The allocator writes this many bytes, some addresses; any of them may look like ours by
/// coincidence.
const OF_THE_ALLOCATOR: usize = 32;

/// The bytes of this process at an address.
fn memory_at(memory: &File, address: usize) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    memory.read_exact_at(&mut bytes, address as u64).unwrap();
    bytes
}

fn cooldowns(bytes: &[u8]) -> usize {
    usize::try_from(bytes.iter().map(|byte| u32::from(*byte == b'#')).sum::<u32>()).unwrap()
}

#[test]
fn the_memory_of_a_dropped_secret_is_wiped() {
    let memory = File::open("/proc/self/mem").unwrap();
    let text = || "#".repeat(LENGTH);

    // The control: an ordinary text stays there.
    let plain = text();
    let address = plain.as_ptr() as usize;
    assert_eq!(cooldowns(&memory_at(&memory, address)), LENGTH);
    drop(plain);
    assert!(cooldowns(&memory_at(&memory, address)) > LENGTH / 2, "this look finds nothing");

    let secret = Secret::new(text());
    let address = secret.expose().as_ptr() as usize;
    assert_eq!(cooldowns(&memory_at(&memory, address)), LENGTH);
    drop(secret);
    assert!(cooldowns(&memory_at(&memory, address)) <= OF_THE_ALLOCATOR);
}
