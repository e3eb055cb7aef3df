//! Test disks: small ones that can be filled, and ones whose power can be cut.
//!
//! All of it happens in a process with its own mount namespace, so that nothing stays mounted and
//! no loop device stays attached, however that process ends.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The kind of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Memory (tmpfs).
    Memory,
    /// An ext4 file system in a file, behind a loop device.
    Image,
}

/// A separate file system, unmounted on drop.
#[derive(Debug)]
pub(crate) struct Disk {
    place: TempDir,
    is_mounted: bool,
}

/// The directory in which disks are made, with a freshly formatted image to copy.
#[derive(Debug)]
pub(crate) struct Workshop {
    directory: PathBuf,
}

impl Workshop {
    /// Opens a workshop in an empty directory, on which a file system is mounted first. The image
    /// is made by [`format`](Self::format).
    pub(crate) fn open(directory: &Path) -> Result<Self, String> {
        mount(&["-t", "tmpfs", "-o", "size=512m,mode=700", "none"], directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The directory of the workshop.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn template(&self) -> PathBuf {
        self.directory.join("template")
    }

    /// Makes the image, and tries it.
    pub(crate) fn format(&self) -> Result<(), String> {
        let template = self.template();
        let image = fs::OpenOptions::new().write(true).create_new(true).open(&template);
        image.and_then(|image| image.set_len(IMAGE)).map_err(|error| error.to_string())?;
        let fixed = ["-q", "-F", "-m", "0", "-b", "4096", "-N", "256"];
        let at_once = ["-E", "lazy_itable_init=0,lazy_journal_init=0"];
        let mut mkfs = tool("mkfs.ext4");
        succeed(mkfs.args(fixed).args(at_once).arg(&template))?;
        self.disk(Kind::Image).map(drop)
    }

    /// A new, empty disk.
    pub(crate) fn disk(&self, kind: Kind) -> Result<Disk, String> {
        let place = tempfile::tempdir_in(&self.directory).map_err(|error| error.to_string())?;
        let mut disk = Disk { place, is_mounted: false };
        fs::create_dir(disk.root()).map_err(|error| error.to_string())?;
        match kind {
            Kind::Memory => {
                mount(
                    &["-t", "tmpfs", "-o", "size=2m,nr_inodes=256,mode=700", "none"],
                    &disk.root(),
                )?;
                disk.is_mounted = true;
            }
            Kind::Image => {
                fs::copy(self.template(), disk.image()).map_err(|error| error.to_string())?;
                disk.attach()?;
            }
        }
        Ok(disk)
    }
}

impl Disk {
    /// The directory of its files.
    pub(crate) fn root(&self) -> PathBuf {
        self.place.path().join("disk")
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("image")
    }

    fn filler(&self) -> PathBuf {
        self.root().join("filler")
    }

    /// Mounts the image so that the kernel writes nothing by itself, and only synced data gets
    /// there.
    fn attach(&mut self) -> Result<(), String> {
        let image = self.image().to_string_lossy().into_owned();
        mount(&["-t", "ext4", "-o", "loop,noauto_da_alloc,commit=300", &image], &self.root())?;
        self.is_mounted = true;
        Ok(())
    }

    fn detach(&mut self) -> Result<(), String> {
        if !std::mem::take(&mut self.is_mounted) {
            return Ok(());
        }
        let root = self.root();
        // Another process may still have it open for a moment: a lazy unmount takes effect when
        // that ends.
        succeed(tool("umount").arg(&root)).or_else(|_| succeed(tool("umount").arg("-l").arg(&root)))
    }

    /// Waits until everything is on the disk.
    pub(crate) fn sync(&self) -> Result<(), String> {
        succeed(tool("sync").arg("-f").arg(self.root()))
    }

    /// Leaves this many free blocks of 4 KiB.
    pub(crate) fn leave_blocks(&self, blocks: u64) -> io::Result<()> {
        let mut filler = self.create_filler()?;
        let chunk = [0x55; 4096];
        let mut length = 0;
        loop {
            match filler.write_all(&chunk) {
                // The file system notices late that it is full.
                Ok(()) if length % (64 * BLOCK) == 0 => match filler.sync_all() {
                    Ok(()) => length += BLOCK,
                    Err(error) if is_full(&error) => break,
                    Err(error) => return Err(error),
                },
                Ok(()) => length += BLOCK,
                Err(error) if is_full(&error) => break,
                Err(error) => return Err(error),
            }
        }
        filler.set_len(length.saturating_sub(blocks * BLOCK))?;
        filler.sync_all()
    }

    /// Leaves this many free inodes.
    pub(crate) fn leave_inodes(&self, inodes: u64) -> io::Result<()> {
        let directory = self.filler();
        fs::create_dir(&directory)?;
        let path = |number: u64| directory.join(number.to_string());
        let mut made = 0;
        loop {
            match fs::OpenOptions::new().write(true).create_new(true).open(path(made)) {
                Ok(_) => made += 1,
                Err(error) if is_full(&error) => break,
                Err(error) => return Err(error),
            }
        }
        for number in made.saturating_sub(inodes)..made {
            fs::remove_file(path(number))?;
        }
        File::open(&directory)?.sync_all()
    }

    fn create_filler(&self) -> io::Result<File> {
        fs::OpenOptions::new().write(true).create_new(true).open(self.filler())
    }

    /// Frees the space again.
    pub(crate) fn make_room(&self) -> io::Result<()> {
        let filler = self.filler();
        match fs::symlink_metadata(&filler) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(filler),
            Ok(_) => fs::remove_file(filler),
            // The limit was not one of the disk.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Cuts the power: the content of the image at this moment is mounted in the same place, and
    /// anything that only the kernel had is lost. No process may be running.
    pub(crate) fn cut_power(&mut self) -> Result<(), String> {
        let snapshot = self.place.path().join("snapshot");
        fs::copy(self.image(), &snapshot).map_err(|error| error.to_string())?;
        self.detach()?;
        // The old file exists until no process has it open; this is a new one.
        fs::remove_file(self.image())
            .and_then(|()| fs::rename(&snapshot, self.image()))
            .map_err(|error| error.to_string())?;
        self.attach()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Err(error) = self.detach() {
            eprintln!("torture: {}: {error}", self.root().display());
        }
    }
}

fn mount(what: &[&str], place: &Path) -> Result<(), String> {
    succeed(tool("mount").args(what).arg(place))
}

/// A system program, which may not be on an ordinary user's `PATH`.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    command
}

/// Runs a command to its end. Returns its output if it fails.
pub(crate) fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let talk = String::from_utf8_lossy(&output.stderr);
            Err(format!("{name}: {}", talk.trim().replace('\n', " ")))
        }
        Err(error) => Err(format!("{name}: {error}")),
    }
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

/// The block size of both file systems.
const BLOCK: u64 = 4096;
/// Half of it is the journal, which cannot be smaller.
const IMAGE: u64 = 8 << 20;
