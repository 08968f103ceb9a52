//! A private RabbitMQ node.
//!
//! Own name, ports, data, cookie and port mapper (epmd), no plugins, started from the package's inner scripts: the
//! outer ones on the path insist on a fixed user and a fixed data directory. Data survives [`stop`](RabbitMq::stop),
//! [`kill`](RabbitMq::kill) and [`restart`](RabbitMq::restart), and goes with the value. The user is the
//! default `guest`, its password [`PASSWORD`].

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use lapin::{Connection, ConnectionProperties};
use rustix::process::Signal;
use tempfile::TempDir;

use super::disk::SmallDisk;
use super::ports::Port;
use super::process::Group;
use super::program;
use super::protection::{Issued, PASSWORD, Protection};
use crate::wait::{eventually, eventually_ok};

/// Start takes 4 to 5 s on an idle machine; the rest is for one that is busy with much else.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(120);
const CONNECT: Duration = Duration::from_secs(5);
const COMMAND: Duration = Duration::from_secs(240);

const DIRECTORIES: [&str; 4] =
    ["/usr/lib/rabbitmq/bin", "/opt/rabbitmq/sbin", "/usr/local/lib/rabbitmq/bin", "/opt/homebrew/opt/rabbitmq/sbin"];

const SETTINGS: &str = "\
loopback_users = none
log.console = false
log.file.level = info
disk_free_limit.absolute = 1MB
";

/// A RabbitMQ node that belongs to one test; dropping it kills the node and removes its data.
#[derive(Debug)]
pub struct RabbitMq {
    // Fields are dropped in this order: the processes before the directory they write to.
    group: Option<Group>,
    disk: Option<SmallDisk>,
    directory: TempDir,
    amqp: Port,
    distribution: Port,
    mapper: Port,
    password: String,
    encrypted: Option<Port>,
}

