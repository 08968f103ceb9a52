//! A private Redis server, set up as Longshore asks for: append-only file synced every second, nothing evicted.
//!
//! Data survives [`stop`](Redis::stop), [`kill`](Redis::kill) and [`restart`](Redis::restart), and goes with the value.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use rustix::process::Signal;
use tempfile::TempDir;

use super::disk::SmallDisk;
use super::ports::Port;
use super::process::Group;
use super::program;
use super::protection::{Issued, Protection};
use crate::wait::eventually_ok;

const START: Duration = Duration::from_secs(120);
const STOP: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(1);
const REPLY: Duration = Duration::from_secs(10);

const DIRECTORIES: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"];

/// What is unusual about a server.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// A file system of its own of so many MiB for its data.
    pub disk: Option<u32>,
    /// The append-only file is synced at every write, not every second.
    pub always: bool,
    /// Its environment.
    pub environment: Vec<(String, String)>,
}

/// A Redis server that belongs to one test; dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct Redis {
    // Fields are dropped in this order: the process before the file system and the directory it writes to.
    group: Option<Group>,
    disk: Option<SmallDisk>,
    directory: TempDir,
    port: Port,
    options: Options,
    password: Option<String>,
    encrypted: Option<Port>,
    /// Further options of its command line.
    arguments: Vec<String>,
}

impl Redis {
    /// Starts a server with empty data and waits until it answers.
    ///
    /// # Panics
    /// When the program is missing, or the server does not come up.
    pub async fn start() -> Self {
        Self::start_with(Options::default()).await
    }

    /// As [`start`](Self::start), otherwise than usual.
    ///
    /// # Panics
    /// As [`start`](Self::start), and when a file system cannot be mounted.
    pub async fn start_with(options: Options) -> Self {
        Box::pin(Self::begin(options, Protection::default())).await
    }

