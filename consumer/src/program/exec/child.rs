//! Runs one job as a process and tells how it ended.
//!
//! Promises: the call returns only when no process of the job is left; dropping it ends them too (the guard sees the
//! lifeline close). Memory stays bounded whatever the program writes. The consumer's own settings never reach the
//! program. Does not decide about retries, timeouts or states: a timeout is the caller cancelling.

use std::{
    ffi::{OsStr, OsString},
    io,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::PathBuf,
    process::Stdio,
    time::Duration,
};

use bytes::Bytes;
use longshore_model::{JobId, Topic};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    process::{Child, ChildStderr, ChildStdout, Command},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{
    guard::{GUARD_MODE, own_program},
    processes::{Belonging, GUARD_VARIABLE},
    protocol::{Ending, ExecLine, ExecOutcome, Lines},
    wire,
};
use crate::program::reply::Reply;

/// Environment variables with this beginning are the consumer's own and never inherited: some hold passwords.
const OWN_PREFIX: &[u8] = b"LONGSHORE_";

/// How long a guard has to answer that all is killed before it is taken for dead itself.
const GUARD_PATIENCE: Duration = Duration::from_secs(5);

/// How long output may lag behind the end of the last process that could write it.
const OUTPUT_PATIENCE: Duration = Duration::from_secs(1);

/// How processes are started: the program with the guard mode, and what of the environment they inherit.
#[derive(Clone)]
pub struct Launcher {
    guard: PathBuf,
    environment: Vec<(OsString, OsString)>,
}

impl Launcher {
    /// A launcher whose guard is this running program, which must call [`super::guard::dispatch`]. `environment` is
    /// the consumer's own; everything in it that begins with `LONGSHORE_` is left out.
    ///
    /// # Errors
    /// When the system cannot tell which program this is.
    pub fn new(environment: impl IntoIterator<Item = (OsString, OsString)>) -> io::Result<Self> {
        Ok(Self::with_guard(own_program()?, environment))
    }

    /// As [`Launcher::new`], with the guard mode of another program.
    pub fn with_guard(guard: PathBuf, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let environment = environment.into_iter().filter(|(name, _)| !is_own(name)).collect();
        Self { guard, environment }
    }
}

fn is_own(name: &OsStr) -> bool {
    name.as_bytes().starts_with(OWN_PREFIX)
}

impl std::fmt::Debug for Launcher {
    /// Without the environment: it may hold other programs' passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launcher").field("guard", &self.guard).finish_non_exhaustive()
    }
}

/// What to run, for which job.
#[derive(Clone)]
pub struct ExecSpec {
    /// The program: a path, or a name that is looked up in `PATH`.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Environment from the handler's settings, beside what is inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; the consumer's own when not set.
    pub cwd: Option<PathBuf>,
    /// How long the program has between SIGTERM and SIGKILL.
    pub grace: Duration,
    /// The job's id, given as `LONGSHORE_JOB_ID`.
    pub job: JobId,
    /// Given as `LONGSHORE_TOPIC`.
    pub topic: Topic,
    /// How often the job was started, this time included; given as `LONGSHORE_ATTEMPT`.
    pub attempt: u64,
    /// How long it may run; given as `LONGSHORE_TIMEOUT_MS`.
    pub timeout: Option<Duration>,
    /// When it is told to come to an end; given as `LONGSHORE_SOFT_TIMEOUT_MS`.
    pub soft_timeout: Option<Duration>,
    /// How often it has failed so far; given as `LONGSHORE_RETRY`.
    pub retry: u64,
    /// Where its input files are; given as `LONGSHORE_INPUT_DIR`.
    pub input_dir: PathBuf,
    /// Where its output files go; given as `LONGSHORE_OUTPUT_DIR`.
    pub output_dir: PathBuf,
}

impl std::fmt::Debug for ExecSpec {
    /// Without arguments and environment: either may hold passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecSpec").field("program", &self.program).field("job", &self.job).finish_non_exhaustive()
    }
}

impl ExecSpec {
    fn job_variable(&self) -> (&'static str, String) {
        ("LONGSHORE_JOB_ID", self.job.to_string())
    }

