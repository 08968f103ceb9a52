//! The guard mode of the program: stands between the consumer and one job's process, and sees to it that no process of
//! the job outlives the job, the guard's consumer, or the guard.
//!
//! Two hidden modes, recognised before the command line is read as such:
//!
//! - `__guard -- PROGRAM ARGS...` is the guard. Its stdin is the socket to the consumer ([`super::wire`]); stdout and
//!   stderr belong to the job. It adopts every orphan below it (child subreaper), so that a process which left the
//!   group, or even the session, is still found. It lets go only when no descendant is left.
//! - `__guarded GUARD PROGRAM ARGS...` asks the kernel for SIGKILL on the guard's death and becomes the program. It
//!   takes a step of its own because the request must be made by the process itself, after it was forked.
//!
//! The guard runs on one thread: the kernel ties the parent-death signal to the thread that started the process.

use std::{
    ffi::OsString,
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    process::{self, ExitCode, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf, pipe},
    },
    signal::unix::{Signal as SignalStream, SignalKind, signal},
};

use super::{
    processes::{GUARD_VARIABLE, catches, children_of},
    wire::{Command, Report},
};

/// First argument of the guard mode.
pub(super) const GUARD_MODE: &str = "__guard";
const GUARDED_MODE: &str = "__guarded";

/// What shells answer for a program that cannot be run.
const EXIT_UNSTARTED: u8 = 127;
/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
/// `EX_OSERR` of sysexits.h.
const EXIT_SYSTEM: u8 = 71;

/// How long to wait for killed children to die before looking again.
const SWEEP_PAUSE: Duration = Duration::from_millis(100);

/// Runs a guard mode if the arguments (without the program's own name) ask for one; the program then ends with the
/// answer. Must be called first thing in `main`, before any thread or runtime is started.
pub fn dispatch(mut args: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    let mode = args.next()?;
    if mode == GUARD_MODE {
        let command: Vec<OsString> = args.skip_while(|arg| arg == "--").collect();
        Some(guard(&command))
    } else if mode == GUARDED_MODE {
        Some(guarded(args))
    } else {
        None
    }
}

/// Becomes the job's program.
fn guarded(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let guard = args.next().and_then(|pid| pid.to_str()?.parse().ok()).and_then(Pid::from_raw);
    let (Some(guard), Some(program)) = (guard, args.next()) else { return ExitCode::from(EXIT_USAGE) };
    if let Err(error) = die_with_parent() {
        complain(&format!("cannot ask for a parent-death signal: {error}"));
        return ExitCode::from(EXIT_SYSTEM);
    }
    // A guard that died before the request was made sends no signal any more.
    if rustix::process::getppid() != Some(guard) {
        return ExitCode::from(EXIT_SYSTEM);
    }
    let error = process::Command::new(&program).args(args).exec();
    complain(&format!("cannot start {}: {error}", program.display()));
    ExitCode::from(EXIT_UNSTARTED)
}

fn guard(command: &[OsString]) -> ExitCode {
    if command.is_empty() {
        complain("the guard mode needs a program");
        return ExitCode::from(EXIT_USAGE);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(stand_guard(command))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("the guard failed: {error}"));
            ExitCode::from(EXIT_SYSTEM)
        }
    }
}

async fn stand_guard(command: &[OsString]) -> io::Result<()> {
    adopt_orphans()?;
    let lifeline = std::os::unix::net::UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    lifeline.set_nonblocking(true)?;
    let (mut commands, mut reports) = UnixStream::from_std(lifeline)?.into_split();
    // Whoever signals all processes of a service at once (systemd does) means the consumer: it drains, and tells the
    // guard when to stop. Without its guard the job would die in the middle of that.
    let ignored = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()];
    let _ignored: Vec<SignalStream> = ignored.into_iter().map(signal).collect::<io::Result<_>>()?;
    let child_ended = signal(SignalKind::child())?;

    let Ok(payload) = read_payload(&mut commands).await else {
        return Ok(()); // The consumer is gone before anything was started.
    };
    match start(command) {
        Ok((pid, stdin)) => {
            let _ = reports.write_all(&Report::Started(pid.as_raw_pid()).encode()).await;
            let watch = Watch { main: Some(pid), group: pid, ended: None, child_ended };
            watch.run(commands, reports, payload, stdin).await;
        }
        Err(error) => {
            let report = Report::Unstarted(error.raw_os_error().unwrap_or_default());
            let _ = reports.write_all(&report.encode()).await;
        }
    }
    Ok(())
}

