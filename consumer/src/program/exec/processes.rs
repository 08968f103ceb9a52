//! Finding processes through `/proc`: the children of one process, and those that belong to one job. Signals the
//! latter; keeps nothing. Where there is no `/proc` nothing is found, and process groups are all that holds.

use std::{collections::BTreeSet, fs, path::Path};

use rustix::process::{Pid, Signal, kill_process};

/// Environment variable that names the guard of a job's process; with the job's id it marks the job's processes.
pub(super) const GUARD_VARIABLE: &str = "LONGSHORE_GUARD";

/// Passes over all processes before [`Belonging::kill_all`] gives up. One that was told to die can start no other, so
/// the second pass finds what the first one missed and the third one nothing, unless processes multiply faster.
const PASSES: usize = 100;

/// The living or unreaped children of a process.
pub(super) fn children_of(parent: Pid) -> Vec<Pid> {
    every_process().filter(|process| process.parent == parent.as_raw_pid()).map(|process| process.pid).collect()
}

/// Whether a process has a handler for a signal. Where there is no `/proc` nobody can tell: then it has none.
pub(super) fn catches(process: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid())).unwrap_or_default();
    caught(&status).is_some_and(|caught| caught & (1 << (signal.as_raw() - 1)) != 0)
}

/// The signals that are caught, a bit for each, of `/proc/PID/status`.
fn caught(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// How to recognise the processes of a job whose guard is gone.
#[derive(Debug)]
pub(super) struct Belonging {
    /// Environment entries (`name=value`) that all must be there.
    pub(super) marks: Vec<Vec<u8>>,
    /// The job's process group; catches those that cleared their environment.
    pub(super) group: Option<i32>,
}

impl Belonging {
    /// Kills every process that belongs to the job, until none is found that was not killed already. Says how many.
    pub(super) fn kill_all(&self) -> usize {
        let mut killed = BTreeSet::new();
        for _ in 0..PASSES {
            let before = killed.len();
            for process in every_process() {
                if self.includes(&process) && killed.insert(process.pid.as_raw_pid()) {
                    // It may have ended since; then there is nothing to do.
                    let _ = kill_process(process.pid, Signal::KILL);
                }
            }
            if killed.len() == before {
                break;
            }
        }
        killed.len()
    }

    fn includes(&self, process: &Process) -> bool {
        if process.is_dead() {
            return false;
        }
        if self.group == Some(process.group) {
            return true;
        }
        // Unreadable means of another user: not a process of ours, and not ours to kill.
        let Ok(environment) = fs::read(format!("/proc/{}/environ", process.pid.as_raw_pid())) else { return false };
        !self.marks.is_empty()
            && self.marks.iter().all(|mark| environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_slice()))
    }
}

/// What is needed of one line of `/proc/PID/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Process {
    pid: Pid,
    state: char,
    parent: i32,
    group: i32,
}

impl Process {
    fn is_dead(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    /// The second field is the program's name in parentheses and may itself hold parentheses and blanks, so that
    /// fields are counted from its last closing one.
    fn parse(stat: &str) -> Option<Self> {
        let (pid, rest) = stat.split_once(' ')?;
        let (_name, rest) = rest.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        Some(Self {
            pid: Pid::from_raw(pid.parse().ok()?)?,
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
        })
    }
}

fn every_process() -> impl Iterator<Item = Process> {
    fs::read_dir(Path::new("/proc"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
        .filter_map(|entry| Process::parse(&String::from_utf8_lossy(&fs::read(entry.path().join("stat")).ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_program_name_does_not_shift_the_fields() {
        let process = Process::parse("42 (a) R 1 (b c) S 7 40 40 0 -1 4194560").unwrap();
        assert_eq!(process, Process { pid: Pid::from_raw(42).unwrap(), state: 'S', parent: 7, group: 40 });
        assert_eq!(Process::parse(""), None);
        assert_eq!(Process::parse("1 (x"), None);
    }

    #[test]
    fn caught_signals_are_bits_of_the_status() {
        assert_eq!(caught("Name:\tx\nSigCgt:\t0000000000000200\nSigQ:\t0\n"), Some(1 << 9));
        assert_eq!(caught("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_is_among_its_parents_children() {
        let parent = rustix::process::getppid().unwrap();
        assert!(children_of(parent).contains(&rustix::process::getpid()));
    }

    #[test]
    fn nothing_belongs_to_an_unmarked_job() {
        let nobody = Belonging { marks: Vec::new(), group: None };
        assert!(every_process().all(|process| !nobody.includes(&process)));
    }
}