    fn command(&self, launcher: &Launcher) -> Command {
        let mut command = Command::new(&launcher.guard);
        command.arg0("longshore-consumer").args([GUARD_MODE, "--"]).arg(&self.program).args(&self.args);
        command.env_clear().envs(launcher.environment.iter().map(|(name, value)| (name, value)));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        // Last, so that no setting can lie to the program about its job.
        command.envs([
            self.job_variable(),
            ("LONGSHORE_TOPIC", self.topic.to_string()),
            ("LONGSHORE_ATTEMPT", self.attempt.to_string()),
            ("LONGSHORE_RETRY", self.retry.to_string()),
        ]);
        for (name, span) in [("LONGSHORE_TIMEOUT_MS", self.timeout), ("LONGSHORE_SOFT_TIMEOUT_MS", self.soft_timeout)] {
            command.envs(span.map(|span| (name, span.as_millis().to_string())));
        }
        command.env("LONGSHORE_INPUT_DIR", &self.input_dir).env("LONGSHORE_OUTPUT_DIR", &self.output_dir);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        // Control-C at a terminal goes to the whole foreground group; the consumer alone decides what it means.
        command.process_group(0);
        command
    }

    fn unstarted(&self, error: &io::Error) -> Ending {
        Ending::Unstarted(format!(
            "cannot start {}: {error}; check exec, its directory and the process limits of this instance",
            self.program.display()
        ))
    }
}

/// Runs the program with `payload` on its stdin until it has ended and no process of the job is left. Lines of its
/// stderr go to `on_line` as they come. When `hint` is cancelled the program is told that it had better come to an end, by
/// SIGUSR1 and only if it waits for that; how it ends then counts. When `cancel` is cancelled the program is asked to stop, and killed after the
/// grace.
pub async fn run(
    launcher: &Launcher,
    spec: &ExecSpec,
    payload: Bytes,
    hint: &CancellationToken,
    cancel: &CancellationToken,
    mut on_line: impl FnMut(ExecLine),
) -> ExecOutcome {
    let Running { guard, stdout, stderr, commands, reports } = match start(launcher, spec) {
        Ok(running) => running,
        Err(error) => return spec.unstarted(&error).outcome(&Reply::default(), None),
    };
    let (mut reply, mut last_line) = (Reply::default(), None);
    let mut watch = Watch { spec, guard, group: None, stopping: Stopping::No };
    let ending = {
        let output = async {
            let lines = read_lines(stderr, |line| {
                if let ExecLine::Log(text) = &line
                    && !text.trim().is_empty()
                {
                    last_line = Some(text.clone());
                }
                on_line(line);
            });
            tokio::join!(read_reply(stdout, &mut reply), lines);
        };
        let mut output = std::pin::pin!(output);
        let mut read = false;
        let ending = {
            let mut ending = std::pin::pin!(watch.ending(payload, commands, reports, hint, cancel));
            loop {
                tokio::select! {
                    ending = &mut ending => break ending,
                    () = &mut output, if !read => read = true,
                }
            }
        };
        if !read {
            // All writers are gone; only a process that could not be killed can keep this waiting.
            let _ = timeout(OUTPUT_PATIENCE, output).await;
        }
        ending
    };
    match watch.stopping {
        Stopping::No => ending.outcome(&reply, last_line.as_deref()),
        Stopping::Asked => ExecOutcome::Interrupted(format!("asked to stop: {ending}")),
        Stopping::Forced => {
            ExecOutcome::Interrupted(format!("did not stop within {:?} when asked to: {ending}", spec.grace))
        }
    }
}

/// A started guard and this end of everything that leads to it.
struct Running {
    guard: Child,
    stdout: ChildStdout,
    stderr: ChildStderr,
    commands: OwnedWriteHalf,
    reports: OwnedReadHalf,
}

/// The command holds a copy of the guard's end of the lifeline and must not outlive this function: while the consumer
/// holds it, the death of the guard would go unnoticed.
fn start(launcher: &Launcher, spec: &ExecSpec) -> io::Result<Running> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (reports, commands) = UnixStream::from_std(ours)?.into_split();
    let mut guard = spec
        .command(launcher)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (Some(stdout), Some(stderr)) = (guard.stdout.take(), guard.stderr.take()) else {
        return Err(io::Error::other("a process was started without its pipes"));
    };
    Ok(Running { guard, stdout, stderr, commands, reports })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    Asked,
    Forced,
}

