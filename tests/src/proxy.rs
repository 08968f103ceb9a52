//! A TCP proxy between a client and a service that does to the connection what a test tells it.
//!
//! It knows nothing of what it carries, so it serves AMQP and Redis alike. Without commands it forwards both ways.
//! Commands act at once, on living connections and on new ones, until [`heal`](Proxy::heal); a cut is a reset, as when
//! a machine disappears behind a firewall that answers for it. It does not reorder or change bytes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use longshore_link::World;
use longshore_link::world::Random;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait::{pause, within};

/// Most bytes that are read, judged and passed on as one piece.
const PIECE: usize = 16 * 1024;

/// Which half of the traffic a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the service: requests, publishes, acknowledgements.
    ToService,
    /// From the service to the client: replies, confirms, deliveries.
    ToClient,
}

/// What happens to bytes of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Flow {
    swallow: bool,
    stall: bool,
    delay: Duration,
    rough: Rough,
    bytes_per_second: Option<u32>,
    /// Bytes that still pass before everything is cut.
    left: Option<usize>,
}

/// A bad line, as the programs at its ends see it: TCP repairs what is lost, which takes time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rough {
    /// Most that a piece is held at random, beside the delay.
    pub spread: Duration,
    /// Pieces in a thousand that are lost at first.
    pub lost_per_mille: u32,
    /// How long a lost piece takes longer.
    pub resend: Duration,
}

#[derive(Debug, Default)]
struct Plan {
    to_service: Flow,
    to_client: Flow,
    /// A request that contains these bytes gets through, its reply does not.
    unanswered: Option<Vec<u8>>,
}

impl Plan {
    fn flow(&mut self, direction: Direction) -> &mut Flow {
        match direction {
            Direction::ToService => &mut self.to_service,
            Direction::ToClient => &mut self.to_client,
        }
    }
}

/// What the test's handle, the listener and the connections share.
#[derive(Debug)]
struct Control {
    plan: Mutex<Plan>,
    /// Changes when bytes that were held may go on.
    healed: watch::Sender<u64>,
    service: Mutex<String>,
    random: Random,
    /// Grows with every cut; a connection ends when it is not what it was at its start.
    cuts: watch::Sender<u64>,
    listen: watch::Sender<Listen>,
    open: watch::Sender<usize>,
    swallowed: watch::Sender<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listen {
    Accepting,
    /// The test wants no new connections; the listener is not closed yet.
    Closing,
    Refusing,
}

impl Control {
    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("no holder of the plan panics")
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

/// A listening proxy; dropping it ends it and all its connections.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    _listener: JoinSet<()>,
}

impl Proxy {
    /// Starts a proxy on a free port of the loopback address in front of `service` (`host:port`).
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(service: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("listen for the proxy");
        let address = listener.local_addr().expect("a bound listener has an address");
        let control = Arc::new(Control {
            plan: Mutex::default(),
            healed: watch::Sender::new(0),
            service: Mutex::new(service.to_owned()),
            random: World::system().random,
            cuts: watch::Sender::new(0),
            listen: watch::Sender::new(Listen::Accepting),
            open: watch::Sender::new(0),
            swallowed: watch::Sender::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, address, Arc::clone(&control)));
        Self { address, control, _listener: tasks }
    }

    /// Starts a proxy in front of the service at `url`, and returns it with the URL that leads through it.
    ///
    /// # Panics
    /// When `url` has no `host:port`, or the proxy cannot listen.
    pub async fn before(url: &str) -> (Self, String) {
        let start = url.find("://").expect("a URL has a scheme") + 3;
        let end = url[start..].find('/').map_or(url.len(), |at| start + at);
        let start = url[start..end].rfind('@').map_or(start, |at| start + at + 1);
        let proxy = Self::start(&url[start..end]).await;
        let through = format!("{}{}{}", &url[..start], proxy.address, &url[end..]);
        (proxy, through)
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that are open now, counted by the client's side.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.control.open.borrow()
    }

    /// Bytes that were swallowed so far, over all connections and both directions.
    #[must_use]
    pub fn swallowed(&self) -> usize {
        *self.control.swallowed.borrow()
    }

    /// How often connections were cut so far: by [`cut`](Self::cut) or by a condition that came true.
    #[must_use]
    pub fn cuts(&self) -> u64 {
        *self.control.cuts.borrow()
    }

