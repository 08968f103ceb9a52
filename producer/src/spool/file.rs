//! The spool's directory: `jobs`, one line each, only ever appended to; `done`, how many of its bytes are drained; `aside`,
//! lines that nobody can take, for people; `lock`.
//!
//! Every way to die leaves a state that [`SpoolFile::open`] understands: an append that did not end is a line without an
//! end, which is cut; a drain that did not end is repeated, with the same ids. When all is drained, `jobs` is emptied
//! first and `done` reset after; a `done` beyond the end means that this was cut short.

use super::{SpoolError, SpoolStatus};
use bytes::Bytes;
use longshore_model::limits;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes that are read at once while looking for line ends.
const PIECE: usize = 64 * 1024;

/// Lines of jobs, in the order of their sends.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Each with its end.
    pub(super) lines: Vec<Bytes>,
    /// How far the drain is when all of them are done with.
    pub(super) bytes: u64,
}

/// The directory, owned.
#[derive(Debug)]
pub(super) struct SpoolFile {
    // What never changes.
    dir: PathBuf,
    jobs: File,
    max: u64,
    /// Locked; unlocked by its end, also by the death of the process.
    _lock: File,

    // What is in `jobs`.
    len: u64,
    /// What is on the disk for sure.
    synced: u64,
    done: u64,
    /// Lines that are not done.
    waiting: u64,
    /// Lines that are not synced.
    unsynced: u64,
    /// Why nothing more is written: the file could not be brought into a known state.
    broken: Option<String>,
}

impl SpoolFile {
    pub(super) fn open(dir: &Path, max: u64) -> Result<Self, SpoolError> {
        let disk = |error: io::Error| SpoolError::Disk { dir: dir.to_owned(), detail: error.to_string() };
        // Payloads are nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(disk)?;
        let lock = open_file(&dir.join("lock")).map_err(disk)?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(SpoolError::Taken(dir.to_owned()));
        }
        Self::read_state(dir, max, lock).map_err(disk)
    }

    fn read_state(dir: &Path, max: u64, lock: File) -> io::Result<Self> {
        let mut jobs = open_file(&dir.join("jobs"))?;
        let done = read_done(dir)?;
        let found = jobs.metadata()?.len();
        let done = if done > found { 0 } else { done };
        let (len, waiting) = complete_lines(&mut jobs, done)?;
        if len < found {
            tracing::warn!(dir = %dir.display(), bytes = found - len, "the spool's last line was never finished; cut");
            jobs.set_len(len)?;
        }
        jobs.sync_all()?;
        let dir = dir.to_owned();
        let mut file = Self { dir, jobs, max, _lock: lock, len, synced: len, done, waiting, unsynced: 0, broken: None };
        file.write_done()?;
        if file.len > 0 && file.done == file.len {
            file.empty()?;
        }
        Ok(file)
    }

    pub(super) const fn status(&self) -> SpoolStatus {
        SpoolStatus { jobs: self.waiting, bytes: self.len, max_bytes: self.max }
    }

    /// Writes lines, all or none; they are kept when [`Self::sync`] has answered.
    pub(super) fn append(&mut self, lines: &[Bytes]) -> Result<(), SpoolError> {
        if let Some(why) = &self.broken {
            return Err(self.disk(why));
        }
        let bytes = lines.iter().map(|line| line.len() as u64).sum::<u64>();
        if self.len.saturating_add(bytes) > self.max {
            return Err(SpoolError::Full { dir: self.dir.clone(), bytes: self.len, max: self.max });
        }
        let all = lines.concat();
        let written = self.jobs.seek(SeekFrom::Start(self.len)).and_then(|_| self.jobs.write_all(&all));
        if let Err(error) = written {
            self.cut(self.len);
            return Err(self.disk(&error.to_string()));
        }
        self.len += bytes;
        self.unsynced += lines.len() as u64;
        Ok(())
    }

    /// Waits until everything written is on the disk. Otherwise nothing of it is kept.
    pub(super) fn sync(&mut self) -> Result<(), SpoolError> {
        let synced = self.jobs.sync_data();
        let added = std::mem::take(&mut self.unsynced);
        match synced {
            Ok(()) => {
                self.synced = self.len;
                self.waiting += added;
                Ok(())
            }
            Err(error) => {
                self.cut(self.synced);
                Err(self.disk(&error.to_string()))
            }
        }
    }

    /// Takes back what was written beyond `len`: a half line in the middle would spoil the next one.
    fn cut(&mut self, len: u64) {
        match self.jobs.set_len(len).and_then(|()| self.jobs.sync_all()) {
            Ok(()) => self.len = len,
            Err(error) => self.broken = Some(format!("a failed write could not be taken back: {error}")),
        }
    }

    /// The next lines that are not done.
    pub(super) fn read(&mut self) -> Result<Batch, SpoolError> {
        self.read_lines().map_err(|error| self.disk(&error.to_string()))
    }

    fn read_lines(&mut self) -> io::Result<Batch> {
        let mut batch = Batch { lines: Vec::new(), bytes: self.done };
        let left = self.synced - self.done;
        self.jobs.seek(SeekFrom::Start(self.done))?;
        let mut source = io::BufReader::new((&self.jobs).take(left));
        let mut size = 0;
        while batch.lines.len() < limits::BATCH && size < limits::BATCH_BYTES {
            let mut line = Vec::new();
            if io::BufRead::read_until(&mut source, b'\n', &mut line)? == 0 {
                break;
            }
            size += line.len();
            batch.bytes += line.len() as u64;
            batch.lines.push(line.into());
        }
        Ok(batch)
    }

    /// The lines of a batch are done with; those that nobody took are set aside first.
    pub(super) fn advance(&mut self, batch: &Batch, aside: &[(Bytes, String)]) -> Result<(), SpoolError> {
        self.advance_past(batch, aside).map_err(|error| self.disk(&error.to_string()))
    }

    fn advance_past(&mut self, batch: &Batch, aside: &[(Bytes, String)]) -> io::Result<()> {
        self.set_aside(aside)?;
        self.done = batch.bytes.min(self.synced);
        self.waiting = self.waiting.saturating_sub(batch.lines.len() as u64);
        if self.done == self.len { self.empty() } else { self.write_done() }
    }

    /// What nobody can take is kept for people, as long as there is room.
    fn set_aside(&self, lines: &[(Bytes, String)]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.dir.join("aside");
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let bytes: usize = lines.iter().map(|(line, why)| line.len() + why.len() + 4).sum();
        if file.metadata()?.len().saturating_add(bytes as u64) > self.max {
            return Err(io::Error::other(format!("{} is full; look at it, and move it away", path.display())));
        }
        for (line, why) in lines {
            writeln!(file, "# {}", why.escape_debug())?;
            file.write_all(line)?;
            if !line.ends_with(b"\n") {
                file.write_all(b"\n")?;
            }
        }
        file.sync_all()
    }

    /// Everything is drained: the room is free again.
    fn empty(&mut self) -> io::Result<()> {
        self.jobs.set_len(0)?;
        self.jobs.sync_all()?;
        (self.len, self.synced, self.done, self.waiting) = (0, 0, 0, 0);
        self.write_done().inspect_err(|error| {
            // An old value of it would hide what is written next.
            self.broken = Some(format!("`done` could not be written: {error}"));
        })
    }

    fn write_done(&mut self) -> io::Result<()> {
        let (path, new) = (self.dir.join("done"), self.dir.join("done.new"));
        let text = self.done.to_string();
        let mut file = File::create(&new)?;
        writeln!(file, "{:08x} {text}", crc32fast::hash(text.as_bytes()))?;
        file.sync_all()?;
        fs::rename(new, path)?;
        File::open(&self.dir)?.sync_all()
    }

    fn disk(&self, detail: &str) -> SpoolError {
        SpoolError::Disk { dir: self.dir.clone(), detail: detail.to_owned() }
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

/// How many bytes are drained. What cannot be read means none: draining twice does no harm.
fn read_done(dir: &Path) -> io::Result<u64> {
    let text = match fs::read_to_string(dir.join("done")) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => return Ok(0),
        Err(error) => return Err(error),
    };
    let value = text
        .trim_end()
        .split_once(' ')
        .filter(|(crc, value)| u32::from_str_radix(crc, 16).is_ok_and(|crc| crc == crc32fast::hash(value.as_bytes())));
    Ok(value.and_then(|(_, value)| value.parse().ok()).unwrap_or(0))
}

