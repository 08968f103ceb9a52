//! Consumer processes: the real program, several of it, each with its own home, settings, log and health address.
//!
//! What a test does to them is what happens to processes: killed, frozen, told to end, started again on the same home.
//! They end with the test, also when the test's process is killed; the processes of their jobs end with them, which is
//! the program's own promise and tested as such.

use crate::services::ports::Port;
use crate::services::process::Group;
use crate::wait::{eventually, eventually_ok};
use longshore_model::names::Namespace;
use longshore_model::{Secret, settings::Settings};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// From the start of a process to its readiness, on a busy machine.
const READY: Duration = Duration::from_secs(180);
/// More than a drain with the fleet's settings takes.
const END: Duration = Duration::from_secs(180);

/// Consumer processes of one namespace on one pair of services.
#[derive(Debug)]
pub struct Fleet {
    // Dropped in this order: the processes before the directory they write to.
    /// The processes, by name.
    pub members: BTreeMap<String, Member>,
    settings: Settings,
    /// Settings of all members beside addresses, and their handlers: TOML.
    common: String,
    directory: PathBuf,
    /// What a member has in its environment, by its name.
    environment: BTreeMap<String, Vec<(String, String)>>,
    /// Removes the directory, unless it is to stay.
    temporary: Option<TempDir>,
}

impl Fleet {
    /// A fleet without members. `common` is TOML for all of them: settings in dotted form first, then `[[handlers]]`.
    ///
    /// # Panics
    /// When the namespace is illegal, or there is no place for a directory.
    #[must_use]
    pub fn new(namespace: &str, broker_url: &str, store_url: &str, common: &str) -> Self {
        let namespace = Namespace::new(namespace).expect("a namespace for the fleet");
        let mut settings = Settings { namespace, ..Settings::default() };
        settings.broker.url = Secret::new(broker_url);
        settings.store.url = Secret::new(store_url);
        let temporary = tempfile::Builder::new().prefix("ls-fleet-").tempdir().expect("make a directory for a fleet");
        let mut fleet = Self::within(temporary.path(), settings, common);
        fleet.temporary = Some(temporary);
        fleet
    }

    /// As [`Self::new`], in a directory that stays.
    #[must_use]
    pub fn within(directory: &Path, settings: Settings, common: &str) -> Self {
        let (members, common, directory) = (BTreeMap::new(), common.to_owned(), directory.to_owned());
        Self { members, settings, common, directory, environment: BTreeMap::new(), temporary: None }
    }

    /// Gives a member an environment, from its next start on.
    pub fn equip(&mut self, name: &str, environment: Vec<(String, String)>) {
        self.environment.insert(name.to_owned(), environment);
    }

    /// Settings with which a producer reaches the fleet.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Says where payload files are, for producers; members read it in `common`.
    pub fn set_blobs(&mut self, url: &Secret) {
        self.settings.blobs.url = url.clone();
    }

    /// Starts a member, new or ended, and waits until it is ready. One that ended gets its home back.
    ///
    /// # Panics
    /// When it runs already, is missing, or does not become ready.
    pub async fn start(&mut self, name: &str) {
        let settings = self.settings.clone();
        self.launch(name, &settings, Command::new(program())).ready().await;
    }

    /// As [`Self::start`], with another program that takes `--config FILE`, and with the addresses of `settings`;
    /// does not wait.
    ///
    /// # Panics
    /// When it runs already, or is missing.
    pub fn launch(&mut self, name: &str, settings: &Settings, command: Command) -> &mut Member {
        let member = self.members.entry(name.to_owned()).or_insert_with(|| Member::new(&self.directory, name));
        let environment = self.environment.get(name).map(Vec::as_slice).unwrap_or_default();
        member.start(settings, &self.common, environment, command);
        member
    }

    /// Gives a member that never started a home that exists.
    ///
    /// # Panics
    /// When it has one already.
    pub fn adopt_home(&mut self, name: &str, home: &Path) {
        let member = self.members.entry(name.to_owned()).or_insert_with(|| Member::new(&self.directory, name));
        fs::rename(home, member.directory.join("home")).expect("give a consumer a home");
    }

    /// The member of that name.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn member(&self, name: &str) -> &Member {
        self.members.get(name).unwrap_or_else(|| panic!("no consumer {name} in the fleet"))
    }

    /// As [`Self::member`], to end it.
    ///
    /// # Panics
    /// When there is none.
    pub fn member_mut(&mut self, name: &str) -> &mut Member {
        self.members.get_mut(name).unwrap_or_else(|| panic!("no consumer {name} in the fleet"))
    }
}

impl Drop for Fleet {
    /// No process may have told the broker's password. A failed test shows what its processes said, when their
    /// directory goes with it.
    #[allow(clippy::print_stderr, reason = "the output of a failed test")]
    fn drop(&mut self) {
        if !std::thread::panicking() {
            for (name, member) in &self.members {
                let log = member.log();
                let told = log.lines().find(|line| line.contains(crate::services::PASSWORD));
                assert!(told.is_none(), "the log of {name} tells a password: {told:?}");
            }
        }
        if std::thread::panicking() && self.temporary.is_some() {
            for (name, member) in &self.members {
                let log = member.log();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- the end of the log of {name}\n{}", lines[lines.len().saturating_sub(60)..].join("\n"));
            }
        }
    }
}

/// One consumer process, or the place of one that ended.
#[derive(Debug)]
pub struct Member {
    group: Option<Group>,
    name: String,
    directory: PathBuf,
    health: Port,
}

