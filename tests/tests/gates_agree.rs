//! Random sequences of everything that gates and unique keys do, on the embedded store and on Redis: both must agree
//! after each step on every job (state, reason, where it waits), on every limit and on every pause.
//!
//! No step depends on the time that passes: rates and debouncing are compared by the conformance suite. A longer run:
//! `cargo nextest run --release -p longshore-tests --test gates_agree --run-ignored only`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod redis_server;

use bytes::Bytes;
use longshore_link::embedded::Embedded;
use longshore_link::store::{Claim, Claimed, Finish, Finished, NewJob, PauseOrder, Report, Store};
use longshore_link::{Link, World};
use longshore_model::gate::{GateName, Gates, Length, LimitPolicy, OnFailure, Over, Pausable, WhenFull};
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::priority::Priority;
use longshore_model::record::{Admission, Reason, Start};
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Verdict};
use longshore_model::unique::{Unique, UniqueMode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;

const LEASE_MS: u64 = 600_000;
const TOPICS: [&str; 2] = ["a/b", "a/c"];
/// The last one is the own limit of the queue, which has one key.
const LIMITS: [&str; 3] = ["x", "y", "queue.main"];
/// Jobs of one sequence; steps name them by number.
const JOBS: usize = 16;

/// One thing that somebody does.
#[derive(Debug, Clone)]
enum Step {
    Send {
        job: usize,
        order: Option<u8>,
        limits: Vec<(usize, u8)>,
        turn: u8,
        priority: Priority,
        unique: Option<(u8, UniqueMode)>,
        late: bool,
    },
    Claim {
        job: usize,
    },
    Finish {
        job: usize,
        end: End,
    },
    Stop {
        job: usize,
    },
    Remove {
        job: usize,
    },
    Limit {
        limit: usize,
        policy: Option<(u32, Over)>,
    },
    Queue {
        max: Option<(u32, WhenFull)>,
        then: OnFailure,
    },
    Pause {
        what: usize,
        on: bool,
    },
    Promote,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Success,
    Retry,
    Later,
    Error,
}

/// Mostly the same key, so that jobs meet.
fn key() -> impl Strategy<Value = u8> {
    prop_oneof![4 => Just(0_u8), 1 => Just(1_u8)]
}

fn step() -> impl Strategy<Value = Step> {
    let mode = prop::sample::select(vec![UniqueMode::UntilStarted, UniqueMode::UntilFinished, UniqueMode::Latest]);
    let priority = prop::sample::select(vec![Priority::Normal, Priority::Normal, Priority::Urgent, Priority::Low]);
    let send = (
        0..JOBS,
        prop::option::weighted(0.3, 0..2_u8),
        prop::collection::vec((0..3_usize, key()), 0..4),
        (0..2_u8, priority),
        prop::option::weighted(0.3, (0..2_u8, mode)),
        prop::bool::weighted(0.1),
    );
    let end = prop::sample::select(vec![End::Success, End::Retry, End::Later, End::Error]);
    let over = prop::sample::select(vec![Over::Wait, Over::Wait, Over::Refuse, Over::Replace]);
    let full = prop::sample::select(WhenFull::ALL.to_vec());
    let then = prop::sample::select(OnFailure::ALL.to_vec());
    prop_oneof![
        14 => send.prop_map(|(job, order, limits, (turn, priority), unique, late)| Step::Send { job, order, limits, turn, priority, unique, late }),
        8 => (0..JOBS).prop_map(|job| Step::Claim { job }),
        8 => ((0..JOBS), end).prop_map(|(job, end)| Step::Finish { job, end }),
        1 => (0..JOBS).prop_map(|job| Step::Stop { job }),
        1 => (0..JOBS).prop_map(|job| Step::Remove { job }),
        5 => ((0..2_usize), prop::option::of(((1..3_u32), over))).prop_map(|(limit, policy)| Step::Limit { limit, policy }),
        2 => (prop::option::of((1..4_u32, full)), then).prop_map(|(max, then)| Step::Queue { max, then }),
        2 => ((0..4_usize), any::<bool>()).prop_map(|(what, on)| Step::Pause { what, on }),
        3 => Just(Step::Promote),
    ]
}

/// One store, and what its attempts were given.
struct Side {
    store: Arc<dyn Store>,
    fences: BTreeMap<JobId, Fence>,
}

fn owner() -> Owner {
    Owner { instance: InstanceId("me".into()), incarnation: Incarnation::new(1_700_000_000_000, [7; 16]) }
}

fn paused(what: usize) -> Pausable {
    match what {
        0 => Pausable::Queue("main".into()),
        3 => Pausable::All,
        1 => Pausable::Topic(TOPICS[0].into()),
        _ => Pausable::Key { queue: "main".into(), key: "0".into() },
    }
}

fn new_job(id: JobId, step: &Step) -> NewJob {
    let Step::Send { job, order, limits, turn, priority, unique, late } = step else {
        unreachable!("only sends make jobs")
    };
    let mut names: Vec<GateName> = limits
        .iter()
        .map(|(limit, key)| (*limit, if *limit == 2 { String::new() } else { key.to_string() }))
        .map(|(limit, key)| GateName::limit(LIMITS[limit], &key))
        .collect();
    names.dedup();
    let admission = Admission {
        id,
        topic: Topic::new(TOPICS[job % TOPICS.len()]).unwrap(),
        queue: "main".into(),
        start: if *late { Start::After(LEASE_MS) } else { Start::Now },
        max_retries: 1,
        max_crashes: 3,
        expires: None,
        gates: Gates {
            order: order.map(|key| GateName::order("main", &key.to_string())),
            limits: names,
            turn: turn.to_string(),
            priority: *priority,
        },
        unique: unique.map(|(key, mode)| Unique { key: key.to_string(), mode, ms: 0 }),
    };
    let envelope = Bytes::from(format!("{{\"v\":1,\"id\":\"{id}\",\"payload\":{job}}}"));
    NewJob { admission, envelope, labels: BTreeMap::new(), fields: BTreeMap::new(), again: false, retry_of: None }
}

impl Side {
    /// Does one step, and tells what was answered, without times and fences.
    async fn take(&mut self, step: &Step, ids: &[JobId]) -> String {
        let store = &self.store;
        match step {
            Step::Send { job, .. } => {
                let answer = store.enqueue(vec![new_job(ids[*job], step)]).await.unwrap().remove(0);
                let seen = |id: JobId| ids.iter().position(|other| *other == id);
                format!("{:?}", answer.map(|a| (seen(a.id), a.state, a.generation, a.existed, a.replaced)))
            }
            Step::Claim { job } => {
                let (generation, floor) = (Generation::default(), Fence::default());
                let claim = Claim { id: ids[*job], nonce: "n".into(), generation, floor, alone: true };
                let answer = store.claim(&owner(), LEASE_MS, vec![claim]).await.unwrap().remove(0);
                match answer {
                    Claimed::Known(Answer::Run { fence, attempt, failures, .. }) => {
                        self.fences.insert(ids[*job], fence);
                        format!("runs {attempt} {failures}")
                    }
                    Claimed::Known(Answer::Waiting { state, .. }) => format!("waits {state}"),
                    Claimed::Known(Answer::Busy { .. }) => "busy".to_owned(),
                    other => format!("{other:?}"),
                }
            }
            Step::Finish { job, end } => {
                let Some(fence) = self.fences.get(&ids[*job]) else { return "never ran".to_owned() };
                let (verdict, error) = match end {
                    End::Success => (Verdict::Succeeded { message: None }, ""),
                    End::Retry => (Verdict::failed(0, "e"), ""),
                    End::Later => (Verdict::failed(LEASE_MS, "e"), ""),
                    End::Error => (Verdict::Fatal { reason: Reason::Permanent, error: "e".into() }, ""),
                };
                let finish = Finish {
                    id: ids[*job],
                    fence: *fence,
                    verdict,
                    result: None,
                    outputs: Vec::new(),
                    report: Report::default(),
                    follow_ups: Vec::new(),
                };
                match store.finish(vec![finish]).await.unwrap().remove(0) {
                    Finished::Known { answer, generation, .. } => format!("{answer:?} {generation:?} {error}"),
                    other => format!("{other:?}"),
                }
            }
            Step::Stop { job } => format!("{:?}", store.stop("x", vec![ids[*job]]).await.unwrap()),
            Step::Remove { job } => format!("{:?}", store.remove(vec![ids[*job]]).await.unwrap()),
            Step::Limit { limit, policy } => {
                let policy = policy.map(|(max, over)| LimitPolicy { max: Some(max), over, ..LimitPolicy::default() });
                format!("{:?}", store.set_limit(LIMITS[*limit], policy.as_ref()).await.unwrap())
            }
            Step::Queue { max, then } => {
                let length = max.map(|(max, full)| Length { max, full });
                let policy = LimitPolicy { length, on_failure: *then, ..LimitPolicy::default() };
                format!("{:?}", store.set_limit(LIMITS[2], Some(&policy)).await.unwrap())
            }
            Step::Pause { what, on } => {
                let order = PauseOrder { by: "a".into(), why: "b".into(), until: None };
                format!("{:?}", store.set_pause(&paused(*what), on.then_some(&order)).await.unwrap())
            }
            Step::Promote => {
                let mut runnable = 0;
                loop {
                    let moved = store.promote(100).await.unwrap();
                    runnable += moved.runnable.len();
                    if !moved.more {
                        return format!("{runnable}");
                    }
                }
            }
        }
    }

    /// Everything that both must agree on.
    async fn picture(&self, ids: &[JobId]) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, record) in self.store.records(ids.to_vec()).await.unwrap().into_iter().enumerate() {
            let Some(record) = record else { continue };
            lines.push(format!(
                "{number}: {} {:?} {:?} generation {:?} outbox {} {}",
                record.state,
                record.reason,
                record.waits_at,
                record.generation,
                record.outbox.is_some(),
                record.gates.lines().replace('\n', " "),
            ));
        }
        lines.push(format!("{:?}", self.store.limits().await.unwrap()));
        for pause in self.store.pauses().await.unwrap() {
            lines.push(format!("{} {} {}", pause.what, pause.waiting, pause.order.why));
        }
        assert_eq!(self.store.ledger().await.unwrap().drifts(), []);
        lines
    }

    /// A round of scrubbing finds nothing to mend: indexes, keys and places at gates agree with the records.
    async fn is_sound(&self) {
        let mut round = false;
        while !round {
            let step = self.store.scrub(1_000).await.unwrap();
            assert_eq!(step.mended.total(), 0, "{step:?}");
            round = step.round;
        }
    }

    /// What every store must keep, whatever happened.
    async fn check(&self, ids: &[JobId]) {
        let records: Vec<_> = self.store.records(ids.to_vec()).await.unwrap().into_iter().flatten().collect();
        for limit in self.store.limits().await.unwrap() {
            for key in limit.shown {
                let gate = GateName::limit(&limit.name, &key.key);
                let inside = records
                    .iter()
                    .filter(|record| record.state.holds_limits() && record.gates.limits.contains(&gate))
                    .count();
                assert!(key.passed <= inside as u64, "{gate}: {} passed, {inside} are there", key.passed);
            }
        }
        for order in ["0", "1"].map(|key| GateName::order("main", key)) {
            let running = records
                .iter()
                .filter(|record| record.state.holds_limits() && record.gates.order.as_ref() == Some(&order));
            assert!(running.count() <= 1, "{order}");
        }
    }
}