    /// Returns when [`cuts`](Self::cuts) has reached `count`.
    ///
    /// # Panics
    /// After `deadline`.
    pub async fn cut_reached(&self, count: u64, deadline: Duration) {
        let mut cuts = self.control.cuts.subscribe();
        within(deadline, "the proxy cuts", cuts.wait_for(|cuts| *cuts >= count)).await.expect("the proxy lives");
    }

    /// Resets every connection now; new ones are taken.
    pub fn cut(&self) {
        self.control.cut();
    }

    /// Takes no new connections: they are refused as if nothing listened. Open ones go on.
    ///
    /// # Panics
    /// When the proxy has ended.
    pub async fn refuse(&self) {
        self.control.listen.send_replace(Listen::Closing);
        let mut listen = self.control.listen.subscribe();
        listen.wait_for(|listen| *listen == Listen::Refusing).await.expect("the proxy lives");
    }

    /// Swallows bytes of `direction`: read and never passed on, as in a network that has lost its route.
    pub fn swallow(&self, direction: Direction) {
        self.control.plan().flow(direction).swallow = true;
    }

    /// Holds every piece (at most 16 KiB) of `direction` for `delay`, one after the other: latency for a client that
    /// waits for replies, and a limit of 16 KiB per `delay` for a stream.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.control.plan().flow(direction).delay = delay;
    }

    /// Makes `direction` a bad line.
    pub fn roughen(&self, direction: Direction, rough: Rough) {
        self.control.plan().flow(direction).rough = rough;
    }

    /// Holds all bytes of `direction` until [`heal`](Self::heal), and loses none.
    pub fn stall(&self, direction: Direction) {
        self.control.plan().flow(direction).stall = true;
    }

    /// Leads new connections to another service (`host:port`); open ones go on to the old one.
    ///
    /// # Panics
    /// Never: no holder of the address panics.
    pub fn point_to(&self, service: &str) {
        service.clone_into(&mut self.control.service.lock().expect("no holder panics"));
    }

    /// Lets at most `bytes_per_second` (at least 1) through, per connection.
    pub fn throttle(&self, direction: Direction, bytes_per_second: u32) {
        self.control.plan().flow(direction).bytes_per_second = Some(bytes_per_second.max(1));
    }

    /// Lets `bytes` more through, over all connections together, then cuts all. Happens once.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        self.control.plan().flow(direction).left = Some(bytes);
    }

    /// Cuts between a request and its reply: the next piece to the service that contains `marker` (empty: any) is
    /// passed on, the next bytes that the service sends on that connection are dropped, and all is cut. The service
    /// has done what it was asked and the client cannot know. Happens once.
    pub fn cut_before_reply(&self, marker: &[u8]) {
        self.control.plan().unanswered = Some(marker.to_vec());
    }

    /// Forgets all commands and takes connections again. What was cut or swallowed stays lost.
    ///
    /// # Panics
    /// When the proxy has ended.
    pub async fn heal(&self) {
        *self.control.plan() = Plan::default();
        self.control.healed.send_modify(|healed| *healed += 1);
        // A refusal that is still under way ends first, or the listener would miss it.
        let mut listen = self.control.listen.subscribe();
        listen.wait_for(|listen| *listen != Listen::Closing).await.expect("the proxy lives");
        if self.control.listen.send_replace(Listen::Accepting) == Listen::Refusing {
            // The listener says that it is back by answering a connection.
            within(Duration::from_secs(5), "the proxy listens again", async {
                while TcpStream::connect(self.address).await.is_err() {
                    pause(Duration::from_millis(1)).await;
                }
            })
            .await;
        }
    }
}

async fn serve(listener: TcpListener, address: SocketAddr, control: Arc<Control>) {
    let mut listener = Some(listener);
    let mut listen = control.listen.subscribe();
    let mut connections = JoinSet::new();
    loop {
        let wanted = *listen.borrow_and_update();
        if wanted == Listen::Closing {
            listener = None;
            control.listen.send_replace(Listen::Refusing);
            continue;
        }
        if wanted == Listen::Accepting && listener.is_none() {
            // The port may still be busy with the remains of old connections for a moment.
            listener = TcpListener::bind(address).await.ok();
        }
        tokio::select! {
            changed = listen.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => if let Ok(client) = accepted {
                let cuts = control.cuts.subscribe();
                connections.spawn(carry(client, cuts, Arc::clone(&control)));
            },
            () = retry(wanted, listener.is_none()) => {}
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => Ok(listener.accept().await?.0),
        None => std::future::pending().await,
    }
}

/// Ends soon when the listener should be open and is not.
async fn retry(wanted: Listen, closed: bool) {
    if wanted == Listen::Accepting && closed {
        pause(Duration::from_millis(5)).await;
    } else {
        std::future::pending().await
    }
}

/// Counts a connection as open while it lives.
struct Open(Arc<Control>);

impl Open {
    fn new(control: Arc<Control>) -> Self {
        control.open.send_modify(|open| *open += 1);
        Self(control)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open -= 1);
    }
}