impl RabbitMq {
    /// Starts a node with empty data and waits until it takes AMQP connections.
    ///
    /// # Panics
    /// When the program is missing, or the node does not come up.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`start`](Self::start), asking for what a test wants.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn protected(protection: Protection<'_>) -> Self {
        let encrypted = protection.certificate.map(|_| Port::reserve());
        let password = protection.password.unwrap_or(PASSWORD);
        let mut lines = Vec::new();
        if let (Some(port), Some(Issued { ca, cert, key })) = (&encrypted, protection.certificate) {
            let (ca, cert, key) = (ca.display(), cert.display(), key.display());
            lines.extend([
                format!("listeners.ssl.1 = {}", port.address()),
                format!("ssl_options.cacertfile = {ca}\nssl_options.certfile = {cert}\nssl_options.keyfile = {key}"),
                "ssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true".to_owned(),
            ]);
        }
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        Box::pin(Self::launch(None, &lines, password, encrypted)).await
    }

    /// As [`start`](Self::start), with further lines of `rabbitmq.conf`, such as `consumer_timeout = 5000`.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(settings: &[&str]) -> Self {
        Self::start_on(None, settings).await
    }

    /// As [`start_with`](Self::start_with), with a file system of its own of so many MiB.
    ///
    /// # Panics
    /// As [`start`](Self::start), and when a file system cannot be mounted.
    pub async fn start_on(disk: Option<u32>, settings: &[&str]) -> Self {
        Box::pin(Self::launch(disk, settings, PASSWORD, None)).await
    }

    async fn launch(disk: Option<u32>, settings: &[&str], password: &str, encrypted: Option<Port>) -> Self {
        let directory = tempfile::Builder::new().prefix("ls-mq-").tempdir().expect("make a directory for RabbitMQ");
        let disk = disk.map(|mebibytes| SmallDisk::mount(directory.path(), mebibytes));
        let write =
            |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("write a settings file");
        write("enabled_plugins", "[].\n");
        write("rabbitmq.conf", &format!("{SETTINGS}default_pass = {password}\n{}\n", settings.join("\n")));
        // Written here because several Erlang processes start at once and would each make their own.
        write(".erlang.cookie", "longshoretests");
        fs::set_permissions(directory.path().join(".erlang.cookie"), Permissions::from_mode(0o400))
            .expect("protect the cookie");

        let (amqp, distribution, mapper) = (Port::reserve(), Port::reserve(), Port::reserve());
        let password = password.to_owned();
        let mut node = Self { group: None, disk, directory, amqp, distribution, mapper, password, encrypted };
        node.resume().await;
        node
    }

    /// Where clients connect: `amqp://guest:guest@127.0.0.1:PORT/%2f`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:{}@{}/%2f", self.password, self.amqp.address())
    }

    /// Where clients connect encrypted, by this name of the machine.
    ///
    /// # Panics
    /// When it was started without a certificate.
    #[must_use]
    pub fn encrypted_url(&self, host: &str) -> String {
        let port = self.encrypted.as_ref().expect("RabbitMQ has a certificate").number();
        format!("amqps://guest:{}@{host}:{port}/%2f", self.password)
    }

    /// Starts the stopped or killed node again, on the same data and port, and waits until it takes connections.
    ///
    /// # Panics
    /// When it runs already, or does not come up.
    pub async fn resume(&mut self) {
        assert!(self.group.is_none(), "RabbitMQ runs already");
        // epmd belongs to the group, so that it ends with the node: started by Erlang it would become a daemon.
        let mut command = Command::new("sh");
        command.args(["-c", r#"epmd & exec "$1""#, "rabbitmq"]).arg(Self::program("rabbitmq-server"));
        self.environment(&mut command);
        let mut group = Group::start(command, &self.directory.path().join("output"), self.directory.path());

        let url = self.url();
        eventually_ok(START, "RabbitMQ takes connections", async || {
            if let Some(status) = group.exited() {
                panic!("RabbitMQ ended during its start ({status}):\n{}", self.log());
            }
            connect(&url).await
        })
        .await;
        self.group = Some(group);
    }

    /// Its file system, if it has one of its own.
    #[must_use]
    pub const fn disk(&self) -> Option<&SmallDisk> {
        self.disk.as_ref()
    }

    /// How the node ended by itself, told once; `None` while it runs.
    pub fn fell(&mut self) -> Option<ExitStatus> {
        let status = self.group.as_mut()?.exited()?;
        self.group = None;
        Some(status)
    }

    /// Stops the node in good order (SIGTERM) and waits for its end.
    ///
    /// # Panics
    /// When it does not run, or does not end within two minutes.
    pub async fn stop(&mut self) {
        let group = self.group.take().expect("RabbitMQ runs");
        group.stop("RabbitMQ ends when asked", STOP).await;
    }

    /// Kills the node (SIGKILL); it is gone when this returns.
    ///
    /// RabbitMQ writes down half a second late that a quorum queue is new. Killed before that, the queue is there
    /// after the restart but has lost its messages, confirmed ones too, and requests to it hang for a minute. A test
    /// that is not about this awaits [`queue_on_disk`](Self::queue_on_disk) first.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        drop(self.group.take().expect("RabbitMQ runs"));
    }

    /// Waits until a new quorum queue would survive a kill; see [`kill`](Self::kill).
    ///
    /// # Panics
    /// When that is not so within a minute, for instance because there is no such queue.
    pub async fn queue_on_disk(&self, queue: &str) {
        let node = format!("longshore{}@localhost", self.amqp.number());
        let registry = self.directory.path().join("data").join(&node).join("quorum").join(&node);
        let name = format!("%2F_{queue}");
        eventually(Duration::from_secs(60), "the quorum queue is registered on disk", async || {
            ["names.dets", "meta.dets"]
                .iter()
                .all(|file| {
                    let bytes = fs::read(registry.join(file)).unwrap_or_default();
                    bytes.windows(name.len()).any(|window| window == name.as_bytes())
                })
                .then_some(())
        })
        .await;
    }

    /// Stops and starts it, on the same data and port.
    ///
    /// # Panics
    /// As [`stop`](Self::stop) and [`resume`](Self::resume).
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// Suspends the node: connections stay open and nothing answers, until [`thaw`](Self::thaw).
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&self) {
        self.running().signal(Signal::STOP);
    }

    /// Lets a frozen node go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&self) {
        self.running().signal(Signal::CONT);
    }

    /// Runs `rabbitmqctl` on this node and returns what it printed. A call takes about 0.4 s; numbers of quorum queues
    /// (messages, consumers) are up to 5 s old.
    ///
    /// # Panics
    /// When the command fails or takes longer than four minutes.
    pub async fn ctl(&self, arguments: &[&str]) -> String {
        self.try_ctl(arguments).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`ctl`](Self::ctl).
    ///
    /// # Errors
    /// When the command fails or takes longer than four minutes.
    pub async fn try_ctl(&self, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new(Self::program("rabbitmqctl"));
        command.arg("--quiet").args(arguments);
        self.environment(&mut command);
        let mut command = tokio::process::Command::from(command);
        let output = tokio::time::timeout(COMMAND, command.kill_on_drop(true).output()).await;
        let Ok(output) = output else { return Err(format!("rabbitmqctl {arguments:?}: not done after {COMMAND:?}")) };
        let output = output.map_err(|error| format!("run rabbitmqctl: {error}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let (status, out, err) = (output.status, text(&output.stdout), text(&output.stderr));
        Err(format!("rabbitmqctl {arguments:?} failed ({status}): {out}{err}"))
    }

    /// Closes every client connection from the broker's side.
    ///
    /// # Panics
    /// As [`ctl`](Self::ctl).
    pub async fn close_all_connections(&self) {
        self.ctl(&["close_all_connections", "closed by a test"]).await;
    }

    /// Removes all data of a stopped node: the next start is that of a new one.
    ///
    /// # Panics
    /// When the node runs.
    pub fn wipe(&mut self) {
        assert!(self.group.is_none(), "RabbitMQ runs: stop it before its data is removed");
        fs::remove_dir_all(self.directory.path().join("data")).expect("remove the node's data");
    }

    /// Where its data and its output are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Process id of the node.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running().pid()
    }

    fn running(&self) -> &Group {
        self.group.as_ref().expect("RabbitMQ runs")
    }

    fn program(name: &str) -> PathBuf {
        program::find(name, &DIRECTORIES, "rabbitmq-server")
    }

    /// All that the node and its tools need to know, and nothing of the caller's own settings.
    fn environment(&self, command: &mut Command) {
        let home = self.directory.path();
        command
            .env_clear()
            .current_dir(home)
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", home)
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.mapper.number().to_string())
            .env("RABBITMQ_NODENAME", format!("longshore{}@localhost", self.amqp.number()))
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.amqp.number().to_string())
            .env("RABBITMQ_DIST_PORT", self.distribution.number().to_string())
            // Commands that run at the same time each need a port; the default leaves room for eleven.
            .env("RABBITMQ_CTL_DIST_PORT_MIN", "35672")
            .env("RABBITMQ_CTL_DIST_PORT_MAX", "36672")
            .env("RABBITMQ_MNESIA_BASE", home.join("data"))
            .env("RABBITMQ_LOG_BASE", home.join("log"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", home.join("generated"))
            .env("RABBITMQ_PLUGINS_EXPAND_DIR", home.join("plugins"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", home.join("enabled_plugins"))
            .env("RABBITMQ_CONFIG_FILE", home.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", home.join("none.config"))
            // A file that does not exist, in place of the system's.
            .env("RABBITMQ_CONF_ENV_FILE", home.join("none.conf"))
            // The start script then becomes the node itself, so that the group's leader is what signals are for.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "+S 2:2");
    }

    /// The end of what the node wrote, for the message of a failed start.
    fn log(&self) -> String {
        let output = fs::read_to_string(self.directory.path().join("output")).unwrap_or_default();
        let lines: Vec<_> = output.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

async fn connect(url: &str) -> Result<(), String> {
    let attempt = tokio::time::timeout(CONNECT, async {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        connection.close(200, "ready".into()).await
    });
    match attempt.await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {CONNECT:?}")),
    }
}
