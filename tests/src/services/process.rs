//! A server process with all its descendants, as one thing that can be signalled and that never outlives its owner.
//!
//! The server leads a process group of its own. A second small process, the guard, waits for the end of a pipe that
//! only the test process holds: when the test process ends without cleaning up (killed, aborted), the guard kills the
//! group and removes its directory. (A parent-death signal would need unsafe code, and is bound to a thread.)

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait::eventually;

const GUARD: &str = r#"read -r _; kill -KILL "-$1"; rm -rf -- "$2""#;

/// A running group. Dropping it kills every member and waits for the leader's end.
#[derive(Debug)]
pub(crate) struct Group {
    leader: Child,
    guard: Child,
    id: Pid,
}

impl Group {
    /// Starts `command` as the leader of a new group; its output goes to `log`. The guard removes `directory` only
    /// when the test process dies without dropping this value.
    pub(crate) fn start(mut command: Command, log: &Path, directory: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("open a server's log");
        let leader = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share a server's log"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let id = Pid::from_child(&leader);
        // A group of its own also for the guard: a runner that kills the test's group must not kill it first.
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", &id.as_raw_nonzero().to_string()])
            .arg(directory)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("start the guard of a server");
        Self { leader, guard, id }
    }

    /// How the leader ended, or `None` while it runs.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.leader.try_wait().expect("ask for a server's exit status")
    }

    /// Process id of the leader.
    pub(crate) fn pid(&self) -> u32 {
        self.leader.id()
    }

    /// Sends `signal` to every member.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process_group(self.id, signal).expect("signal a running server");
    }

    /// Asks the leader to end (SIGTERM) and waits for it; then the rest of the group is killed.
    ///
    /// # Panics
    /// When the leader has not ended after `patience`.
    pub(crate) async fn stop(mut self, what: &str, patience: Duration) {
        kill_process(self.id, Signal::TERM).expect("ask a running server to end");
        eventually(patience, what, async || self.exited()).await;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The guard first: its work is being done here, and its directory must outlive a restart. Failures mean that
        // the process is gone already.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = kill_process_group(self.id, Signal::KILL);
        let _ = self.leader.wait();
    }
}
