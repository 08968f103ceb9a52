//! A file system of its own for one server, as large as a test wants it: what happens when a disk is full.
//!
//! It lies in memory and needs the right to mount; [`SmallDisk::is_possible`] says whether that is there.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Name of the file that fills it.
const BALLAST: &str = "ballast";

/// A mounted file system; dropping it unmounts it.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Whether file systems can be mounted here.
    #[must_use]
    pub fn is_possible() -> bool {
        let Ok(directory) = tempfile::tempdir() else { return false };
        Self::try_mount(directory.path(), 1).is_some()
    }

    /// Mounts one on a directory, which becomes empty.
    ///
    /// # Panics
    /// When that is not allowed.
    #[must_use]
    pub fn mount(directory: &Path, mebibytes: u32) -> Self {
        Self::try_mount(directory, mebibytes).expect("mount a file system (run as root)")
    }

    fn try_mount(directory: &Path, mebibytes: u32) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"]).arg(directory);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(directory.to_owned()))
    }

    /// Fills what is left of it.
    ///
    /// # Panics
    /// When there is no end to it.
    pub fn fill(&self) {
        let mut ballast = File::create(self.0.join(BALLAST)).expect("make the ballast");
        let piece = vec![0_u8; 64 << 10];
        let mut written = 0_u64;
        // The last pieces are small, so that really nothing fits any more.
        for size in [piece.len(), 512, 1] {
            while ballast.write_all(&piece[..size]).is_ok() {
                written += size as u64;
                assert!(written < 4 << 30, "a small disk takes more than it should");
            }
        }
    }

    /// Makes room again.
    pub fn free(&self) {
        let _ = fs::remove_file(self.0.join(BALLAST));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server that is being killed may still have files open.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
