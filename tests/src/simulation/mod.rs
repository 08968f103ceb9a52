//! The whole system under one seed: real producer, real consumers, real duties, embedded broker and store.
//!
//! One thread, virtual time, seeded randomness: a run is a function of its seed. Every call to the broker or the
//! store takes a random time ([`rough`]), so that calls interleave in ever new ways; meanwhile a seeded [`nemesis`]
//! lets processes die or stand still, also at any call, cuts them off, ends sessions, takes the store or the broker
//! away, loses answers, doubles messages, sets clocks wrong and, in some runs, wipes the broker or the store. At the
//! end every accepted job must have ended, exactly once, with no run after its end and no two runs at once unless a
//! process stood still ([`history`]), schedules must have sent one job for each of their times ([`clockwork`]; not
//! where the store is wiped, which takes them with it), what jobs and queues ask for must be kept ([`gates`],
//! [`rules`], [`sites`]), files must have gone out and come back whole ([`files`]), the store's indexes must agree with
//! its records, and the broker must be empty.

mod clockwork;
pub mod files;
pub mod gates;
pub mod history;
pub mod nemesis;
pub mod rough;
pub mod rules;
pub mod sites;

use files::Files;
use history::{History, Ran, Stands};
use longshore_consumer::{Consumer, Ctx, Outcome, Running, Settings};
use longshore_link::embedded::Embedded;
use longshore_link::world::Random;
use longshore_link::{Link, World};
use longshore_model::JobId;
use longshore_model::settings::OnDoubt;
use longshore_producer::{Priority, Producer, ProducerOptions};
use rough::Roughness;
use rules::Rules;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// Jobs that are sent.
    pub jobs: usize,
    /// Consumer processes.
    pub consumers: usize,
    /// Faults that are injected.
    pub faults: usize,
    /// What the services may lose, beside everything that goes wrong in every run.
    pub losses: Losses,
    /// What is left out on purpose.
    pub without: Without,
    /// What handlers do when their instance cannot prove that it is alive. With `Continue` two runs at once are
    /// allowed by the contract, and the judge must see them.
    pub on_doubt: OnDoubt,
    /// Whether jobs ask for orders and limits, and a topic is paused.
    pub gates: bool,
    /// Whether jobs are sent over queues with rules: a longest length, what a final failure does, priority, retries
    /// by kind and by time.
    pub rules: bool,
    /// Whether jobs have files, and leave some. Their place is away now and then.
    pub files: bool,
    /// Whether the first job takes down every process that runs it. Without faults nothing else may then go wrong.
    pub poison: bool,
}

/// What the services lose. Never both in one run: a job that both have lost is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Losses {
    /// Nothing.
    None,
    /// The broker loses every copy of a lane, or the lane itself.
    Lanes,
    /// The store loses everything. Jobs that wait for their time are lost with it, and what ran or ended before may run
    /// again; everything else must end.
    Store,
}

/// A rule of the protocol that is left out, to see that the judge sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Without {
    /// Everything is as it is.
    Nothing,
    /// Nobody gives jobs new copies.
    Reconciler,
    /// Copies that should be parked are not there.
    ParkedCopies,
    /// Nobody sets the limit that jobs count against.
    Limit,
    /// Neither queues nor jobs say the rules that the judge goes by.
    Rules,
    /// Files are not always those that the judge goes by.
    Files,
    /// What an attempt came to is taken from any attempt, whoever's turn it is.
    Fences,
}

impl Plan {
    /// The usual size for a seed.
    #[must_use]
    pub const fn of(seed: u64) -> Self {
        let losses = match seed % 4 {
            0 | 2 => Losses::None,
            1 => Losses::Lanes,
            _ => Losses::Store,
        };
        let without = Without::Nothing;
        // A store that loses everything loses who passed, and what was said of queues.
        let keeps = !matches!(losses, Losses::Store);
        let (gates, rules) = (keeps && seed.is_multiple_of(5), keeps && seed % 5 == 2);
        let on_doubt = OnDoubt::Cancel;
        let jobs = if rules { 90 } else { 60 };
        Self {
            seed,
            jobs,
            consumers: 3,
            faults: 14,
            losses,
            without,
            on_doubt,
            gates,
            rules,
            files: false,
            poison: false,
        }
    }

    /// The same with payload files, without gates and rules, and with a store that keeps what it has. As the files of attempts are on a real disk, such a run
    /// does not repeat itself exactly.
    #[must_use]
    pub const fn with_files(seed: u64) -> Self {
        let plan = Self::of(seed);
        let losses = if matches!(plan.losses, Losses::Store) { Losses::Lanes } else { plan.losses };
        Self { files: true, gates: false, rules: false, jobs: 60, losses, ..plan }
    }
}

