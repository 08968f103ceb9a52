//! Opens connections: one attempt within a deadline, or attempts until one succeeds.
//!
//! The client library has no deadline for its handshake, and gives no way to end a connection whose other
//! side is frozen: its thread and socket would stay. So every connection's socket is known here as well,
//! and [`Socket::shut`] ends it whatever state the library is in. Its own recovery is off: it hides losses.

use super::errors::{Said, refused, said, text, unreachable};
use crate::error::{Fault, Service};
use crate::tls;
use crate::world::World;
use lapin::tcp::AsyncTcpStream;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties};
use longshore_model::settings::BrokerSettings;
use std::fmt;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// First wait between two attempts; it doubles up to [`SLOWEST`]. Both are shortened at random by up to a half.
const FASTEST: Duration = Duration::from_millis(400);
/// Longest wait between two attempts: a broker that is back must be in use again within seconds.
const SLOWEST: Duration = Duration::from_millis(1_500);

/// The waits between attempts.
#[derive(Debug)]
pub(super) struct Backoff(Duration);

impl Backoff {
    pub(super) const fn new() -> Self {
        Self(FASTEST)
    }

    /// Waits, and makes the next wait longer.
    pub(super) async fn wait(&mut self, world: &World) {
        world.clock.sleep(world.random.jitter(self.0)).await;
        self.0 = (self.0 * 2).min(SLOWEST);
    }
}

/// A handle on a connection's socket beside the client library's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    stream: Option<TcpStream>,
    shut: bool,
}

impl Socket {
    /// Ends the connection in both directions, now or as soon as it is made. The library sees the end and gives up.
    pub(super) fn shut(&self) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.shut = true;
        if let Some(stream) = known.stream.take() {
            // An error means that it has ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn learn(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.shut {
            return Err(std::io::Error::other("given up meanwhile"));
        }
        known.stream = Some(stream);
        Ok(())
    }
}

struct ShutOnDrop(Option<Socket>);

impl ShutOnDrop {
    fn keep(mut self) -> Socket {
        self.0.take().unwrap_or_default()
    }
}

impl Drop for ShutOnDrop {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            socket.shut();
        }
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Dialed {
    pub(super) connection: Connection,
    pub(super) socket: Socket,
}

/// Knows where the broker is and how to introduce this process to it.
pub(super) struct Dialer {
    uri: AMQPUri,
    /// The address without user and password.
    shown: String,
    name: String,
    timeout: Duration,
    encryption: Encryption,
    world: World,
}

impl fmt::Debug for Dialer {
    /// Without the address as the library has it: that one shows the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("broker", &self.shown).field("name", &self.name).finish_non_exhaustive()
    }
}

impl Dialer {
    /// Reads the address.
    ///
    /// # Errors
    /// [`Fault::Refused`] for an address that cannot be used.
    pub(super) fn new(settings: &BrokerSettings, world: World, role: &str) -> Result<Self, Fault> {
        let shown = settings.url.shown();
        // The parser's own words are left out: they may quote a part of the address that is secret.
        let mut uri: AMQPUri = settings.url.reveal().parse().map_err(|_| {
            refused(format!("`{shown}` is not a broker address: expected amqp://user:password@host:5672/vhost"))
        })?;
        let encryption = Encryption::new(&uri, settings, &shown)?;
        let seconds = settings.heartbeat.as_secs().clamp(1, u64::from(u16::MAX));
        uri.query.heartbeat = Some(u16::try_from(seconds).unwrap_or(u16::MAX));
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let name = format!("longshore {role} {host} {}", std::process::id());
        Ok(Self { uri, shown, name, timeout: settings.connect_timeout, encryption, world })
    }

