//! What a gate costs the store: processor time of Redis for a job that is enqueued, and for one that is claimed and
//! finished, without a gate and with each kind, measured in turn on one server. A table for people, one line of JSON for
//! programs.
//!
//! `cargo bench -p longshore-tests --bench gates [-- ROUNDS [JOBS]]`, medians of five rounds of 10 000 jobs by default.
//! Processor time is what others on the machine disturb least. Where jobs wait, the one that a
//! completion lets through, which comes with its answer, is published as part of its own completion.
#![allow(clippy::print_stdout, reason = "a program's output")]

use bytes::Bytes;
use longshore_link::World;
use longshore_link::redis::RedisStore;
use longshore_link::store::{Claim, Claimed, Finish, Finished, NewJob, Report, Store};
use longshore_model::gate::{GateName, Gates, LimitPolicy, Over, Rate};
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::names::Namespace;
use longshore_model::record::{Admission, Start};
use longshore_model::secret::Secret;
use longshore_model::settings::Settings;
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Verdict};
use longshore_model::unique::{Unique, UniqueMode};
use longshore_tests::baseline::Error;
use longshore_tests::services::Redis;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

const BATCH: usize = 100;
const LEASE_MS: u64 = 600_000;
const LIMIT: &str = "bench";

/// What the jobs of a measurement ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    /// A key for each job: nobody waits.
    OrderFree,
    /// Ten jobs for each key: nine of them wait.
    OrderWaiting,
    /// More room than jobs.
    LimitFree,
    /// Room for a batch: the others wait.
    LimitWaiting,
    Rate,
    Unique,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Plain,
        Self::OrderFree,
        Self::OrderWaiting,
        Self::LimitFree,
        Self::LimitWaiting,
        Self::Rate,
        Self::Unique,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Plain => "no gate",
            Self::OrderFree => "order key, nobody waits",
            Self::OrderWaiting => "order key, ten jobs each",
            Self::LimitFree => "concurrency limit, nobody waits",
            Self::LimitWaiting => "concurrency limit, the others wait",
            Self::Rate => "rate limit",
            Self::Unique => "unique key",
        }
    }

    fn policy(self, jobs: usize) -> Option<LimitPolicy> {
        let max = |max: usize| LimitPolicy { max: u32::try_from(max).ok(), over: Over::Wait, ..LimitPolicy::default() };
        match self {
            Self::LimitFree => Some(max(jobs)),
            Self::LimitWaiting => Some(max(BATCH)),
            Self::Rate => {
                Some(LimitPolicy { rate: Some(Rate { count: 1_000_000, per_ms: 1 }), ..LimitPolicy::default() })
            }
            Self::Plain | Self::OrderFree | Self::OrderWaiting | Self::Unique => None,
        }
    }

    fn gates(self, number: usize) -> Gates {
        let order = match self {
            Self::OrderFree => Some(number),
            Self::OrderWaiting => Some(number / 10),
            _ => None,
        };
        let limited = matches!(self, Self::LimitFree | Self::LimitWaiting | Self::Rate);
        Gates {
            order: order.map(|key| GateName::order("main", &key.to_string())),
            limits: limited.then(|| GateName::limit(LIMIT, "")).into_iter().collect(),
            ..Gates::default()
        }
    }
}

/// Microseconds of the server's processor time for each job.
#[derive(Debug, Clone, Copy, Serialize)]
struct Cost {
    enqueue: f64,
    complete: f64,
}

#[derive(Debug, Serialize)]
struct Row {
    kind: &'static str,
    cost: Cost,
    /// Of the cost without a gate.
    ratio: Cost,
}

struct Bench {
    store: Arc<dyn Store>,
    connection: redis::aio::MultiplexedConnection,
    world: World,
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let number = |at: usize, default| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (rounds, jobs): (usize, usize) = (number(0, 5)?, number(1, 10_000)?);
    let server = Redis::start().await;
    let mut settings = Settings::default().store;
    settings.url = Secret::new(server.url());
    let world = World::system();
    let mut bench = Bench {
        store: RedisStore::connect(&settings, Namespace::default(), world.clone()).await?,
        connection: redis::Client::open(server.url())?.get_multiplexed_async_connection().await?,
        world,
    };
    let mut costs = vec![Vec::new(); Kind::ALL.len()];
    for _ in 0..rounds {
        for (kind, costs) in Kind::ALL.into_iter().zip(&mut costs) {
            costs.push(bench.measure(kind, jobs).await?);
        }
    }
    let medians: Vec<Cost> = costs.iter().map(|costs| median(costs)).collect();
    let plain = medians[0];
    let row = |(kind, cost): (Kind, &Cost)| Row {
        kind: kind.name(),
        cost: *cost,
        ratio: Cost { enqueue: cost.enqueue / plain.enqueue, complete: cost.complete / plain.complete },
    };
    let rows: Vec<Row> = Kind::ALL.into_iter().zip(&medians).map(row).collect();
    println!("{jobs} jobs, median of {rounds}; microseconds of Redis' processor time for a job");
    println!("{:<36} {:>9} {:>6} {:>9} {:>6}", "", "enqueue", "ratio", "complete", "ratio");
    for Row { kind, cost, ratio } in &rows {
        let (enqueue, complete) = (cost.enqueue, cost.complete);
        println!("{kind:<36} {enqueue:>9.1} {:>6.2} {complete:>9.1} {:>6.2}", ratio.enqueue, ratio.complete);
    }
    println!("{}", serde_json::to_string(&rows)?);
    Ok(())
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = costs.iter().map(of).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Cost { enqueue: middle(|cost| cost.enqueue), complete: middle(|cost| cost.complete) }
}