/// A connection ended other than by both sides closing it: by command, or because one side reset it.
struct Cut;

/// One connection, from its acceptance to its end.
async fn carry(client: TcpStream, mut cuts: watch::Receiver<u64>, control: Arc<Control>) {
    let _open = Open::new(Arc::clone(&control));
    let service = control.service.lock().expect("no holder panics").clone();
    let service = tokio::select! {
        biased;
        _ = cuts.changed() => None,
        service = TcpStream::connect(&service) => service.ok(),
    };
    let Some(service) = service else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), service.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_service, mut to_service) = service.into_split();
    let doomed = Mutex::new(false);
    let end = tokio::select! {
        biased;
        _ = cuts.changed() => Err(Cut),
        // A side that has ended its half may still receive, so both directions run to their end.
        end = async {
            tokio::try_join!(
                pump(Direction::ToService, &mut from_client, &mut to_service, &doomed, &control),
                pump(Direction::ToClient, &mut from_service, &mut to_client, &doomed, &control),
            )
        } => end,
    };
    if let Err(Cut) = end {
        for half in [to_client, to_service] {
            let _ = half.as_ref().set_zero_linger();
            // Dropped, it would announce an orderly end before the reset.
            half.forget();
        }
    }
}

/// Carries one direction of one connection until it ends.
async fn pump(
    direction: Direction,
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    doomed: &Mutex<bool>,
    control: &Control,
) -> Result<(), Cut> {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = match from.read(&mut buffer).await {
            Ok(0) => {
                let _ = to.shutdown().await;
                return Ok(());
            }
            Ok(read) => read,
            Err(_) => return Err(Cut),
        };
        let (flow, pass) = {
            let mut plan = control.plan();
            let mut doomed = doomed.lock().expect("no holder panics");
            match direction {
                Direction::ToClient if *doomed => {
                    drop(plan);
                    control.cut();
                    return Err(Cut);
                }
                Direction::ToService if contains(&buffer[..read], plan.unanswered.as_deref()) => {
                    plan.unanswered = None;
                    *doomed = true;
                }
                _ => {}
            }
            let flow = plan.flow(direction);
            let pass = flow.left.map_or(read, |left| left.min(read));
            flow.left = flow.left.map(|left| left - pass);
            (*flow, pass)
        };
        if flow.swallow {
            control.swallowed.send_modify(|bytes| *bytes += read);
            continue;
        }
        if flow.stall {
            let mut healed = control.healed.subscribe();
            // Healed between the look at the plan and here: asked again.
            while control.plan().flow(direction).stall && healed.changed().await.is_ok() {}
        }
        let rough = flow.rough;
        let lost = control.random.below(1_000) < u64::from(rough.lost_per_mille);
        let held = control.random.below(rough.spread.as_millis() as u64 + 1);
        let held = Duration::from_millis(held) + if lost { rough.resend } else { Duration::ZERO };
        if !held.is_zero() {
            pause(held).await;
        }
        if forward(&buffer[..pass], to, flow).await.is_err() {
            return Err(Cut);
        }
        if flow.left == Some(0) {
            control.plan().flow(direction).left = None;
            control.cut();
            return Err(Cut);
        }
    }
}

async fn forward(bytes: &[u8], to: &mut OwnedWriteHalf, flow: Flow) -> io::Result<()> {
    if !flow.delay.is_zero() {
        pause(flow.delay).await;
    }
    let Some(rate) = flow.bytes_per_second else { return to.write_all(bytes).await };
    // Ten portions a second, so that a slow connection trickles instead of stalling.
    for portion in bytes.chunks((rate as usize / 10).max(1)) {
        to.write_all(portion).await?;
        pause(Duration::from_secs_f64(portion.len() as f64 / f64::from(rate))).await;
    }
    Ok(())
}

fn contains(bytes: &[u8], marker: Option<&[u8]>) -> bool {
    marker.is_some_and(|marker| marker.is_empty() || bytes.windows(marker.len()).any(|window| window == marker))
}
