//! The field of a run: private services, consumer processes behind proxies of their own, a producer behind its own, and
//! the history of all of it.
//!
//! Everything that is done to a process or a service here is written down first. Waiting goes through
//! [`Field::wait`], which starts again what fell by itself, as a supervisor of processes would.

use super::clock::WallClock;
use super::history::{Allowed, Event, History, Intent};
use super::load::{self, Load, Mix};
use super::survey::{self, Final};
use super::watch::Watcher;
use super::worker;
use crate::fleet::{Fleet, Process, descendants};
use crate::proxy::Proxy;
use crate::services::{Options, RabbitMq, Redis, namespace};
use crate::wait::{eventually, pause};
use longshore_link::world::Random;
use longshore_model::names::{BrokerNames, Namespace, Park, StoreNames, shard_keys};
use longshore_model::settings::OnUnreachable;
use longshore_model::{JobId, Secret, State, settings::Settings};
use longshore_producer::Producer;
use rustix::fs::{CWD, RenameFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long everything may take to end once all faults are over: a parked copy rests for half a minute, twice if it
/// comes back too early, and the machine may be busy with something else.
const PATIENCE: Duration = Duration::from_secs(900);
/// Between two looks.
const STEP: Duration = Duration::from_millis(50);
/// How long a fault's consequences may last.
const RETURN: Duration = Duration::from_secs(300);

/// What a run is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Name of the scenario.
    pub scenario: String,
    /// Everything random follows from it.
    pub seed: u64,
    /// Jobs that are sent.
    pub jobs: usize,
    /// What they are.
    pub mix: Mix,
    /// Consumer processes.
    pub workers: usize,
    /// Jobs that each of them runs at once.
    pub slots: usize,
    /// Length of a lease; a beat is a fifth of it, doubt begins at seven tenths.
    pub lease: Duration,
    /// Further settings of all consumers, TOML.
    pub settings: String,
    /// Further settings of the broker.
    pub broker: Vec<String>,
    /// What is unusual about the services and the programs.
    pub with: With,
    /// What the checker lets pass.
    pub allowed: Allowed,
    /// Where the history and the logs are kept.
    pub directory: PathBuf,
}

/// What is unusual about the services and the programs of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct With {
    /// The store has a file system of its own, MiB.
    pub store_disk: Option<u32>,
    /// The store syncs its file at every write.
    pub store_syncs: bool,
    /// The broker has a file system of its own, MiB.
    pub broker_disk: Option<u32>,
    /// The wall clocks of the store and of the consumers can be set.
    pub clocks: bool,
    /// The program `fire` of another version, with which the consumers begin.
    pub other: Option<PathBuf>,
}

/// A way to the services, through proxies.
#[derive(Debug)]
pub struct Way {
    /// To the broker.
    pub broker: Proxy,
    /// To the store.
    pub store: Proxy,
    /// Settings with these addresses.
    pub settings: Settings,
}

impl Way {
    async fn new(rabbitmq: &RabbitMq, redis: &Redis, base: &Settings) -> Self {
        let (broker, broker_url) = Proxy::before(&rabbitmq.url()).await;
        let (store, store_url) = Proxy::before(&redis.url()).await;
        let mut settings = base.clone();
        settings.broker.url = Secret::new(broker_url);
        settings.store.url = Secret::new(store_url);
        Self { broker, store, settings }
    }

    /// Both proxies forward again.
    pub async fn heal(&self) {
        self.broker.heal().await;
        self.store.heal().await;
    }
}

/// The field.
#[derive(Debug)]
pub struct Field {
    /// What the run is made of.
    pub setup: Setup,
    /// The processes.
    pub fleet: Fleet,
    /// How each of them reaches the services, by its name.
    pub ways: BTreeMap<String, Way>,
    /// How the producer does.
    pub own_way: Way,
    /// Sends.
    pub producer: Producer,
    /// What happens.
    pub history: History,
    /// Everything random.
    pub random: Random,
    /// What the store says of jobs that have ended.
    pub watcher: Watcher,
    /// The broker.
    pub rabbitmq: RabbitMq,
    /// The store.
    pub redis: Redis,
    /// The namespace.
    pub namespace: Namespace,
    /// Wall clocks by whom they are of, where they can be set; the store's is that of nobody.
    pub clocks: BTreeMap<String, WallClock>,
    /// The program of a consumer, where it is not this one.
    pub programs: BTreeMap<String, PathBuf>,
    base: Settings,
    births: BTreeMap<String, u32>,
    load: Load,
    /// Jobs beside the load.
    extra: Vec<JobId>,
    /// Jobs that nobody waits for any more.
    forgotten: BTreeSet<JobId>,
}

