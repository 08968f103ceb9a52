//! Random sequences of everything that job handling does, on the embedded store and on Redis: gates, unique keys, queues
//! that are applied, attempts that are ended by their instance or by a token, processes that die, jobs that are sent
//! again, history that is purged, schedules, listings and templates. Both must agree after each step on every job (state,
//! reason, where it waits), on every limit, pause and schedule, and on the queues.
//!
//! No step depends on the time that passes: rates and debouncing are compared by the conformance suite. A longer run:
//! `cargo nextest run --release -p longshore-tests --test gates_agree --run-ignored only`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

mod agree_schedules;
mod redis_server;

use bytes::Bytes;
use longshore_link::embedded::Embedded;
use longshore_link::store::{
    Claim, Claimed, Complete, Finish, Finished, NewJob, PauseOrder, Query, Renew, Report, Retention, Store,
};
use longshore_link::{Link, World};
use longshore_model::gate::{GateName, Gates, Length, LimitPolicy, OnFailure, Over, Pausable, WhenFull};
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::priority::Priority;
use longshore_model::record::{Admission, Reason, Start, State};
use longshore_model::template::Template;
use longshore_model::token::Token;
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Verdict};
use longshore_model::unique::{Unique, UniqueMode};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use std::sync::Arc;

const LEASE_MS: u64 = 600_000;
const LABELS: [&str; 2] = ["l", "r"];
const TOPICS: [&str; 2] = ["a/b", "a/c"];
/// The last one is the own limit of the queue, which has one key.
const LIMITS: [&str; 3] = ["x", "y", "queue.main"];
/// Jobs that are sent in one sequence; steps name them by number.
const JOBS: usize = 16;
/// Those, and the first ones that schedules send.
const NAMED: usize = JOBS + 6;
/// When a sequence begins, for its schedules.
const BEGUN_MS: u64 = 1_800_000_000_000;

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
        retry_of: Option<usize>,
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
    Complete {
        job: usize,
        end: End,
        mark: u8,
        forged: bool,
    },
    Crash,
    Queues {
        max: Option<u32>,
        late: bool,
    },
    Purge {
        succeeded: bool,
        failed: bool,
    },
    Find {
        states: Vec<State>,
        topic: Option<usize>,
        label: Option<usize>,
        least: usize,
    },
    Schedule(agree_schedules::Step),
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
        prop::collection::vec((0..LIMITS.len(), key()), 0..4),
        (0..2_u8, priority),
        prop::option::weighted(0.3, (0..2_u8, mode)),
        (prop::bool::weighted(0.1), prop::option::weighted(0.05, 0..JOBS)),
    );
    let states = vec![State::Queued, State::Blocked, State::Active, State::Retrying, State::Succeeded, State::Dropped];
    let states = prop::sample::subsequence(states, 0..4);
    let end = prop::sample::select(vec![End::Success, End::Retry, End::Later, End::Error]);
    let over = prop::sample::select(vec![Over::Wait, Over::Wait, Over::Refuse, Over::Replace]);
    let full = prop::sample::select(WhenFull::ALL.to_vec());
    let then = prop::sample::select(OnFailure::ALL.to_vec());
    prop_oneof![
        14 => send.prop_map(|(job, order, limits, (turn, priority), unique, (late, retry_of))| {
            Step::Send { job, order, limits, turn, priority, unique, late, retry_of }
        }),
        8 => (0..NAMED).prop_map(|job| Step::Claim { job }),
        6 => ((0..NAMED), end.clone()).prop_map(|(job, end)| Step::Finish { job, end }),
        3 => ((0..NAMED), end, 0..2_u8, prop::bool::weighted(0.1))
            .prop_map(|(job, end, mark, forged)| Step::Complete { job, end, mark, forged }),
        1 => (0..NAMED).prop_map(|job| Step::Stop { job }),
        1 => (0..NAMED).prop_map(|job| Step::Remove { job }),
        1 => Just(Step::Crash),
        2 => (prop::option::of(1..3_u32), prop::bool::weighted(0.2)).prop_map(|(max, late)| Step::Queues { max, late }),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(succeeded, failed)| Step::Purge { succeeded, failed }),
        2 => (states, prop::option::of(0..2_usize), prop::option::of(0..2_usize), 0..JOBS)
            .prop_map(|(states, topic, label, least)| Step::Find { states, topic, label, least }),
        6 => agree_schedules::step().prop_map(Step::Schedule),
        5 => ((0..2_usize), prop::option::of(((1..3_u32), over))).prop_map(|(limit, policy)| Step::Limit { limit, policy }),
        2 => (prop::option::of((1..4_u32, full)), then).prop_map(|(max, then)| Step::Queue { max, then }),
        2 => ((0..4_usize), any::<bool>()).prop_map(|(what, on)| Step::Pause { what, on }),
        3 => Just(Step::Promote),
    ]
}

