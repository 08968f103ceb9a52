//! The home of an instance: a directory with its id and a lock.
//!
//! Whoever holds the lock is the only live process of the instance on this machine, which proves that
//! every earlier incarnation is dead. A second process under the same name gets an id of its own and
//! says so; a copied home is refused its id the same way, because the id remembers where it was made.

use longshore_model::id::InstanceId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An instance's identity, held for as long as this value lives.
#[derive(Debug)]
pub struct Home {
    /// The identity.
    pub id: InstanceId,
    /// Whether this process is proven to be the only one of the instance: leases of earlier incarnations may be ended.
    pub sole: bool,
    /// Why the id is not the one of the home, for people.
    pub notice: Option<String>,
    /// Locked; unlocked by its end, also by the death of the process.
    _lock: Option<File>,
}

/// What the id file holds.
#[derive(Serialize, Deserialize)]
struct Kept {
    id: String,
    /// Machine and place at which the id was made.
    made_at: Place,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Place {
    host: String,
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Home {
    /// Opens or makes a home. `fresh` is the id that a new one gets.
    ///
    /// # Errors
    /// When the directory cannot be made or its files cannot be read and written; the error names the path.
    pub fn open(dir: &Path, fresh: &InstanceId, host: &str) -> io::Result<Self> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", dir.display()));
        Self::open_unnamed(dir, fresh, host).map_err(named)
    }

    fn open_unnamed(dir: &Path, fresh: &InstanceId, host: &str) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            let notice = format!(
                "another process runs with the home {}; this one is {fresh} instead; give it a name of its own to keep its id",
                dir.display()
            );
            return Ok(Self { id: fresh.clone(), sole: false, notice: Some(notice), _lock: None });
        }
        let meta = fs::metadata(dir)?;
        let here = Place { host: host.to_owned(), path: fs::canonicalize(dir)?, device: meta.dev(), inode: meta.ino() };
        let file = dir.join("id");
        let mut notice = None;
        if let Some(kept) = read(&file)? {
            if kept.made_at == here {
                return Ok(Self { id: InstanceId(kept.id), sole: true, notice: None, _lock: Some(lock) });
            }
            notice = Some(format!(
                "the home {} is a copy of {} on {}; it gets the id {fresh} instead of {}",
                dir.display(),
                kept.made_at.path.display(),
                kept.made_at.host,
                kept.id
            ));
        }
        let text = serde_json::to_string_pretty(&Kept { id: fresh.0.clone(), made_at: here })?;
        // Whole or not at all: a torn id would be an id nobody can read.
        let mut draft = tempfile::NamedTempFile::new_in(dir)?;
        draft.write_all(text.as_bytes())?;
        draft.as_file().sync_all()?;
        draft.persist(&file).map_err(|error| error.error)?;
        Ok(Self { id: fresh.clone(), sole: true, notice, _lock: Some(lock) })
    }
}

fn read(file: &Path) -> io::Result<Option<Kept>> {
    let mut text = String::new();
    match File::open(file) {
        Ok(open) => open.take(64 * 1024).read_to_string(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    serde_json::from_str(&text).map(Some).map_err(|error| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{} cannot be read ({error}); remove it to get a new id", file.display()),
        )
    })
}

/// The machine's name.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> InstanceId {
        InstanceId(text.into())
    }

    #[test]
    fn v_01_an_instance_keeps_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(&dir.path().join("h"), &id("a"), "host").unwrap();
        assert!(first.sole);
        drop(first);
        let again = Home::open(&dir.path().join("h"), &id("b"), "host").unwrap();
        assert_eq!((again.id.clone(), again.sole), (id("a"), true));
    }

    #[test]
    fn v_12_a_second_process_gets_an_id_of_its_own_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let first = Home::open(dir.path(), &id("a"), "host").unwrap();
        let second = Home::open(dir.path(), &id("b"), "host").unwrap();
        assert_eq!((second.id.clone(), second.sole), (id("b"), false));
        assert!(second.notice.as_ref().unwrap().contains("another process"));
        drop(first);
    }

    #[test]
    fn v_12_a_copied_home_is_refused_its_id() {
        let dir = tempfile::tempdir().unwrap();
        drop(Home::open(&dir.path().join("one"), &id("a"), "host").unwrap());
        fs::create_dir(dir.path().join("two")).unwrap();
        fs::copy(dir.path().join("one/id"), dir.path().join("two/id")).unwrap();
        let copy = Home::open(&dir.path().join("two"), &id("b"), "host").unwrap();
        assert_eq!(copy.id, id("b"));
        assert!(copy.notice.as_ref().unwrap().contains("copy"));
        drop(copy);
        let again = Home::open(&dir.path().join("two"), &id("c"), "host").unwrap();
        assert_eq!(again.id, id("b"), "the new id is kept");
    }
}