#[test]
fn both_stores_agree_on_random_sequences_of_gates_and_unique_keys() {
    compare(40);
}

#[test]
#[ignore = "100 000 steps take a quarter of an hour"]
fn both_stores_agree_on_a_hundred_thousand_steps() {
    compare(2_500);
}

fn compare(cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let server = runtime.block_on(redis_server::Server::start());
    let redis = runtime.block_on(server.store());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 2_000, ..Config::default() };
    let run = TestRunner::new(config).run(&prop::collection::vec(step(), 20..80), |steps| {
        runtime.block_on(async {
            let world = World::system();
            let embedded = Embedded::new(&world).link(world.clone());
            redis.erase().await.unwrap();
            agree(&embedded, redis.clone(), &steps).await
        })
    });
    if let Err(error) = run {
        panic!("{error}");
    }
}

async fn agree(embedded: &Link, redis: Arc<dyn Store>, steps: &[Step]) -> Result<(), TestCaseError> {
    let ids: Vec<JobId> = (0..JOBS).map(|_| embedded.world.job_id(None)).collect();
    let mut sides = [embedded.store.clone(), redis].map(|store| Side { store, fences: BTreeMap::new() });
    for (number, step) in steps.iter().enumerate() {
        let [left, right] = &mut sides;
        let answers = (left.take(step, &ids).await, right.take(step, &ids).await);
        prop_assert_eq!(&answers.0, &answers.1, "step {}: {:?}", number, step);
        let (embedded, redis) = (left.picture(&ids).await, right.picture(&ids).await);
        prop_assert_eq!(embedded, redis, "after step {}: {:?}", number, step);
        left.check(&ids).await;
    }
    for side in &sides {
        side.is_sound().await;
    }
    Ok(())
}