/// One store, and what its attempts were given.
struct Side {
    store: Arc<dyn Store>,
    /// The fence and the number of the last attempt of each job.
    runs: BTreeMap<JobId, (Fence, u32)>,
    /// The jobs of the sequence, and those that schedules sent, in the order in which they were.
    ids: Vec<JobId>,
    now: u64,
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
    let Step::Send { job, order, limits, turn, priority, unique, late, .. } = step else {
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
        site: None,
        expires: None,
        gates: Gates {
            order: order.map(|key| GateName::order("main", &key.to_string())),
            limits: names,
            turn: turn.to_string(),
            priority: *priority,
        },
        unique: unique.map(|(key, mode)| Unique { key: key.to_string(), mode, ms: 0 }),
    };
    let envelope = Bytes::from(format!("{{\"v\":1,\"id\":\"{id}\",\"payload\":{{\"n\":{job}}}}}"));
    let labels = [("side".to_owned(), LABELS[job % LABELS.len()].to_owned())].into();
    NewJob { admission, envelope, labels, fields: BTreeMap::new(), again: false, retry_of: None }
}

fn verdict(end: End) -> Verdict {
    match end {
        End::Success => Verdict::Succeeded { message: None },
        End::Retry => Verdict::failed(0, "e"),
        End::Later => Verdict::failed(LEASE_MS, "e"),
        End::Error => Verdict::Fatal { reason: Reason::Permanent, error: "e".into() },
    }
}