impl Field {
    /// Starts services, consumers and the producer, and begins to send.
    ///
    /// # Panics
    /// When something does not start.
    pub async fn start(setup: Setup) -> Self {
        std::fs::create_dir_all(&setup.directory).expect("make the directory of a run");
        let history = History::open(&history_file(&setup.directory)).expect("open the history");
        let (scenario, allowed) = (setup.scenario.clone(), setup.allowed.clone());
        history.note(Event::Run { scenario, seed: setup.seed, allowed });
        let lines: Vec<&str> = setup.broker.iter().map(String::as_str).collect();
        let with = setup.with.clone();
        let clocks: BTreeMap<String, WallClock> = if with.clocks {
            let names = names(setup.workers).chain([String::new()]);
            names.map(|name| (name.clone(), WallClock::new(&setup.directory, &name))).collect()
        } else {
            BTreeMap::new()
        };
        let environment = clocks.get("").map(WallClock::environment).unwrap_or_default();
        let options = Options { disk: with.store_disk, always: with.store_syncs, environment };
        let (rabbitmq, redis) = tokio::join!(RabbitMq::start_on(with.broker_disk, &lines), Redis::start_with(options));
        let namespace = Namespace::new(&namespace("fire")).expect("a legal namespace");
        let mut base = Settings { namespace: namespace.clone(), ..Settings::default() };
        base.on_unreachable = OnUnreachable::Wait;
        let place = place(&setup.directory);
        std::fs::create_dir_all(&place).expect("make a place for files");
        base.blobs.url = Secret::new(format!("file://{}", place.display()));
        let own_way = Way::new(&rabbitmq, &redis, &base).await;
        let fleet = Fleet::within(&setup.directory, base.clone(), &common(&setup));
        let producer = Producer::connect(&own_way.settings).await.expect("connect the producer");
        producer.set_limit(load::LIMIT, &load::policy()).await.expect("set the limit");
        let watcher = Watcher::start(redis.url(), &namespace, history.clone());
        let random = Random::seeded(setup.seed);
        let load = Load::plan(&producer, &random, &setup.mix, setup.jobs);
        let ways = BTreeMap::new();
        let births = BTreeMap::new();
        let mut field = Self {
            setup,
            fleet,
            ways,
            own_way,
            producer,
            history,
            random,
            watcher,
            rabbitmq,
            redis,
            namespace,
            clocks,
            programs: BTreeMap::new(),
            base,
            births,
            load,
            extra: Vec::new(),
            forgotten: BTreeSet::new(),
        };
        for name in names(field.setup.workers) {
            if let Some(clock) = field.clocks.get(&name) {
                field.fleet.equip(&name, clock.environment());
            }
            if let Some(other) = &with.other {
                field.programs.insert(name.clone(), other.clone());
            }
            let way = Way::new(&field.rabbitmq, &field.redis, &field.base).await;
            field.ways.insert(name.clone(), way);
            field.launch(&name);
        }
        for name in field.names() {
            field.ready(&name).await;
        }
        field.prepare_lanes().await;
        field
    }

    /// Declares every lane and waits until it would survive a kill of the broker, which is a weakness of RabbitMQ's
    /// and not what these runs are about.
    async fn prepare_lanes(&self) {
        let names = BrokerNames::new(self.namespace.clone());
        let lanes = self.setup.mix.lanes();
        self.producer.link().store.know(lanes.clone()).await.expect("make the topics known");
        self.producer.link().broker.declare(&lanes).await.expect("declare the lanes");
        for lane in &lanes {
            self.rabbitmq.queue_on_disk(&names.lane(lane)).await;
        }
        for park in Park::ALL {
            self.rabbitmq.queue_on_disk(&names.park(park)).await;
        }
    }

    /// Sends the planned jobs, spread over about this time; what is left when the faults are over is sent at once.
    pub fn send_over(&mut self, span: Duration) {
        self.load.send_over(span, &self.producer, &self.history);
    }