/// What a run came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Jobs accepted.
    pub accepted: usize,
    /// Jobs that a full queue refused.
    pub refused: usize,
    /// How often rules had something to say, by what they said.
    pub rules: BTreeMap<&'static str, usize>,
    /// How they ended, by state.
    pub ended: BTreeMap<&'static str, usize>,
    /// Runs of handlers that began.
    pub started: usize,
    /// Faults, by kind.
    pub faults: BTreeMap<&'static str, usize>,
    /// Jobs that schedules sent.
    pub scheduled: usize,
    /// Virtual seconds until everything had ended.
    pub seconds: u64,
}

/// What is wrong, and the command that shows it again.
#[derive(Debug)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// What was found.
    pub what: Vec<String>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} breaks a promise:", self.seed)?;
        for what in self.what.iter().take(20) {
            writeln!(f, "  - {what}")?;
        }
        write!(f, "see it again: cargo run -p longshore-tests --bin simulate -- {}", self.seed)
    }
}

/// Runs one seed.
///
/// # Errors
/// [`Broken`] when a promise was broken.
///
/// # Panics
/// When the runtime cannot be made.
pub fn run(plan: Plan) -> Result<Summary, Broken> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let result = runtime.block_on(simulate(plan));
    drop(runtime);
    result
}

/// How long nobody waits for anything to end: longer than every back-off and parking place together.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);

