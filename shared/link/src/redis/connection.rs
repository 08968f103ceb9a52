//! One connection to the server, made anew whenever it breaks, and checked each time it is made.
//!
//! It promises that every call ends within the two deadlines of the settings, that what is safe to
//! repeat is repeated once on a fresh connection when the old one turns out to be dead, and that a
//! server which cannot be used (too old, a cluster) is refused with a remedy. It owns no background
//! task: a broken connection is replaced by the next call.

use super::fault::{self, Condition};
use super::scripts::Script;
use crate::error::{Fault, Service};
use crate::tls;
use longshore_model::settings::StoreSettings;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, ErrorKind, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisResult, Value,
};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

/// So many late answers in a row, and the connection is made anew: a frozen server does not close it.
const LATE_IN_A_ROW: u32 = 3;

/// Where the server is and how long to wait for it.
#[derive(Clone)]
pub(super) struct Address {
    client: Client,
    connect_timeout: Duration,
    call_timeout: Duration,
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("server", &self.client.get_connection_info().addr().to_string()).finish()
    }
}

impl Address {
    /// Reads the settings; contacts nobody.
    pub(super) fn new(settings: &StoreSettings) -> Result<Self, Fault> {
        tls::choose_provider();
        let files = tls::read(&settings.tls, Service::Store)?;
        let client = settings.url.reveal().into_connection_info().and_then(|info| {
            // RESP3 lets the connection for nudges carry pings as well, so that a dead one is noticed.
            let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
            client(info.set_redis_settings(redis), files)
        });
        Ok(Self {
            client: client.map_err(|error| fault::of_connecting(&error))?,
            connect_timeout: settings.connect_timeout,
            call_timeout: settings.call_timeout,
        })
    }

    /// The same server, waited for no longer than this.
    pub(super) fn impatient(&self, most: Duration) -> Self {
        Self {
            client: self.client.clone(),
            connect_timeout: self.connect_timeout.min(most),
            call_timeout: self.call_timeout.min(most),
        }
    }

    /// Makes a connection; what the server pushes goes to `pushes`.
    pub(super) async fn open(
        &self,
        pushes: Option<mpsc::UnboundedSender<PushInfo>>,
    ) -> Result<MultiplexedConnection, Fault> {
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.call_timeout));
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        let made = self.client.get_multiplexed_async_connection_with_config(&config).await;
        let encrypted = matches!(self.client.get_connection_info().addr(), redis::ConnectionAddr::TcpTls { .. });
        made.map_err(|error| fault::of_opening(&error, encrypted))
    }
}

#[cfg(feature = "tls")]
fn client(info: ConnectionInfo, files: tls::Files) -> RedisResult<Client> {
    if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
        return Client::open(info);
    }
    let identity = files.identity.map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
    Client::build_with_tls(info, redis::TlsCertificates { client_tls: identity, root_cert: files.ca })
}

#[cfg(not(feature = "tls"))]
fn client(info: ConnectionInfo, _files: tls::Files) -> RedisResult<Client> {
    Client::open(info)
}

/// A connection that is made anew when it breaks.
#[derive(Debug)]
pub(super) struct Connection {
    address: Address,
    state: Mutex<Slot>,
    restarts: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    live: Option<Live>,
    /// How often a connection was made.
    made: u64,
    /// The run id of the server of the last one; empty where the server hides it.
    run: Arc<str>,
    /// That of the server before it; empty where there was none.
    before: Arc<str>,
    /// When the last attempt to make one failed, and how.
    failed: Option<(Instant, Fault)>,
}

/// A connection as handed out for one call.
#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    number: u64,
    run: Arc<str>,
    before: Arc<str>,
    late: Arc<AtomicU32>,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").field("number", &self.number).field("run", &self.run).finish_non_exhaustive()
    }
}

/// Whether a call may be made again on a fresh connection when its first answer was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Twice is as good as once.
    Safe,
    /// The caller decides.
    Never,
}

/// Whether a script is told the run id of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RunId {
    Told,
    /// And that of the server before, with a space between.
    ToldWithBefore,
    Untold,
}

impl Connection {
    /// A connection that the first call makes.
    pub(super) fn new(address: Address) -> Self {
        Self { address, state: Mutex::default(), restarts: AtomicU64::new(0) }
    }

    /// Makes the connection if there is none, and checks the server.
    pub(super) async fn open(&self) -> Result<(), Fault> {
        self.live().await.map(drop)
    }

    /// How often another run of the server answered than the time before.
    pub(super) fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Runs a script.
    pub(super) async fn run(&self, script: &Script, cmd: &Cmd, repeat: Repeat) -> Result<Value, Fault> {
        self.send(Some(script), cmd, repeat, RunId::Untold).await
    }

    /// Runs a script whose last argument is the run id of the server, which changes when it restarts. It is that of
    /// the very connection that the script is sent on: an outage must not be missed because a repetition went to
    /// the restarted server. Empty where the server hides it.
    pub(super) async fn run_knowing_server(&self, script: &Script, cmd: &Cmd) -> Result<Value, Fault> {
        self.send(Some(script), cmd, Repeat::Safe, RunId::Told).await
    }

    /// As [`Self::run_knowing_server`], with the run id of the server that this connection knew before, or nothing, behind
    /// a space.
    pub(super) async fn run_knowing_servers(&self, script: &Script, cmd: &Cmd) -> Result<Value, Fault> {
        self.send(Some(script), cmd, Repeat::Safe, RunId::ToldWithBefore).await
    }