async fn read_payload(lifeline: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = lifeline.read_u32().await?;
    let mut payload = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    lifeline.read_exact(&mut payload).await?;
    Ok(payload)
}

/// Starts the job's first process in a group of its own, with a pipe for the payload.
fn start(command: &[OsString]) -> io::Result<(Pid, pipe::Sender)> {
    let me = process::id().to_string();
    let child = process::Command::new(own_program()?)
        .arg0("longshore-consumer")
        .args([GUARDED_MODE, &me])
        .args(command)
        .env(GUARD_VARIABLE, &me)
        .stdin(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let pid = Pid::from_child(&child);
    // Reaped by `Watch::reap`, together with adopted processes.
    let stdin = child.stdin.ok_or_else(|| io::Error::other("the job's process has no stdin"))?;
    Ok((pid, pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?))
}

/// The link of the kernel, not the path that it shows: it still works after an upgrade has replaced the file.
pub(super) fn own_program() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

/// The guard's view of the job's processes.
struct Watch {
    /// The job's first process until it is reaped.
    main: Option<Pid>,
    group: Pid,
    /// How the first process ended.
    ended: Option<Report>,
    child_ended: SignalStream,
}

impl Watch {
    /// Feeds the payload, obeys the consumer and reaps, until the first process has ended or the consumer is gone.
    /// Either way every other process of the job is then ended: a job owns its processes, and what it left behind
    /// would hold its stdout open and run on uncounted.
    async fn run(
        mut self,
        mut commands: OwnedReadHalf,
        mut reports: OwnedWriteHalf,
        payload: Vec<u8>,
        stdin: pipe::Sender,
    ) {
        let mut command = [0_u8];
        // A program that does not read its input is no error; the pipe closes when all is written.
        let mut feed = std::pin::pin!(async move {
            let mut stdin = stdin;
            let _ = stdin.write_all(&payload).await;
        });
        let mut fed = false;
        while self.ended.is_none() {
            tokio::select! {
                biased;
                read = commands.read(&mut command) => match read {
                    Ok(1..) => match Command::decode(command[0]) {
                        Command::Hint => self.hint(),
                        Command::Terminate => self.terminate(),
                        Command::Kill => self.sweep().await,
                    },
                    Ok(0) | Err(_) => break,
                },
                _ = self.child_ended.recv() => { self.reap(); }
                () = &mut feed, if !fed => fed = true,
            }
        }
        self.sweep().await;
        if let Some(report) = self.ended {
            // The consumer may be gone; then nobody needs to know.
            let _ = reports.write_all(&report.encode()).await;
        }
    }

    /// Only to a program that waits for this signal: every other one would be ended by it.
    fn hint(&self) {
        if let Some(main) = self.main.filter(|main| catches(*main, Signal::USR1)) {
            let _ = kill_process(main, Signal::USR1);
        }
    }

    /// A stopped process would not see the request, so it is woken as well.
    fn terminate(&self) {
        if self.main.is_some() {
            let _ = kill_process_group(self.group, Signal::TERM);
            let _ = kill_process_group(self.group, Signal::CONT);
        }
    }

    /// Kills until no descendant is left. Only the guard's own children are killed by number: those cannot be
    /// mistaken, as their numbers stay taken until they are reaped here. Killing a child makes its children ours.
    async fn sweep(&mut self) {
        while self.reap() == Left::Some {
            if self.main.is_some() {
                let _ = kill_process_group(self.group, Signal::KILL);
            }
            for child in children_of(rustix::process::getpid()) {
                let _ = kill_process(child, Signal::KILL);
            }
            let _ = tokio::time::timeout(SWEEP_PAUSE, self.child_ended.recv()).await;
        }
    }

    /// Takes the status of every child that has ended, adopted ones included.
    fn reap(&mut self) -> Left {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if self.main == Some(pid) => {
                    self.ended = Report::of(status);
                    self.main = None;
                }
                Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                Ok(None) => return Left::Some,
                Err(_) => return Left::None,
            }
        }
    }
}

/// Whether descendants are left.
#[derive(PartialEq, Eq)]
enum Left {
    Some,
    None,
}

#[cfg(target_os = "linux")]
fn adopt_orphans() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Elsewhere only the process group is ended: good enough to develop on, not to operate.
#[cfg(not(target_os = "linux"))]
fn adopt_orphans() -> io::Result<()> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}

/// A line for the job's log: the guard has no other place to complain to.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "longshore-consumer: {text}");
}