async fn simulate(plan: Plan) -> Result<Summary, Broken> {
    let world = World::simulated(plan.seed);
    let backend = Embedded::new(&world);
    let history = History::new(world.clock.clone(), backend.clone());
    let sending = tokio::task::LocalSet::new();
    let rules =
        (plan.rules && plan.losses != Losses::Store).then(|| Rules::new(&backend, plan.without == Without::Rules));
    let files = plan.files.then(|| Files::new(plan.without == Without::Files));
    let (asked, given) = (rules.clone(), files.clone());
    let fleet = Fleet {
        world: world.clone(),
        backend: backend.clone(),
        history: history.clone(),
        rules: rules.clone(),
        files: files.clone(),
        strays: Arc::default(),
        plan,
    };
    let mut members = Vec::new();
    for number in 0..plan.consumers {
        members.push(fleet.spawn(number).await);
    }
    let producer_world = world.process();
    let link = rough::link(backend.link(producer_world), &Roughness::default());
    let producer =
        Producer::connect_with(link, ProducerOptions { origin: sites::origin(), ..ProducerOptions::default() });

    let accepted: Arc<std::sync::Mutex<Vec<JobId>>> = Arc::default();
    let (ids, sender, clock, random) = (accepted.clone(), producer.clone(), world.clock.clone(), world.random.clone());
    let sends = sending.run_until(async move {
        if plan.gates && plan.without != Without::Limit {
            gates::begin(&sender).await;
        }
        if let Some(rules) = &asked {
            rules.begin(&sender).await;
        }
        for number in 0..plan.jobs {
            if plan.gates {
                gates::beside(&sender, number).await;
            }
            if let Some(rules) = &asked {
                rules.beside(&sender, number).await;
            }
            let seed = plan.seed.wrapping_mul(1_000).wrapping_add(number as u64);
            let asks = Random::seeded(seed);
            clock.sleep(Duration::from_millis(random.below(if plan.rules { 500 } else { 1_500 }))).await;
            let id = sender.new_id();
            loop {
                let accepted = match &asked {
                    Some(rules) if number > 0 || !plan.poison => rules.send(&sender, id, number, seed).await,
                    _ => {
                        let job = usual(plan, &sender, (number, id), &random, &asks);
                        let job = if let Some(files) = &given { files.give(job, number) } else { job };
                        job.send().await.is_ok().then_some(true)
                    }
                };
                match accepted {
                    Some(true) => break ids.lock().unwrap().push(id),
                    Some(false) => break,
                    // Refused for now or unknown: the same id again, as an application would.
                    None => clock.sleep(Duration::from_millis(500)).await,
                }
            }
        }
    });
    let clockwork = async {
        // A store that is wiped takes them with it.
        if plan.losses != Losses::Store {
            clockwork::define(&producer, &world.random).await;
        }
    };
    let torment = nemesis::torment(&fleet, &mut members, plan);
    let ((), (), faults) = Box::pin(futures_util::future::join3(sends, clockwork, torment)).await;

    let mut accepted = accepted.lock().unwrap().clone();
    let sent = accepted.len();
    let mut wrong = Vec::new();
    if plan.losses != Losses::Store {
        let (jobs, broken) = Box::pin(clockwork::stop(&fleet, &mut members)).await;
        accepted.extend(jobs);
        wrong.extend(broken);
    }
    let begun = world.clock.boot();
    let patience = if plan.without == Without::Nothing { PATIENCE } else { PATIENCE / 12 };
    loop {
        let records = backend.link(world.process()).store.records(accepted.clone()).await.unwrap_or_default();
        let open: Vec<_> = records.iter().flatten().filter(|record| !record.state.is_terminal()).collect();
        if records.len() == accepted.len() && open.is_empty() && backend.messages() == 0 {
            break;
        }
        if world.clock.boot().saturating_sub(begun) > patience {
            for record in open {
                wrong.push(format!("job {} never ended: {record:?}", record.id));
            }
            if backend.messages() > 0 {
                let left = backend.left();
                wrong.push(format!("{} messages are left in the broker: {}", left.len(), left.join("; ")));
            }
            break;
        }
        world.clock.sleep(Duration::from_secs(5)).await;
        fleet.replace_dead(&mut members).await;
        if let Some(rules) = &rules {
            rules.resume(&producer).await;
        }
    }
    let seconds = world.clock.boot().as_secs();
    let records = backend.link(world.process()).store.records(accepted.clone()).await.unwrap_or_default();
    let mut ended: BTreeMap<&'static str, usize> = BTreeMap::new();
    for (id, record) in accepted.iter().zip(&records) {
        match record {
            Some(record) => {
                *ended.entry(record.state.as_str()).or_default() += 1;
                wrong.extend(history.judge(record));
                wrong.extend(history.blamed(record, plan.poison));
            }
            None if history.may_be_gone(id) => *ended.entry("lost with the store").or_default() += 1,
            None => wrong.push(format!("job {id} was accepted and is gone")),
        }
    }
    if plan.gates {
        let records: Vec<_> = records.iter().flatten().cloned().collect();
        wrong.extend(gates::judge(&records, &history));
    }
    let mut ruled = BTreeMap::new();
    if let Some(rules) = &rules {
        let records: Vec<_> = records.iter().flatten().cloned().collect();
        let (broken, happened) = rules.judged(&records, &history);
        wrong.extend(broken);
        ruled = happened;
    }
    wrong.extend(fleet.strays.lock().unwrap().iter().cloned());
    if let Some(files) = &files {
        // Jobs that schedules sent have none.
        let records: Vec<_> = records.iter().take(sent).flatten().cloned().collect();
        wrong.extend(files.judge(&records, &backend.link(world.process())).await);
    }
    if let Err(disagreement) = backend.check() {
        wrong.push(format!("the store disagrees with itself: {disagreement}"));
    }
    for member in members {
        member.world.tasks.kill();
    }
    if wrong.is_empty() {
        Ok(Summary {
            accepted: sent,
            refused: plan.jobs - sent,
            rules: ruled,
            scheduled: accepted.len() - sent,
            ended,
            started: history.started(),
            faults,
            seconds,
        })
    } else {
        Err(Broken { seed: plan.seed, what: wrong })
    }
}

/// A job of a run without rules.
fn usual(
    plan: Plan,
    sender: &Producer,
    (number, id): (usize, JobId),
    random: &Random,
    asks: &Random,
) -> longshore_producer::JobBuilder {
    let topic = match number {
        0 if plan.poison => "sim/poison",
        number if number % 3 == 0 => "sim/slow",
        _ => "sim/quick",
    };
    let job = sender.raw(topic, &format!("{{\"number\":{number}}}")).id(id);
    let job = job.retries(3).retry_delay(Duration::from_secs(random.below(40)));
    let job = if number % 5 == 2 { job.priority(Priority::Urgent) } else { job };
    let job = sites::ask(job, number);
    if plan.gates {
        gates::ask(job, asks)
    } else if random.below(10) == 0 {
        job.after(Duration::from_secs(random.below(120)))
    } else {
        job
    }
}

/// What all processes of a run share.
#[derive(Debug, Clone)]
pub struct Fleet {
    world: World,
    backend: Embedded,
    history: History,
    rules: Option<Rules>,
    /// Where jobs ran that were not to.
    strays: Arc<std::sync::Mutex<Vec<String>>>,
    files: Option<Files>,
    plan: Plan,
}