    /// Runs a command.
    pub(super) async fn command(&self, cmd: &Cmd) -> Result<Value, Fault> {
        self.send(None, cmd, Repeat::Safe, RunId::Untold).await
    }

    async fn send(&self, script: Option<&Script>, cmd: &Cmd, repeat: Repeat, run: RunId) -> Result<Value, Fault> {
        let mut again = repeat == Repeat::Safe;
        loop {
            let mut live = self.live().await?;
            let told = (run != RunId::Untold).then(|| {
                let mut cmd = cmd.clone();
                match run {
                    RunId::ToldWithBefore => cmd.arg(format!("{} {}", live.run, live.before)),
                    RunId::Told | RunId::Untold => cmd.arg(live.run.as_ref()),
                };
                cmd
            });
            let cmd = told.as_ref().unwrap_or(cmd);
            let mut answer = ask(&mut live.connection, cmd).await;
            if let (Err(error), Some(script)) = (&answer, script)
                && error.kind() == ErrorKind::Server(redis::ServerErrorKind::NoScript)
            {
                answer = match ask(&mut live.connection, &script.load()).await {
                    Ok(_) => ask(&mut live.connection, cmd).await,
                    Err(error) => Err(error),
                };
            }
            let error = match answer {
                Ok(value) => {
                    live.late.store(0, Ordering::Relaxed);
                    return Ok(value);
                }
                Err(error) => error,
            };
            let failure = fault::of_call(&error);
            let late =
                failure.connection == Condition::Slow && live.late.fetch_add(1, Ordering::Relaxed) + 1 >= LATE_IN_A_ROW;
            if late || failure.connection == Condition::Broken {
                self.discard(live.number).await;
            }
            if again && failure.connection == Condition::Broken && failure.fault.is_unknown() {
                again = false;
                continue;
            }
            if let (Fault::Refused { service, detail }, Some(script)) = (&failure.fault, script) {
                return Err(Fault::refused(*service, format!("{}: {detail}", script.name())));
            }
            return Err(failure.fault);
        }
    }

    async fn discard(&self, number: u64) {
        let mut slot = self.state.lock().await;
        if slot.live.as_ref().is_some_and(|live| live.number == number) {
            slot.live = None;
        }
    }

    async fn live(&self) -> Result<Live, Fault> {
        let asked = Instant::now();
        let mut slot = self.state.lock().await;
        if let Some(live) = &slot.live {
            return Ok(live.clone());
        }
        // Whoever waited here while another caller failed shares that answer instead of waiting as long again.
        if let Some((when, fault)) = &slot.failed
            && *when > asked
        {
            return Err(fault.clone());
        }
        match self.make(slot.made + 1).await {
            Ok(live) => {
                slot.made += 1;
                if slot.made > 1 && slot.run != live.run {
                    self.restarts.fetch_add(1, Ordering::Relaxed);
                    slot.before = Arc::clone(&slot.run);
                }
                slot.run = Arc::clone(&live.run);
                let live = Live { before: Arc::clone(&slot.before), ..live };
                slot.failed = None;
                slot.live = Some(live.clone());
                Ok(live)
            }
            Err(fault) => {
                slot.failed = Some((Instant::now(), fault.clone()));
                Err(fault)
            }
        }
    }

    async fn make(&self, number: u64) -> Result<Live, Fault> {
        let mut connection = self.address.open(None).await?;
        let info: RedisResult<String> = redis::cmd("INFO").arg("server").query_async(&mut connection).await;
        let info = info.map_err(|error| match fault::of_call(&error).fault {
            // Nothing of the caller's has been sent yet.
            Fault::Unknown { service, detail } => Fault::Unreachable { service, detail },
            fault => fault,
        })?;
        let run = check_server(&info)?.into();
        Ok(Live { connection, number, run, before: Arc::default(), late: Arc::default() })
    }
}

/// Sends a command; an error that the server answers is an error here.
async fn ask(connection: &mut MultiplexedConnection, cmd: &Cmd) -> RedisResult<Value> {
    connection.req_packed_command(cmd).await?.extract_error()
}

/// Reads `INFO server`: refuses what cannot be used, answers the run id.
fn check_server(info: &str) -> Result<&str, Fault> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let version = field("redis_version").unwrap_or("of an unknown version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < 7) {
        return Err(Fault::refused(Service::Store, fault::too_old(version)));
    }
    if field("redis_mode") == Some("cluster") {
        return Err(Fault::refused(Service::Store, fault::CLUSTER));
    }
    Ok(field("run_id").unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_model::settings::TlsSettings;

    #[test]
    fn servers_that_cannot_be_used_are_refused() {
        let good = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:abc\r\n";
        assert_eq!(check_server(good).unwrap(), "abc");
        let old = check_server("redis_version:6.2.7\r\nredis_mode:standalone\r\n").unwrap_err().to_string();
        assert!(old.contains("6.2.7") && old.contains("7.0 or newer"), "{old}");
        let cluster = check_server("redis_version:7.2.0\r\nredis_mode:cluster\r\n").unwrap_err().to_string();
        assert!(cluster.contains("Cluster is not supported"), "{cluster}");
        assert!(check_server("").is_err());
    }

    #[test]
    fn a_bad_address_is_refused_without_its_password() {
        let settings = StoreSettings {
            url: longshore_model::secret::Secret::new("redis://me:hunter2@host:notaport/"),
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(1),
            call_timeout: Duration::from_secs(1),
        };
        let fault = Address::new(&settings).unwrap_err();
        assert!(matches!(fault, Fault::Refused { .. }), "{fault}");
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
    }
}