impl Member {
    fn new(fleet: &Path, name: &str) -> Self {
        let directory = fleet.join(name);
        fs::create_dir(&directory).expect("make a directory for a consumer");
        Self { group: None, name: name.to_owned(), directory, health: Port::reserve() }
    }

    fn start(&mut self, settings: &Settings, common: &str, environment: &[(String, String)], mut command: Command) {
        assert!(self.group.is_none(), "the consumer {} runs already", self.name);
        let (broker, store) = (settings.broker.url.reveal(), settings.store.url.reveal());
        let text = format!(
            "namespace = \"{}\"\nbroker.url = \"{broker}\"\nstore.url = \"{store}\"\ninstance.name = \"{}\"\n\
             instance.home = \"{}\"\nhealth.listen = \"{}\"\n{common}",
            settings.namespace,
            self.name,
            self.directory.join("home").display(),
            self.health.address(),
        );
        let file = self.directory.join("longshore.toml");
        fs::write(&file, text).expect("write a consumer's settings");
        command.arg("--config").arg(file).current_dir(&self.directory).env_clear().env("PATH", "/usr/bin:/bin");
        command.envs(environment.iter().cloned());
        self.group = Some(Group::start(command, &self.directory.join("log"), &self.directory));
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Panics
    /// When it ends, or is not ready in time; with its log.
    pub async fn ready(&mut self) {
        let what = format!("the consumer {} is ready", self.name);
        let (directory, address) = (self.directory.clone(), self.health.address());
        let group = self.group.as_mut().expect("the consumer runs");
        eventually_ok(READY, &what, async || {
            if let Some(status) = group.exited() {
                panic!("a consumer ended ({status}):\n{}", log(&directory));
            }
            let answer = get(address, "/readyz").await?;
            if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    /// What its health endpoints answer, with the headers.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> String {
        get(self.health.address(), path).await.unwrap_or_else(|error| panic!("{path} of {}: {error}", self.name))
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    /// Kills it (SIGKILL); it is gone when this returns.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        drop(self.group.take().expect("the consumer runs"));
    }

    /// Suspends it until [`Self::thaw`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        self.running().signal(Signal::STOP);
    }

    /// Lets it go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        self.running().signal(Signal::CONT);
    }

    /// Asks it to end (SIGTERM), waits for its end and answers how it ended.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut group = self.group.take().expect("the consumer runs");
        group.signal(Signal::TERM);
        eventually(END, "a consumer ends when asked", async || group.exited()).await
    }

    /// Whether it runs, as far as is known.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.group.is_some()
    }

    /// How it ended by itself, told once; `None` while it runs, and when it is not there.
    pub fn fell(&mut self) -> Option<ExitStatus> {
        let status = self.group.as_mut()?.exited()?;
        self.group = None;
        Some(status)
    }

    /// Where it keeps its home, its settings and its log.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        log(&self.directory)
    }

    fn running(&self) -> &Group {
        self.group.as_ref().expect("the consumer runs")
    }
}

async fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut answer = String::new();
    let exchange = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    };
    exchange.await.map_err(|error| error.to_string())?;
    Ok(answer)
}

fn log(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// The program, which is built with the whole workspace and lies beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of this program");
    let found = test.ancestors().skip(1).take(2).map(|directory| directory.join("longshore-consumer"));
    found.into_iter().find(|program| program.is_file()).unwrap_or_else(|| {
        panic!("longshore-consumer is missing beside {}: cargo build -p longshore-consumer", test.display())
    })
}

/// A process, told apart from a later one with the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// When it started, in the kernel's ticks.
    started: u64,
}

impl Process {
    /// Whether it runs; one that only waits to be reaped does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        stat(self.pid).is_some_and(|stat| stat.started == self.started && !matches!(stat.state, 'Z' | 'X'))
    }
}

/// All processes below one, whatever sessions and groups they moved to.
#[must_use]
pub fn descendants(pid: u32) -> Vec<Process> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats: Vec<Stat> = numbers.filter_map(|entry| stat(entry.file_name().to_str()?.parse().ok()?)).collect();
    let (mut found, mut parents) = (Vec::new(), vec![pid]);
    while let Some(parent) = parents.pop() {
        for child in stats.iter().filter(|stat| stat.parent == parent) {
            parents.push(child.pid);
            found.push(Process { pid: child.pid, started: child.started });
        }
    }
    found
}

struct Stat {
    pid: u32,
    state: char,
    parent: u32,
    started: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything; behind it the fields are counted from the third.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let (state, parent, started) = (fields.first()?, fields.get(1)?, fields.get(19)?);
    Some(Stat { pid, state: state.chars().next()?, parent: parent.parse().ok()?, started: started.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[tokio::test]
    async fn descendants_are_found_and_seen_to_end() {
        let mut child = Command::new("sh")
            .args(["-c", "setsid sleep 1000 & wait"])
            .stdin(Stdio::null())
            .spawn()
            .expect("start a shell");
        let family = eventually(READY, "the grandchild runs", async || {
            let found = descendants(std::process::id());
            found.iter().any(|process| process.pid == child.id()).then_some(())?;
            let below = descendants(child.id());
            (!below.is_empty()).then_some(below)
        })
        .await;
        assert!(family.iter().all(Process::is_alive));
        for process in &family {
            let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, Signal::KILL).unwrap();
        }
        let status = eventually(READY, "the shell ends", async || child.try_wait().unwrap()).await;
        assert!(!family.iter().any(Process::is_alive), "{status}");
    }
}