/// One consumer process.
#[derive(Debug)]
pub struct Member {
    world: World,
    roughness: Roughness,
    number: usize,
    running: Option<Running>,
    stands: Stands,
    /// A job took it down.
    dead: Arc<AtomicBool>,
}

impl Member {
    /// The process is gone.
    fn die(&mut self) {
        self.world.tasks.kill();
        self.running = None;
        self.stands.end();
    }

    /// The process stands still, or goes on.
    fn freeze(&self, on: bool) {
        self.world.tasks.freeze(on);
        if on {
            self.stands.begin();
        } else {
            self.stands.end();
        }
    }
}

impl Fleet {
    /// Starts a consumer process.
    async fn spawn(&self, number: usize) -> Member {
        let world = self.world.process();
        let roughness = Roughness::without(self.plan.without);
        let link: Link = rough::link(self.backend.link(world.clone()), &roughness);
        let mut settings = Settings::default();
        settings.instance.concurrency = 4;
        settings.instance.name = Some(format!("sim-{number}"));
        settings.instance.grace = Duration::from_secs(5);
        sites::settle(number, &mut settings);
        settings.lease.on_doubt = self.plan.on_doubt;
        // A swapped copy rests for ten minutes, which a run has to wait for.
        if self.plan.seed % 8 == 6 {
            settings.lease.hold = Duration::from_secs(10);
        }
        settings.on_unreachable = longshore_model::settings::OnUnreachable::Wait;
        let ((history, stands), random, process) =
            (self.history.of_process(), self.world.random.clone(), world.clone());
        let dead = Arc::new(AtomicBool::new(false));
        let (death, strays, files) = (dead.clone(), self.strays.clone(), self.files.clone());
        let handle = move |ctx: Ctx| {
            let (history, random) = (history.clone(), random.clone());
            let (process, death, strays, files) = (process.clone(), death.clone(), strays.clone(), files.clone());
            async move {
                if let Some(files) = files.filter(|_| ctx.topic().as_str() != clockwork::TOPIC) {
                    files.handle(&ctx);
                }
                if ctx.topic().as_str() == "sim/poison" {
                    let _ran = Ran::begin(&history, &ctx);
                    process.clock.sleep(Duration::from_millis(random.below(3_000))).await;
                    death.store(true, Ordering::SeqCst);
                    process.tasks.kill();
                    std::future::pending::<()>().await;
                }
                if rules::TOPICS.contains(&ctx.topic().as_str()) {
                    let _ran = Ran::begin(&history, &ctx);
                    return rules::handler(&ctx, &random).await;
                }
                let sent = ctx.payload_as::<Numbered>().ok().and_then(|job| sites::stray(job.number, number));
                strays.lock().unwrap().extend(sent);
                handler(&ctx, &history, &random).await
            }
        };
        let options = self.rules.as_ref().map(Rules::options).unwrap_or_default();
        let consumer = Consumer::new(settings).link(link).world(world.clone()).on_with("sim/*", options, handle);
        let running = consumer.start().await.ok();
        Member { world, roughness, number, running, stands, dead }
    }

    /// Starts the processes anew that a job took down.
    async fn replace_dead(&self, members: &mut [Member]) {
        for member in members {
            if member.dead.load(Ordering::SeqCst) {
                member.die();
                *member = self.spawn(member.number).await;
            }
        }
    }
}

/// What the usual job says of itself.
#[derive(Debug, serde::Deserialize)]
struct Numbered {
    number: usize,
}

/// A handler of many moods: quick, slow (longer than a lease), failing, giving up, panicking, coming back later.
async fn handler(ctx: &Ctx, history: &History, random: &longshore_link::world::Random) -> Outcome {
    let _ran = Ran::begin(history, ctx);
    let span = match ctx.topic().as_str() {
        "sim/slow" => random.below(25_000),
        _ => random.below(500),
    };
    ctx.progress(0, 1, "");
    if let Err(cancelled) = ctx.sleep(Duration::from_millis(span)).await {
        return Outcome::Cancelled(cancelled);
    }
    match random.below(40) {
        0..4 => Outcome::retry("bad luck"),
        4 => Outcome::fail("hopeless"),
        5 => Outcome::snooze(Duration::from_secs(random.below(60)), "not now"),
        #[expect(clippy::panic, reason = "a handler that panics is part of the story")]
        6 => panic!("a seeded panic"),
        _ => Outcome::result(ctx.attempt()),
    }
}