/// Where the last complete line ends, and how many lines there are from `from` on.
fn complete_lines(file: &mut File, from: u64) -> io::Result<(u64, u64)> {
    file.seek(SeekFrom::Start(from))?;
    let (mut at, mut end, mut lines) = (from, from, 0);
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((end, lines));
        }
        for (index, _) in piece[..read].iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            lines += 1;
            end = at + index as u64 + 1;
        }
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{self, tests::job};
    use super::*;

    const ROOM: u64 = 1024 * 1024;

    fn line(n: u64) -> Bytes {
        record::encode(&job(n), 1_000).unwrap()
    }

    fn open(dir: &Path) -> SpoolFile {
        SpoolFile::open(dir, ROOM).unwrap()
    }

    /// What a drain would get, oldest first.
    fn left(file: &mut SpoolFile) -> Vec<Bytes> {
        file.read().unwrap().lines
    }

    fn keep(file: &mut SpoolFile, lines: &[Bytes]) {
        file.append(lines).unwrap();
        file.sync().unwrap();
    }

    #[test]
    fn a_crash_at_any_byte_of_an_append_loses_nothing_that_was_kept() {
        let kept = [line(1), line(2)];
        let next = line(3);
        let all = [kept.concat(), next.to_vec()].concat();
        // Every byte of the append that the crash interrupts, and some of what lay there before.
        let before = kept.concat().len();
        for len in (0..before).step_by(31).chain(before..=all.len()) {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("jobs"), &all[..len]).unwrap();
            let mut file = open(dir.path());
            let whole: Vec<Bytes> = all[..len]
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|line| line.ends_with(b"\n"))
                .map(Bytes::copy_from_slice)
                .collect();
            if len >= before {
                assert!(whole.starts_with(&kept), "{len}");
            }
            assert_eq!(left(&mut file), whole, "{len}");
            assert_eq!(file.status().jobs, whole.len() as u64);
            // What is written next is not spoiled by what was torn.
            keep(&mut file, &[line(4)]);
            drop(file);
            let found = left(&mut open(dir.path()));
            assert_eq!(found, [whole, vec![line(4)]].concat(), "{len}");
            assert!(found.iter().all(|line| record::decode(line).is_ok()), "{len}");
        }
    }

    #[test]
    fn a_crash_at_any_byte_of_the_drains_mark_hides_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(dir.path());
        let lines = [line(1), line(2), line(3)];
        keep(&mut file, &lines);
        let first = Batch { lines: vec![lines[0].clone()], bytes: lines[0].len() as u64 };
        file.advance(&first, &[]).unwrap();
        assert_eq!((left(&mut file), file.status().jobs), (lines[1..].to_vec(), 2));
        drop(file);
        assert_eq!(left(&mut open(dir.path())), lines[1..], "the mark is kept");
        let mark = fs::read(dir.path().join("done")).unwrap();
        for len in 0..mark.len() {
            fs::write(dir.path().join("done"), &mark[..len]).unwrap();
            let found = left(&mut open(dir.path()));
            // The newline at its end may be missing: then it is whole.
            let expected = if len == mark.len() - 1 { &lines[1..] } else { &lines[..] };
            assert_eq!(found, expected, "{len} bytes of the mark");
        }
        for at in 0..mark.len() {
            let mut bad = mark.clone();
            bad[at] ^= 0x01;
            fs::write(dir.path().join("done"), bad).unwrap();
            assert!(left(&mut open(dir.path())).ends_with(&lines[1..]), "byte {at} of the mark");
        }
    }

    #[test]
    fn a_crash_between_emptying_and_marking_hides_nothing_that_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(dir.path());
        keep(&mut file, &[line(1), line(2)]);
        let first = Batch { lines: vec![line(1)], bytes: line(1).len() as u64 };
        file.advance(&first, &[]).unwrap();
        drop(file);
        // All was drained, the file was emptied, and then came the crash.
        fs::write(dir.path().join("jobs"), b"").unwrap();
        let mut file = open(dir.path());
        assert_eq!(left(&mut file), Vec::<Bytes>::new());
        keep(&mut file, &[line(3)]);
        drop(file);
        assert_eq!(left(&mut open(dir.path())), [line(3)]);
    }

    #[test]
    fn when_all_is_drained_the_room_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (line(1), line(2));
        let room = (one.len() + two.len()) as u64;
        let mut file = SpoolFile::open(dir.path(), room).unwrap();
        // Exactly what fits, and not a byte more.
        keep(&mut file, &[one.clone(), two]);
        let full = file.append(&[one]).unwrap_err();
        assert_eq!(full, SpoolError::Full { dir: dir.path().to_owned(), bytes: room, max: room });
        let batch = file.read().unwrap();
        file.advance(&batch, &[(line(1), "a\nreason".into())]).unwrap();
        assert_eq!(file.status(), SpoolStatus { jobs: 0, bytes: 0, max_bytes: room });
        let aside = fs::read(dir.path().join("aside")).unwrap();
        assert_eq!(aside, [b"# a\\nreason\n".as_slice(), &line(1)].concat());
        drop(file);
        let mut smaller = SpoolFile::open(dir.path(), room - 1).unwrap();
        assert!(matches!(smaller.append(&[line(1), line(2)]), Err(SpoolError::Full { .. })));
        keep(&mut smaller, &[line(1)]);
    }

    #[test]
    fn nobody_else_can_read_what_is_kept() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("spool");
        let mut file = open(&place);
        keep(&mut file, &[line(1)]);
        let batch = file.read().unwrap();
        file.advance(&batch, &[(line(1), "why".into())]).unwrap();
        for (path, mode) in [(place.clone(), 0o700), (place.join("jobs"), 0o600), (place.join("aside"), 0o600)] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
        }
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        assert!(matches!(SpoolFile::open(dir.path(), ROOM), Err(SpoolError::Taken(_))));
        drop(first);
        drop(open(dir.path()));
        let file = dir.path().join("file");
        fs::write(&file, b"").unwrap();
        assert!(matches!(SpoolFile::open(&file, ROOM), Err(SpoolError::Disk { .. })));
    }

    #[test]
    fn a_batch_is_bounded_and_goes_on_where_the_last_one_ended() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = open(dir.path());
        let lines: Vec<Bytes> = (0..limits::BATCH as u64 + 50).map(line).collect();
        keep(&mut file, &lines);
        let batch = file.read().unwrap();
        assert_eq!(batch.lines, lines[..limits::BATCH]);
        file.advance(&batch, &[]).unwrap();
        assert_eq!((left(&mut file), file.status().jobs), (lines[limits::BATCH..].to_vec(), 50));
    }
}