    /// As [`start`](Self::start), asking for what a test wants.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn protected(protection: Protection<'_>) -> Self {
        Box::pin(Self::begin(Options::default(), protection)).await
    }

    async fn begin(options: Options, protection: Protection<'_>) -> Self {
        let directory = tempfile::Builder::new().prefix("ls-redis-").tempdir().expect("make a directory for Redis");
        let disk = options.disk.map(|mebibytes| SmallDisk::mount(directory.path(), mebibytes));
        let encrypted = protection.certificate.map(|_| Port::reserve());
        let password = protection.password.map(str::to_owned);
        let mut arguments = Vec::new();
        if let Some(password) = &password {
            arguments.extend(["--requirepass".to_owned(), password.clone()]);
        }
        if let (Some(port), Some(Issued { ca, cert, key })) = (&encrypted, protection.certificate) {
            arguments.extend(["--tls-port".to_owned(), port.number().to_string()]);
            for (name, file) in [("--tls-ca-cert-file", ca), ("--tls-cert-file", cert), ("--tls-key-file", key)] {
                arguments.extend([name.to_owned(), file.display().to_string()]);
            }
        }
        let port = Port::reserve();
        let mut server = Self { group: None, disk, directory, port, options, password, encrypted, arguments };
        server.resume().await;
        server
    }

    /// Its file system, if it has one of its own.
    #[must_use]
    pub const fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// How the server ended by itself, told once; `None` while it runs.
    pub fn fell(&mut self) -> Option<ExitStatus> {
        let status = self.group.as_mut()?.exited()?;
        self.group = None;
        Some(status)
    }

    /// Keeps a copy of the data of a server that does not run, for [`bring_back`](Self::bring_back).
    ///
    /// # Panics
    /// When it runs, or the copy cannot be made.
    pub fn set_aside(&self, copy: &Path) {
        assert!(self.group.is_none(), "Redis runs: stop it before its data is copied");
        let copied = Command::new("cp").arg("-r").arg(self.data()).arg(copy).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy the append-only files");
    }

    /// Replaces the data of a stopped server by a copy, or by those of another server that does not run.
    ///
    /// # Panics
    /// When it runs, or there is no such copy.
    pub fn bring_back(&mut self, copy: &Path) {
        self.wipe();
        fs::rename(copy, self.data()).expect("bring a copy of the data back");
    }

    /// Where the append-only files are.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("appendonlydir")
    }

    /// Where clients connect: `redis://127.0.0.1:PORT/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}{}/", self.credentials(), self.port.address())
    }

    /// Where clients connect encrypted, by this name of the machine.
    ///
    /// # Panics
    /// When it was started without a certificate.
    #[must_use]
    pub fn encrypted_url(&self, host: &str) -> String {
        let port = self.encrypted.as_ref().expect("Redis has a certificate").number();
        format!("rediss://{}{host}:{port}/", self.credentials())
    }

    fn credentials(&self) -> String {
        self.password.as_ref().map(|password| format!(":{password}@")).unwrap_or_default()
    }

    /// A new connection, with a reply timeout of 10 s.
    ///
    /// # Panics
    /// When the server does not answer, asked for two minutes.
    pub async fn connection(&self) -> MultiplexedConnection {
        eventually_ok(START, "Redis takes a connection", async || self.try_connection().await).await
    }

    /// As [`connection`](Self::connection), tried once.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn try_connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        connect(&self.url()).await
    }

    /// Starts the stopped or killed server again, on the same data and port, and waits until it has loaded the data.
    ///
    /// # Panics
    /// When it runs already, or does not come up.
    pub async fn resume(&mut self) {
        self.launch("yes").await;
    }

    async fn launch(&mut self, append_only: &str) {
        assert!(self.group.is_none(), "Redis runs already");
        let mut command = Command::new(program::find("redis-server", &DIRECTORIES, "redis-server"));
        command.env_clear().current_dir(self.directory.path()).args(["--port", &self.port.number().to_string()]);
        for option in [
            ["--bind", "127.0.0.1"],
            ["--appendonly", append_only],
            ["--appendfsync", if self.options.always { "always" } else { "everysec" }],
            // Rewriting the file takes a core for seconds; a server that lives as long as a test never needs it.
            ["--auto-aof-rewrite-percentage", "0"],
            ["--save", ""],
            ["--maxmemory-policy", "noeviction"],
        ] {
            command.args(option);
        }
        command.envs(self.options.environment.iter().cloned());
        command.args(&self.arguments);
        let log = self.directory.path().join("output");
        let mut group = Group::start(command, &log, self.directory.path());

        let url = self.url();
        eventually_ok(START, "Redis answers", async || {
            if let Some(status) = group.exited() {
                panic!("Redis ended during its start ({status}):\n{}", fs::read_to_string(&log).unwrap_or_default());
            }
            // While it loads its data it takes connections and refuses commands.
            redis::cmd("PING").query_async::<()>(&mut connect(&url).await?).await
        })
        .await;
        self.group = Some(group);
    }

    /// Stops the server in good order (SIGTERM, which syncs the file) and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not end within two minutes.
    pub async fn stop(&mut self) {
        let group = self.group.take().expect("Redis runs");
        group.stop("Redis ends when asked", STOP).await;
    }

    /// Kills the server (SIGKILL); it is gone when this returns. Writes that it had not yet handed to the operating
    /// system are lost: usually none, as it hands them over before it replies unless a sync is slow.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        drop(self.group.take().expect("Redis runs"));
    }

    /// Stops and starts it, on the same data and port.
    ///
    /// # Panics
    /// As [`stop`](Self::stop) and [`resume`](Self::resume).
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// Writes a backup of the running server, as an operator would: `redis-cli --rdb FILE`.
    ///
    /// # Panics
    /// When that fails.
    pub fn back_up(&self, file: &Path) {
        let mut command = Command::new(program::find("redis-cli", &DIRECTORIES, "redis-tools"));
        command.env_clear().args(["-p", &self.port.number().to_string(), "--rdb"]).arg(file);
        let output = command.output().expect("run redis-cli");
        assert!(output.status.success() && file.exists(), "{output:?}");
    }

    /// Starts the stopped and wiped server with a backup, as an operator would: without its append-only file, which it
    /// then writes anew.
    ///
    /// # Panics
    /// When the server runs, or does not come up.
    pub async fn restore(&mut self, file: &Path) {
        fs::copy(file, self.directory.path().join("dump.rdb")).expect("put the backup in place");
        self.launch("no").await;
        let mut connection = self.connection().await;
        let switch = redis::cmd("CONFIG").arg(&["SET", "appendonly", "yes"]).clone();
        switch.query_async::<()>(&mut connection).await.expect("switch the append-only file on");
        eventually_ok(START, "Redis has written its append-only file", async || {
            let info: String =
                redis::cmd("INFO").arg("persistence").query_async(&mut connection).await.map_err(|e| e.to_string())?;
            if info.contains("aof_rewrite_in_progress:0") && info.contains("aof_enabled:1") {
                Ok(())
            } else {
                Err(info)
            }
        })
        .await;
    }

    /// Removes all data of a stopped server: the next start is that of an empty store with a new run id.
    ///
    /// # Panics
    /// When the server runs.
    pub fn wipe(&mut self) {
        assert!(self.group.is_none(), "Redis runs: stop it before its data is removed");
        fs::remove_dir_all(self.data()).expect("remove the append-only files");
    }

    /// Suspends the server: connections stay open and nothing answers, until [`thaw`](Self::thaw).
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        self.running().signal(Signal::STOP);
    }

    /// Lets a frozen server go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        self.running().signal(Signal::CONT);
    }

    /// Where its data and its output are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Process id of the server.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    fn running(&self) -> &Group {
        self.group.as_ref().expect("Redis runs")
    }
}

async fn connect(url: &str) -> redis::RedisResult<MultiplexedConnection> {
    // Written out because the default reply timeout of 500 ms is too short for a machine busy with other tests.
    let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(REPLY));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}