impl Bench {
    async fn measure(&mut self, kind: Kind, jobs: usize) -> Result<Cost, Error> {
        self.store.erase().await?;
        if let Some(policy) = kind.policy(jobs) {
            self.store.set_limit(LIMIT, Some(&policy)).await?;
        }
        let begun = self.used().await?;
        let mut ready = Vec::new();
        for first in (0..jobs).step_by(BATCH) {
            let batch: Result<Vec<NewJob>, Error> =
                (first..jobs.min(first + BATCH)).map(|n| self.job(kind, n)).collect();
            for accepted in self.store.enqueue(batch?).await? {
                let accepted = accepted?;
                if accepted.state == longshore_model::record::State::Queued {
                    ready.push((accepted.id, accepted.generation));
                }
            }
        }
        let enqueued = self.used().await?;
        let mut done = 0;
        while done < jobs {
            if ready.is_empty() {
                let out = self.store.outbox(BATCH, LEASE_MS).await?;
                ready.extend(out.into_iter().map(|job| (job.id, job.generation)));
                if ready.is_empty() {
                    return Err(format!("{done} of {jobs} were done, and nothing can run").into());
                }
            }
            let batch: Vec<_> = ready.drain(..ready.len().min(BATCH)).collect();
            let (count, next) = self.complete(&batch).await?;
            done += count;
            ready.extend(next);
        }
        let completed = self.used().await?;
        let each = |time: f64| time * 1e6 / jobs as f64;
        Ok(Cost { enqueue: each(enqueued - begun), complete: each(completed - enqueued) })
    }

    fn job(&self, kind: Kind, number: usize) -> Result<NewJob, Error> {
        let id = self.world.job_id(None);
        let unique = Unique { key: number.to_string(), mode: UniqueMode::UntilFinished, ms: 0 };
        let admission = Admission {
            id,
            topic: Topic::new("bench/gates")?,
            queue: "main".into(),
            start: Start::Now,
            max_retries: 10,
            max_crashes: 3,
            expires: None,
            gates: kind.gates(number),
            site: None,
            unique: (kind == Kind::Unique).then_some(unique),
        };
        let envelope =
            Bytes::from(format!("{{\"v\":1,\"id\":\"{id}\",\"topic\":\"bench/gates\",\"payload\":{number}}}"));
        Ok(NewJob {
            admission,
            envelope,
            labels: BTreeMap::new(),
            fields: BTreeMap::new(),
            again: false,
            retry_of: None,
        })
    }

    /// Publishes, claims and finishes; answers how many, and who was let through.
    async fn complete(&self, batch: &[(JobId, Generation)]) -> Result<(usize, Vec<(JobId, Generation)>), Error> {
        let owner =
            Owner { instance: InstanceId("bench".into()), incarnation: Incarnation::new(1_700_000_000_000, [7; 16]) };
        self.store.published(batch.to_vec()).await?;
        let claims = batch.iter().map(|(id, generation)| Claim {
            id: *id,
            nonce: "n".into(),
            generation: *generation,
            floor: Fence::default(),
            alone: false,
        });
        let claimed = self.store.claim(&owner, LEASE_MS, claims.collect()).await?;
        let mut finishes = Vec::with_capacity(batch.len());
        for ((id, _), claimed) in batch.iter().zip(claimed) {
            let Claimed::Known(Answer::Run { fence, .. }) = claimed else {
                return Err(format!("{id} should run: {claimed:?}").into());
            };
            finishes.push(Finish {
                id: *id,
                fence,
                verdict: Verdict::Succeeded { message: None },
                result: None,
                outputs: Vec::new(),
                report: Report::default(),
                follow_ups: Vec::new(),
            });
        }
        let mut finished = self.store.finish(finishes).await?;
        let moved = |finished: &&Finished| matches!(finished, Finished::Known { answer: Answer::Moved { .. }, .. });
        let count = finished.iter().filter(moved).count();
        let next = finished.iter_mut().flat_map(Finished::take_let_through);
        Ok((count, next.map(|job| (job.id, job.generation)).collect()))
    }

    /// The processor time that the server has used, seconds.
    async fn used(&mut self) -> Result<f64, Error> {
        let info: String = redis::cmd("INFO").arg("cpu").query_async(&mut self.connection).await?;
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok());
        let (user, system): (Option<f64>, Option<f64>) = (field("used_cpu_user"), field("used_cpu_sys"));
        user.zip(system).map(|(user, system)| user + system).ok_or_else(|| "INFO cpu tells no time".into())
    }
}