    /// One attempt, with its deadline.
    ///
    /// # Errors
    /// [`Fault::Refused`] when the broker refuses the user or the virtual host, else [`Fault::Unreachable`].
    pub(super) async fn dial(&self) -> Result<Dialed, Fault> {
        let socket = Socket::default();
        let properties = ConnectionProperties::default().with_connection_name(self.name.as_str().into());
        let (learned, clock, patience) = (socket.clone(), self.world.clock.clone(), self.timeout);
        let encryption = self.encryption.clone();
        let runtime = lapin::runtime::default_runtime().map_err(|error| unreachable(text(&error)))?;
        let connect = Connection::connector(
            self.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let open = async {
                    let host = uri.authority.host.as_str();
                    // An IPv6 address is in brackets in a URL and without them everywhere else.
                    let bare = host.trim_start_matches('[').trim_end_matches(']');
                    let addresses: Vec<SocketAddr> =
                        tokio::net::lookup_host((bare, uri.authority.port)).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                    if let AsyncTcpStream::Plain(plain) = &stream {
                        learned.learn(plain.get_ref().as_fd().try_clone_to_owned()?.into())?;
                    }
                    encryption.apply(stream, bare).await
                };
                let late = || Err(std::io::Error::from(std::io::ErrorKind::TimedOut));
                clock.timeout(patience, open).await.unwrap_or_else(late).map_err(lapin::Error::from)
            },
            properties,
        );
        // Also when this future is dropped: the library would go on in a thread of its own.
        let guard = ShutOnDrop(Some(socket));
        match self.world.clock.timeout(self.timeout, connect).await {
            Some(Ok(connection)) => Ok(Dialed { connection, socket: guard.keep() }),
            Some(Err(error)) => Err(self.fault(&error)),
            None => Err(self.silent()),
        }
    }

    /// Attempts until one succeeds or is refused, for at most the time of one connection.
    ///
    /// # Errors
    /// The last attempt's.
    pub(super) async fn dial_patiently(&self) -> Result<Dialed, Fault> {
        let (mut backoff, mut last) = (Backoff::new(), None);
        let attempts = async {
            loop {
                match self.dial().await {
                    Err(fault) if fault.is_passing() => last = Some(fault),
                    done => return done,
                }
                backoff.wait(&self.world).await;
            }
        };
        match self.world.clock.timeout(self.timeout, attempts).await {
            Some(done) => done,
            None => Err(last.unwrap_or_else(|| self.silent())),
        }
    }

    fn silent(&self) -> Fault {
        unreachable(format!("{} did not answer within {:?}", self.shown, self.timeout))
    }

    fn fault(&self, error: &lapin::Error) -> Fault {
        let (shown, why) = (&self.shown, text(error));
        match said(error) {
            Said::Forbidden => refused(format!("{shown}: {why}; check user and password")),
            Said::NotAllowed => refused(format!("{shown}: {why}; check the virtual host and the user's rights in it")),
            _ => match tls::remedy(&why, Service::Broker) {
                Some(remedy) => refused(format!("{shown}: {why}; {remedy}")),
                None => unreachable(format!("{shown}: {why}")),
            },
        }
    }
}

/// What a connection needs to be encrypted, made once: connections then share what was read and learned.
#[cfg(feature = "tls")]
#[derive(Debug, Clone)]
struct Encryption(Option<lapin::tcp::RustlsConnector>);

#[cfg(feature = "tls")]
impl Encryption {
    fn new(uri: &AMQPUri, settings: &BrokerSettings, shown: &str) -> Result<Self, Fault> {
        use lapin::tcp::RustlsConnectorConfig;
        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};
        if uri.scheme != AMQPScheme::AMQPS {
            return Ok(Self(None));
        }
        tls::choose_provider();
        let files = tls::read(&settings.tls, Service::Broker)?;
        let certificates = |setting: &str, pem: &[u8]| {
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            read.map_err(|error| refused(format!("{shown}: {setting}: {error}")))
        };
        let config = match files.ca {
            Some(ca) => RustlsConnectorConfig::default().with_parsable_certificates(certificates("broker.ca", &ca)?),
            None => RustlsConnectorConfig::new_with_webpki_root_certs(),
        };
        let connector = match files.identity {
            Some((cert, key)) => {
                let cert = certificates("broker.cert", &cert)?;
                let key = PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|error| refused(format!("{shown}: broker.key: {error}")))?;
                config.connector_with_single_cert(cert, key)
            }
            None => config.connector_with_no_client_auth(),
        };
        connector.map(|connector| Self(Some(connector))).map_err(|error| refused(format!("{shown}: {error}")))
    }

    /// Encrypts a new connection to a server of this name.
    async fn apply<S>(&self, stream: AsyncTcpStream<S>, name: &str) -> std::io::Result<AsyncTcpStream<S>>
    where
        S: futures_util::io::AsyncRead + futures_util::io::AsyncWrite + Send + Unpin + 'static,
    {
        match &self.0 {
            Some(connector) => stream.into_rustls(connector, name).await,
            None => Ok(stream),
        }
    }
}

/// Without the feature nothing is encrypted, and what asks for it is refused.
#[cfg(not(feature = "tls"))]
#[derive(Debug, Clone)]
struct Encryption;

#[cfg(not(feature = "tls"))]
impl Encryption {
    fn new(uri: &AMQPUri, _settings: &BrokerSettings, shown: &str) -> Result<Self, Fault> {
        if uri.scheme == AMQPScheme::AMQPS {
            // Without this check the library would speak plain text, the password included.
            return Err(refused(format!("{shown}: this program was built without the feature `tls`")));
        }
        Ok(Self)
    }

    async fn apply<S>(&self, stream: AsyncTcpStream<S>, _name: &str) -> std::io::Result<AsyncTcpStream<S>>
    where
        S: futures_util::io::AsyncRead + futures_util::io::AsyncWrite + Send + Unpin + 'static,
    {
        Ok(stream)
    }
}