/// The consumer's view of a running job.
struct Watch<'s> {
    spec: &'s ExecSpec,
    guard: Child,
    group: Option<i32>,
    stopping: Stopping,
}

impl Watch<'_> {
    /// Sees the job through to the end of its last process.
    async fn ending(
        &mut self,
        payload: Bytes,
        mut commands: OwnedWriteHalf,
        mut reports: OwnedReadHalf,
        hint: &CancellationToken,
        cancel: &CancellationToken,
    ) -> Ending {
        let ending = self.until_ended(payload, &mut commands, &mut reports, hint, cancel).await;
        if ending == Ending::GuardLost {
            self.sweep();
        }
        // Fails only if it was reaped already.
        let _ = self.guard.wait().await;
        ending
    }

    async fn until_ended(
        &mut self,
        payload: Bytes,
        commands: &mut OwnedWriteHalf,
        reports: &mut OwnedReadHalf,
        hint: &CancellationToken,
        cancel: &CancellationToken,
    ) -> Ending {
        let mut ending = std::pin::pin!(read_ending(reports, &mut self.group, self.spec));
        let asked = async {
            // A guard that is gone cannot be written to; that it is gone is learned by reading.
            let sent = cancel.run_until_cancelled(send_payload(commands, &payload)).await;
            drop(payload);
            if sent.is_some() && cancel.run_until_cancelled(hint.cancelled()).await.is_some() {
                let _ = commands.write_all(&wire::Command::Hint.encode()).await;
            }
            cancel.cancelled().await;
            if sent.is_none() {
                // A command would be taken for the rest of the payload. Nothing was started yet.
                let _ = commands.shutdown().await;
            }
        };
        tokio::select! {
            biased;
            ending = &mut ending => return ending,
            () = asked => self.stopping = Stopping::Asked,
        }
        let _ = commands.write_all(&wire::Command::Terminate.encode()).await;
        if let Ok(ending) = timeout(self.spec.grace, &mut ending).await {
            return ending;
        }
        self.stopping = Stopping::Forced;
        let _ = commands.write_all(&wire::Command::Kill.encode()).await;
        timeout(GUARD_PATIENCE, ending).await.unwrap_or(Ending::GuardLost)
    }

    /// In the guard's place: ends it, and what it can no longer end.
    fn sweep(&mut self) {
        let guard = self.guard.id();
        let _ = self.guard.start_kill();
        let (job, id) = self.spec.job_variable();
        let marks = guard.map(|guard| [format!("{job}={id}"), format!("{GUARD_VARIABLE}={guard}")]);
        let marks = marks.into_iter().flatten().map(String::into_bytes).collect();
        let killed = Belonging { marks, group: self.group }.kill_all();
        tracing::warn!(job = %self.spec.job, killed, "the guard of a job's process was lost; its processes were ended");
    }
}

async fn send_payload(commands: &mut OwnedWriteHalf, payload: &[u8]) -> io::Result<()> {
    commands.write_u32(u32::try_from(payload.len()).map_err(io::Error::other)?).await?;
    commands.write_all(payload).await
}

async fn read_ending(reports: &mut OwnedReadHalf, group: &mut Option<i32>, spec: &ExecSpec) -> Ending {
    let mut bytes = [0; wire::Report::BYTES];
    while reports.read_exact(&mut bytes).await.is_ok() {
        match wire::Report::decode(bytes) {
            Some(wire::Report::Started(pid)) => *group = Some(pid),
            Some(wire::Report::Exited(code)) => return Ending::Exited(code),
            Some(wire::Report::Signalled(signal)) => return Ending::Signalled(signal),
            Some(wire::Report::Unstarted(error)) => return spec.unstarted(&io::Error::from_raw_os_error(error)),
            None => break,
        }
    }
    Ending::GuardLost
}

/// Reads to the end even when there is already too much: a program must not hang because nobody reads.
async fn read_reply(stdout: ChildStdout, reply: &mut Reply) {
    each_chunk(stdout, |bytes| reply.push(bytes)).await;
}

async fn read_lines(stderr: ChildStderr, mut on_line: impl FnMut(ExecLine)) {
    let mut lines = Lines::default();
    each_chunk(stderr, |bytes| lines.push(bytes, &mut on_line)).await;
    lines.finish(on_line);
}

async fn each_chunk(mut from: impl AsyncRead + Unpin, mut take: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        take(&buffer[..count]);
    }
}