impl Side {
    /// Does one step, and tells what was answered, without times and fences.
    async fn take(&mut self, step: &Step, fresh: JobId) -> String {
        let (store, ids) = (&self.store, &self.ids);
        if matches!(step, Step::Claim { job } | Step::Finish { job, .. } | Step::Complete { job, .. }
            | Step::Stop { job } | Step::Remove { job } if *job >= ids.len())
        {
            return "no such job yet".to_owned();
        }
        match step {
            Step::Send { job, retry_of, .. } => {
                let retry_of = retry_of.filter(|old| old != job).map(|old| ids[old]);
                let new = NewJob { retry_of, ..new_job(ids[*job], step) };
                let answer = store.enqueue(vec![new]).await.unwrap().remove(0);
                let seen = |id: JobId| ids.iter().position(|other| *other == id);
                format!("{:?}", answer.map(|a| (seen(a.id), a.state, a.generation, a.existed, a.replaced)))
            }
            Step::Claim { job } => {
                let (generation, floor) = (Generation::default(), Fence::default());
                let claim = Claim { id: ids[*job], nonce: "n".into(), generation, floor, alone: true };
                let answer = store.claim(&owner(), LEASE_MS, vec![claim]).await.unwrap().remove(0);
                match answer {
                    Claimed::Known(Answer::Run { fence, attempt, failures, .. }) => {
                        self.runs.insert(ids[*job], (fence, attempt));
                        format!("runs {attempt} {failures}")
                    }
                    Claimed::Known(Answer::Waiting { state, .. }) => format!("waits {state}"),
                    Claimed::Known(Answer::Busy { .. }) => "busy".to_owned(),
                    other => format!("{other:?}"),
                }
            }
            Step::Finish { job, end } => {
                let Some((fence, _)) = self.runs.get(&ids[*job]) else { return "never ran".to_owned() };
                let finish = Finish {
                    id: ids[*job],
                    fence: *fence,
                    verdict: verdict(*end),
                    result: None,
                    outputs: Vec::new(),
                    report: Report::default(),
                    follow_ups: Vec::new(),
                };
                match store.finish(vec![finish]).await.unwrap().remove(0) {
                    Finished::Known { answer, generation, let_through, .. } => {
                        let seen = |id: JobId| ids.iter().position(|other| *other == id);
                        let next = let_through.into_iter().map(|job| (seen(job.id), job.generation));
                        format!("{answer:?} {generation:?} {:?}", next.collect::<Vec<_>>())
                    }
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
            Step::Complete { job, end, mark, forged } => {
                let Some((fence, attempt)) = self.runs.get(&ids[*job]) else { return "never ran".to_owned() };
                let nonce = if *forged { "guessed" } else { "n" }.to_owned();
                let token = Token {
                    id: ids[*job],
                    attempt: *attempt,
                    fence: *fence,
                    delay_ms: 0,
                    retry_for_ms: None,
                    kinds: BTreeMap::new(),
                    nonce,
                };
                let completion = Complete { token, mark: mark.to_string(), verdict: verdict(*end), result: None };
                format!("{:?}", store.complete(completion).await.unwrap())
            }
            Step::Crash => {
                let heart = Renew {
                    owner: Owner { instance: InstanceId("alive".into()), ..owner() },
                    lease_ms: LEASE_MS,
                    beat_ms: LEASE_MS,
                    running: Vec::new(),
                    known: None,
                };
                store.heart().await.unwrap().renew(&heart).await.unwrap();
                let next = Owner { incarnation: Incarnation::new(1_700_000_000_001, [7; 16]), ..owner() };
                let ended = store.bury(&next).await.unwrap();
                let moved = store.rescue(100, LEASE_MS).await.unwrap();
                format!("{ended} ended, {} run again", moved.runnable.len())
            }
            Step::Queues { max, late } => {
                let version = store.queues().await.unwrap().map_or(0, |set| set.version);
                let policy = |max| LimitPolicy { max: Some(max), ..LimitPolicy::default() };
                let limits: Vec<_> = max.map(|max| ("queue.main".to_owned(), policy(max))).into_iter().collect();
                let text = format!("{max:?}");
                let set =
                    store.set_queues(version.saturating_sub(u64::from(*late)), "x", &text, &limits).await.unwrap();
                format!("{} {} {}", set.version, set.by, set.text)
            }
            Step::Purge { succeeded, failed } => {
                let now = |gone: &bool| if *gone { 0 } else { LEASE_MS };
                let retention = Retention::of(now(succeeded), now(failed));
                format!("{:?}", store.purge(&retention, 100).await.unwrap())
            }
            Step::Find { states, topic, label, least } => {
                let query = Query {
                    states: states.clone(),
                    topic: topic.map(|topic| TOPICS[topic].parse().unwrap()),
                    labels: label.map(|label| ("side".to_owned(), LABELS[label].to_owned())).into_iter().collect(),
                    limit: 1_000,
                    ..Query::default()
                };
                let page = store.find(query).await.unwrap();
                let template = Template::of([format!("n>={least}")]).unwrap();
                let fits = store.load(page.jobs.clone()).await.unwrap().into_iter().flatten().filter(|snapshot| {
                    let envelope: serde_json::Value = serde_json::from_slice(&snapshot.envelope).unwrap();
                    template.fits(&envelope["payload"].to_string())
                });
                let fits = fits.count();
                let mut found: Vec<_> = page.jobs.iter().map(|id| ids.iter().position(|other| other == id)).collect();
                found.sort_unstable();
                format!("{found:?} {fits} {:?}", page.next)
            }
            Step::Schedule(step) => {
                if let agree_schedules::Step::Fire { minutes, .. } = step {
                    self.now += minutes * agree_schedules::EVERY_MS;
                }
                let mut sent = Vec::new();
                let answer = agree_schedules::take(store.as_ref(), *step, self.now, fresh, &mut sent).await;
                sent.retain(|id| !self.ids.contains(id));
                let answer = format!("{answer} {sent:?}");
                self.ids.extend(sent);
                answer
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
    async fn picture(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (number, record) in self.store.records(self.ids.clone()).await.unwrap().into_iter().enumerate() {
            let Some(record) = record else { continue };
            lines.push(format!(
                "{number}: {} {:?} {:?} generation {:?} outbox {} attempts {} crashes {} retried {} {}",
                record.state,
                record.reason,
                record.waits_at,
                record.generation,
                record.outbox.is_some(),
                record.attempts,
                record.crashes,
                record.retried_as.is_some(),
                record.gates.lines().replace('\n', " "),
            ));
        }
        lines.push(format!("{:?}", self.store.limits().await.unwrap()));
        for pause in self.store.pauses().await.unwrap() {
            lines.push(format!("{} {} {}", pause.what, pause.waiting, pause.order.why));
        }
        let set = self.store.queues().await.unwrap().map(|set| (set.version, set.text));
        lines.push(format!("{set:?} {}", self.store.past_queues().await.unwrap().len()));
        lines.extend(agree_schedules::picture(self.store.as_ref()).await);
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
    async fn check(&self) {
        let records: Vec<_> = self.store.records(self.ids.clone()).await.unwrap().into_iter().flatten().collect();
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
fn both_stores_agree_on_random_sequences_of_job_handling() {
    compare(25);
}

#[test]
#[ignore = "100 000 steps take a quarter of an hour"]
fn both_stores_agree_on_a_hundred_thousand_steps() {
    compare(2_500);
}

/// Random sequences found it: one store forgot to look at a limit that counted whoever ran already when it was set.
#[tokio::test]
async fn both_stores_look_at_a_limit_that_is_set_while_a_job_runs() {
    let send = |job| Step::Send {
        job,
        order: None,
        limits: vec![(2, 0)],
        turn: 0,
        priority: Priority::Normal,
        unique: None,
        late: false,
        retry_of: None,
    };
    let apply = Step::Queues { max: Some(1), late: false };
    let pause = Step::Pause { what: 0, on: true };
    let claim = |job| Step::Claim { job };
    let steps = [send(0), send(1), claim(1), apply, claim(0), pause, Step::Promote];
    let server = redis_server::Server::start().await;
    let world = World::system();
    agree(&Embedded::new(&world).link(world.clone()), server.store().await, &steps).await.unwrap();
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
    let side = |store| Side { store, runs: BTreeMap::new(), ids: ids.clone(), now: BEGUN_MS };
    let mut sides = [embedded.store.clone(), redis].map(side);
    for (number, step) in steps.iter().enumerate() {
        let [left, right] = &mut sides;
        let fresh = embedded.world.job_id(None);
        let answers = (left.take(step, fresh).await, right.take(step, fresh).await);
        prop_assert_eq!(&answers.0, &answers.1, "step {}: {:?}", number, step);
        let (embedded, redis) = (left.picture().await, right.picture().await);
        prop_assert_eq!(embedded, redis, "after step {}: {:?}", number, step);
        left.check().await;
    }
    for side in &sides {
        side.is_sound().await;
    }
    Ok(())
}