    /// Names of all consumers.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.ways.keys().cloned().collect()
    }

    /// One of the consumers, at random.
    #[must_use]
    pub fn any(&self) -> String {
        let names = self.names();
        names[self.random.below(names.len() as u64) as usize].clone()
    }

    /// Notes that a fault begins.
    pub fn fault(&self, kind: &str, on: &str) {
        self.history.note(Event::Fault { kind: kind.to_owned(), on: on.to_owned() });
    }

    /// Notes that faults are over.
    pub fn healed(&self) {
        self.history.note(Event::Healed);
    }

    /// Takes the place of files away, or brings it back: meanwhile there is a file of that name instead of a directory.
    ///
    /// # Panics
    /// When the file system does not do it.
    pub fn swap_place(&self) {
        let (place, nothing) = (place(&self.setup.directory), self.setup.directory.join("no-blobs"));
        if !nothing.exists() {
            std::fs::write(&nothing, "").expect("write a file");
        }
        rustix::fs::renameat_with(CWD, &place, CWD, &nothing, RenameFlags::EXCHANGE).expect("swap them");
    }

    /// Notes a broken promise when `kept` is false.
    pub fn promise(&self, kept: bool, what: impl Into<String>) {
        if !kept {
            self.history.note(Event::Broken { what: what.into() });
        }
    }

    /// Notes which jobs have ended and which the store is about to forget, from an answer to [`Ends::ask`].
    pub fn note_ends(&mut self, ends: Ends) {
        self.watcher.saw(ends.ended);
        self.history.note(Event::Forgotten { ids: ends.waiting.clone() });
        self.forgotten.extend(ends.waiting);
    }

    /// Notes what was measured.
    pub fn measured(&self, what: impl Into<String>) {
        self.history.note(Event::Measured { what: what.into() });
    }

    /// The name of the present incarnation of a consumer, as it is in the history.
    #[must_use]
    pub fn who(&self, name: &str) -> String {
        format!("{name}#{}", self.births.get(name).copied().unwrap_or_default())
    }

    /// Starts a consumer, without waiting for it.
    ///
    /// # Panics
    /// When it runs already.
    pub fn launch(&mut self, name: &str) {
        *self.births.entry(name.to_owned()).or_default() += 1;
        let who = self.who(name);
        let settings = &self.ways[name].settings;
        let mut command = Command::new(self.programs.get(name).cloned().unwrap_or_else(program));
        command.arg(worker::MODE).arg("--who").arg(&who);
        command.arg("--history").arg(history_file(&self.setup.directory));
        let pid = self.fleet.launch(name, settings, command).pid();
        self.history.note(Event::Born { who, pid });
    }

    /// Waits until a consumer is ready.
    ///
    /// # Panics
    /// When it is not in time.
    pub async fn ready(&mut self, name: &str) {
        self.fleet.member_mut(name).ready().await;
    }

    /// Kills a consumer.
    pub fn kill(&mut self, name: &str) {
        if self.fleet.member(name).is_running() {
            self.fleet.member_mut(name).kill();
            self.died(name, "killed");
        }
    }

    /// Asks a consumer to end and waits for that; it must do so in order.
    pub async fn terminate(&mut self, name: &str) {
        if self.fleet.member(name).is_running() {
            let status = self.fleet.member_mut(name).terminate().await;
            self.died(name, &status.to_string());
            self.promise(status.success(), format!("consumer {name} was asked to end and did so with {status}"));
        }
    }

    /// Suspends a consumer.
    pub fn freeze(&self, name: &str) {
        self.history.note(Event::Frozen { who: self.who(name) });
        self.fleet.member(name).freeze();
    }

    /// Lets it go on.
    pub fn thaw(&self, name: &str) {
        self.history.note(Event::Thawed { who: self.who(name) });
        self.fleet.member(name).thaw();
    }

    fn died(&self, name: &str, how: &str) {
        self.history.note(Event::Died { who: self.who(name), how: how.to_owned() });
    }

    /// Starts again whatever fell by itself.
    pub fn revive(&mut self) {
        for name in self.names() {
            if let Some(status) = self.fleet.member_mut(&name).fell() {
                self.died(&name, &status.to_string());
                self.launch(&name);
            }
        }
    }

    /// Lets the run go on for a while.
    pub async fn wait(&mut self, span: Duration) {
        let end = Instant::now() + span;
        while Instant::now() < end {
            self.revive();
            pause(STEP.min(end.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Waits until so many jobs have ended since the start, or a generous time is over.
    pub async fn until_ended(&mut self, count: usize) {
        let end = Instant::now() + RETURN;
        while self.watcher.ended() + self.load.merged() < count && Instant::now() < end {
            self.wait(STEP).await;
        }
        let ended = self.watcher.ended() + self.load.merged();
        self.promise(ended >= count, format!("only {ended} of {count} jobs had ended after {RETURN:?} of waiting"));
    }

    /// After a fault: waits until jobs end again, and answers how long that took.
    pub async fn until_it_goes_on(&mut self) -> Duration {
        let begun = Instant::now();
        let before = self.watcher.ended();
        if before + 20 < self.setup.jobs {
            self.until_ended(before + 20).await;
        }
        begun.elapsed()
    }

    /// Sends a job that waits for an hour, for a command that ends it.
    pub async fn send_waiting(&mut self, end: State) -> JobId {
        let id = self.producer.new_id();
        self.extra.push(id);
        self.history.note(Event::Sending { jobs: vec![Intent::plain(id, end)] });
        let hour = Duration::from_secs(3_600);
        while self.producer.raw("fire/quick", "{}").id(id).after(hour).send().await.is_err() {
            self.wait(STEP).await;
        }
        self.history.note(Event::Accepted { ids: vec![id] });
        id
    }

    /// Sends what is left at once, and waits until all is accepted.
    pub async fn sent_all(&mut self) {
        self.load.hurry();
        let end = Instant::now() + PATIENCE;
        while !self.load.is_done() && Instant::now() < end {
            self.wait(STEP).await;
        }
        self.promise(self.load.is_done(), "not every job was accepted in the end");
    }

    /// The largest resident memory of any consumer, KiB.
    #[must_use]
    pub fn memory_kib(&self) -> u64 {
        let of = |name: &String| {
            let member = self.fleet.member(name);
            let status = std::fs::read_to_string(format!("/proc/{}/status", member.pid())).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()
        };
        self.names().iter().filter(|name| self.fleet.member(name).is_running()).filter_map(of).max().unwrap_or(0)
    }

    /// Starts a consumer on a copy of another one's home.
    pub async fn clone_home(&mut self, name: &str, twin: &str) {
        let way = Way::new(&self.rabbitmq, &self.redis, &self.base).await;
        self.ways.insert(twin.to_owned(), way);
        let (from, to) = (self.setup.directory.join(name).join("home"), self.setup.directory.join(twin));
        let copied = Command::new("cp").arg("-r").arg(from).arg(to.with_extension("home")).status();
        assert!(copied.is_ok_and(|status| status.success()), "copy a home");
        self.fleet.adopt_home(twin, &to.with_extension("home"));
        self.launch(twin);
        self.ready(twin).await;
    }

    /// Heals every proxy, lets everything end, stops the consumers and describes what is left.
    pub async fn finish(mut self) -> Final {
        for way in self.ways.values().chain([&self.own_way]) {
            way.heal().await;
        }
        self.healed();
        self.sent_all().await;
        let (mut sent, end) = (self.load.ids(), Instant::now() + PATIENCE);
        sent.append(&mut self.extra);
        loop {
            self.wait(STEP * 10).await;
            let awaited: Vec<JobId> = sent.iter().filter(|id| !self.forgotten.contains(id)).copied().collect();
            let done = self.watcher.ended_of(&awaited) && self.watcher.open().await == Some(0);
            if done && self.messages().await == Some(0) || Instant::now() > end {
                break;
            }
        }
        let mut families: Vec<Process> = Vec::new();
        for name in self.names() {
            if self.fleet.member(&name).is_running() {
                families.extend(descendants(self.fleet.member(&name).pid()));
            }
        }
        for name in self.names() {
            self.terminate(&name).await;
        }
        self.watcher.stop().await;
        let mut last = survey::take(&self.producer, &self.rabbitmq, &self.redis, &self.namespace, &sent).await;
        let alive = families.into_iter().filter(Process::is_alive);
        last.processes = alive.map(|process| format!("process {} of a job", process.pid)).collect();
        let text = serde_json::to_string(&last).expect("the end of a run is JSON");
        std::fs::write(final_file(&self.setup.directory), text).expect("write the end of a run");
        last
    }

    /// Messages in lanes and parking places; `None` when the broker does not answer.
    async fn messages(&self) -> Option<u32> {
        let names = BrokerNames::new(self.namespace.clone());
        let lanes = self.setup.mix.lanes().into_iter().map(|lane| names.lane(&lane));
        let queues: Vec<String> = lanes.chain(Park::ALL.map(|park| names.park(park))).collect();
        survey::depth(&self.rabbitmq.url(), &queues).await
    }

    /// Waits until the broker answers after it was started again.
    pub async fn broker_is_back(&self) {
        let url = self.rabbitmq.url();
        eventually(RETURN, "the broker answers", async || survey::depth(&url, &[]).await).await;
    }

    /// Sends a signal to the broker or the store, with a line in the history.
    pub fn suspend_service(&self, broker: bool, on: bool) {
        let who = if broker { "broker" } else { "store" }.to_owned();
        self.history.note(if on { Event::Frozen { who } } else { Event::Thawed { who } });
        match (broker, on) {
            (true, true) => self.rabbitmq.freeze(),
            (true, false) => self.rabbitmq.thaw(),
            (false, true) => self.redis.freeze(),
            (false, false) => self.redis.thaw(),
        }
    }
}

/// What a store knows of ends at the last moment before it forgets.
#[derive(Debug, Default)]
pub struct Ends {
    /// Jobs that have ended, how and when.
    pub ended: Vec<(JobId, State, u64)>,
    /// Jobs that wait for their time.
    pub waiting: Vec<JobId>,
}

impl Ends {
    /// Asks, and does what else is in the pipe, in one moment of the store.
    ///
    /// # Panics
    /// When the store does not answer.
    pub async fn ask(redis: &Redis, ns: &Namespace, then: &[&str]) -> Self {
        let shard = StoreNames::new(ns.clone()).shard(None);
        let asked: Vec<State> =
            State::ALL.into_iter().filter(|state| state.is_terminal() || *state == State::Scheduled).collect();
        let mut pipe = redis::pipe();
        pipe.atomic();
        for state in &asked {
            let key = format!("{shard}{}{state}", shard_keys::STATE);
            pipe.cmd("ZRANGE").arg(key).arg(0).arg(-1).arg("WITHSCORES");
        }
        for command in then {
            pipe.cmd(command).ignore();
        }
        let found: Vec<Vec<(String, f64)>> =
            pipe.query_async(&mut redis.connection().await).await.expect("read what has ended");
        let mut ends = Self::default();
        for (state, jobs) in asked.into_iter().zip(found) {
            let jobs = jobs.into_iter().filter_map(|(id, at)| Some((id.parse().ok()?, state, at as u64)));
            if state.is_terminal() {
                ends.ended.extend(jobs);
            } else {
                ends.waiting.extend(jobs.map(|(id, _, _)| id));
            }
        }
        ends
    }
}

/// Names of the consumers that a run begins with.
fn names(workers: usize) -> impl Iterator<Item = String> {
    ('a'..).take(workers).map(String::from)
}

/// Settings of all consumers.
fn common(setup: &Setup) -> String {
    let ms = |span: Duration| span.as_millis();
    format!(
        "on_unreachable = \"wait\"\nbroker.heartbeat = \"3s\"\ninstance.concurrency = {}\ninstance.grace = \"20s\"\n\
         blobs.url = \"file://{}\"\n\
         lease.length = \"{}ms\"\nlease.beat = \"{}ms\"\nlease.doubt = \"{}ms\"\nlog.level = \"info\"\n{}",
        setup.slots,
        place(&setup.directory).display(),
        ms(setup.lease),
        ms(setup.lease / 5),
        ms(setup.lease * 7 / 10),
        setup.settings
    )
}

/// Where the files of a run's jobs are.
fn place(directory: &Path) -> PathBuf {
    directory.join("blobs")
}

/// The history of a run.
#[must_use]
pub fn history_file(directory: &Path) -> PathBuf {
    directory.join("history.jsonl")
}

/// The end of a run.
#[must_use]
pub fn final_file(directory: &Path) -> PathBuf {
    directory.join("final.json")
}

/// The program `fire`: this one, or the one beside the test.
fn program() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this program");
    let found = own.ancestors().take(3).map(|place| if place == own { own.clone() } else { place.join("fire") });
    found.into_iter().find(|path| path.is_file() && path.file_name().is_some_and(|name| name == "fire")).unwrap_or_else(
        || panic!("the program fire is missing beside {}: cargo build -p longshore-tests --bin fire", own.display()),
    )
}
