//! What cases are written with: two processes, and short words for what every case does.

use crate::broker::{Consumption, Copies, Delivery, Headers, Intake, Letters, Message, Target};
use crate::connect::Link;
use crate::store::{Accepted, Claim, Claimed, Controlled, Finish, Finished, Moved, NewJob, Query, Renew, Report};
use async_trait::async_trait;
use bytes::Bytes;
use longshore_model::gate::Gates;
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::lane::Lane;
use longshore_model::ledger::Ledger;
use longshore_model::priority::Priority;
use longshore_model::record::{Admission, Reason, Record, Start, State};
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Verdict};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

/// The topic of jobs that need no particular one.
pub const TOPIC: &str = "test/one";

/// A lease that does not end while a case runs, ms.
pub(super) const LONG: u64 = 600_000;
/// What a broker has to be set to that runs the suite: most bytes in quarantine.
pub const QUARANTINE_BYTES: u64 = 1024 * 1024;

/// What has to happen happens within this.
const DEADLINE: Duration = Duration::from_secs(15);

/// Two processes on one backend.
#[derive(Debug)]
pub struct Bench {
    /// The process that does most of the work.
    pub a: Link,
    /// Another one.
    pub b: Link,
    /// What the traits cannot do.
    pub hooks: Arc<dyn Hooks>,
}

/// A message among the letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// As published.
    pub message_id: String,
    /// As published.
    pub reason: Option<String>,
    /// As published.
    pub body: Bytes,
}

/// What a case does to a backend from outside.
#[async_trait]
pub trait Hooks: Send + Sync + Debug {
    /// What lies in a place for people, oldest first.
    async fn letters(&self, place: Letters) -> Vec<Letter>;

    /// Deletes a lane.
    async fn delete_lane(&self, lane: &Lane);

    /// The store takes an instance's last beat for one of so much longer ago, ms.
    async fn set_back(&self, instance: &InstanceId, ms: u64);
}

pub(super) fn topic(text: &str) -> Topic {
    Topic::new(text).unwrap()
}

/// The lane of a topic's jobs that are not urgent.
pub(super) fn normal(text: &str) -> Lane {
    topic(text).into()
}

/// The lane of a topic's urgent jobs.
pub(super) fn high(text: &str) -> Lane {
    Lane::high(topic(text))
}

/// A job, in a hurry.
pub(super) fn urgent(mut job: NewJob) -> NewJob {
    job.admission.gates.priority = Priority::Urgent;
    job
}

/// The lane of a topic's jobs that are to run at a site and are not urgent.
pub(super) fn at(text: &str, site: &str) -> Lane {
    Lane { site: Some(site.parse().unwrap()), ..normal(text) }
}

/// An incarnation of an instance; later starts are newer.
pub(super) fn owner(instance: &str, start: u64) -> Owner {
    let incarnation = Incarnation::new(1_700_000_000_000 + start, [7; 16]);
    Owner { instance: InstanceId(instance.into()), incarnation }
}

pub(super) fn me() -> Owner {
    owner("me", 1)
}

pub(super) fn succeeded() -> Verdict {
    Verdict::Succeeded { message: None }
}

pub(super) fn failed(delay_ms: u64) -> Verdict {
    Verdict::failed(delay_ms, "no luck")
}

pub(super) fn permanent() -> Verdict {
    Verdict::Fatal { reason: Reason::Permanent, error: "no use".into() }
}

pub(super) fn finish(id: JobId, fence: Fence, verdict: Verdict) -> Finish {
    Finish { id, fence, verdict, result: None, outputs: Vec::new(), report: Report::default(), follow_ups: Vec::new() }
}

pub(super) fn answer(finished: &Finished) -> &Answer {
    match finished {
        Finished::Known { answer, .. } => answer,
        other => panic!("expected an answer: {other:?}"),
    }
}

pub(super) fn everything() -> Query {
    Query { limit: 1_000, ..Query::default() }
}

impl Bench {
    /// A job on [`TOPIC`], not accepted yet: two retries, three crashes.
    pub(super) fn job(&self) -> NewJob {
        self.job_on(TOPIC)
    }

    pub(super) fn job_on(&self, on: &str) -> NewJob {
        let admission = Admission {
            id: self.a.world.job_id(None),
            topic: topic(on),
            queue: "main".into(),
            start: Start::Now,
            max_retries: 2,
            max_crashes: 3,
            expires: None,
            gates: Gates::default(),
            site: None,
            unique: None,
        };
        NewJob {
            admission,
            envelope: Bytes::from_static(b"{\"v\":1}"),
            labels: BTreeMap::new(),
            fields: BTreeMap::new(),
            again: false,
            retry_of: None,
        }
    }

    /// Accepts a job and answers its id.
    pub(super) async fn accept(&self, job: NewJob) -> JobId {
        let id = job.admission.id;
        self.enqueue(job).await;
        id
    }

    pub(super) async fn enqueue(&self, job: NewJob) -> Accepted {
        self.a.store.enqueue(vec![job]).await.unwrap().remove(0).unwrap()
    }

    /// Accepts a plain job.
    pub(super) async fn queued(&self) -> JobId {
        self.accept(self.job()).await
    }

    pub(super) async fn claim_as(&self, owner: &Owner, lease_ms: u64, claim: Claim) -> Claimed {
        self.a.store.claim(owner, lease_ms, vec![claim]).await.unwrap().remove(0)
    }

    /// Claims under a lease of this length and answers the fence.
    pub(super) async fn run_for(&self, owner: &Owner, id: JobId, lease_ms: u64) -> Fence {
        match self.claim_as(owner, lease_ms, self.claim(id)).await {
            Claimed::Known(Answer::Run { fence, .. }) => fence,
            other => panic!("{id} should run: {other:?}"),
        }
    }

    /// Takes back what has expired, as an instance does that renews.
    pub(super) async fn rescue(&self, limit: usize) -> Moved {
        let renew = Renew { owner: owner("alive", 1), lease_ms: LONG, beat_ms: LONG, running: Vec::new(), known: None };
        self.b.store.heart().await.unwrap().renew(&renew).await.unwrap();
        self.b.store.rescue(limit, LONG).await.unwrap()
    }

    /// Claims under a long lease and answers the fence.
    pub(super) async fn run(&self, id: JobId) -> Fence {
        self.run_for(&me(), id, LONG).await
    }

    /// A plain job that runs.
    pub(super) async fn running(&self) -> (JobId, Fence) {
        let id = self.queued().await;
        (id, self.run(id).await)
    }

    /// A claim of a delivery that nobody claimed before, of a copy that carries nothing, by a process that runs nothing
    /// else.
    pub(super) fn claim(&self, id: JobId) -> Claim {
        let nonce = format!("{:x}", self.a.world.random.next());
        Claim { id, nonce, generation: Generation::default(), floor: Fence::default(), alone: true }
    }

    pub(super) async fn finish(&self, id: JobId, fence: Fence, verdict: Verdict) -> Answer {
        let finished = self.a.store.finish(vec![finish(id, fence, verdict)]).await.unwrap().remove(0);
        answer(&finished).clone()
    }

    /// A job that succeeded.
    pub(super) async fn done(&self) -> JobId {
        let (id, fence) = self.running().await;
        assert_eq!(self.finish(id, fence, succeeded()).await, Answer::Moved { state: State::Succeeded });
        id
    }

    pub(super) async fn stop(&self, id: JobId) -> Controlled {
        self.a.store.stop("an operator", vec![id]).await.unwrap().remove(0)
    }

    pub(super) async fn remove(&self, id: JobId) -> Controlled {
        self.a.store.remove(vec![id]).await.unwrap().remove(0)
    }

    pub(super) async fn record(&self, id: JobId) -> Record {
        self.maybe(id).await.expect("the job should exist")
    }

    pub(super) async fn maybe(&self, id: JobId) -> Option<Record> {
        self.b.store.records(vec![id]).await.unwrap().remove(0)
    }

    pub(super) async fn state(&self, id: JobId) -> State {
        self.record(id).await.state
    }

    pub(super) async fn find(&self, query: Query) -> Vec<JobId> {
        self.a.store.find(query).await.unwrap().jobs
    }

    pub(super) async fn ledger(&self) -> Ledger {
        self.b.store.ledger().await.unwrap()
    }

    /// Whatever a case did: what was accepted is accounted for, and indexes agree with records.
    pub async fn balanced(&self) {
        let ledger = self.ledger().await;
        assert_eq!(ledger.drifts(), [], "{ledger:?}");
        let ids = self.b.store.find(Query { states: vec![State::Queued], ..everything() }).await.unwrap().jobs;
        let mut placed: BTreeMap<Lane, u64> = BTreeMap::new();
        for record in self.b.store.records(ids).await.unwrap().into_iter().flatten() {
            if record.site.is_some() {
                *placed.entry(Lane { high: false, ..record.lane() }).or_default() += 1;
            }
        }
        assert_eq!(self.b.store.queued_at().await.unwrap(), placed);
        self.sound().await;
    }

    /// A round of scrubbing finds nothing to mend.
    pub(super) async fn sound(&self) {
        let mut round = false;
        while !round {
            let step = self.b.store.scrub(1_000).await.unwrap();
            assert_eq!(step.mended.total(), 0, "{step:?}");
            round = step.round;
        }
    }

    pub(super) async fn sleep(&self, ms: u64) {
        self.a.world.clock.sleep(Duration::from_millis(ms)).await;
    }

    /// Asks until the answer is yes.
    pub(super) async fn eventually(&self, what: &str, mut ask: impl AsyncFnMut() -> bool) {
        let clock = &self.a.world.clock;
        let asking = async {
            while !ask().await {
                clock.sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(clock.timeout(DEADLINE, asking).await.is_some(), "in time: {what}");
    }

    /// Waits until so many messages wait in a lane; `None`: until there is no such lane. A broker may take a moment to count.
    pub(super) async fn depth(&self, lane: &Lane, expected: Option<u64>) {
        let what = format!("{expected:?} messages in {lane}");
        self.eventually(&what, async || self.b.broker.depth(lane).await.unwrap() == expected).await;
    }

    /// Waits until so many copies lie in a place.
    pub(super) async fn copies(&self, place: &Copies, expected: u64) {
        let what = format!("{expected} copies lie in {place:?}");
        self.eventually(&what, async || self.b.broker.count_copies(place).await.unwrap() == Some(expected)).await;
    }

    /// Waits until so many unrouted letters have been moved into their lanes, and no more.
    pub(super) async fn rerouted(&self, expected: u64) {
        let mut moved = 0;
        let all = async || {
            moved += self.b.broker.reroute(10).await.unwrap();
            moved == expected
        };
        self.eventually(&format!("{expected} are moved"), all).await;
    }

    pub(super) async fn within<A>(&self, what: &str, future: impl Future<Output = A>) -> A {
        self.a.world.clock.timeout(DEADLINE, future).await.unwrap_or_else(|| panic!("in time: {what}"))
    }

    /// Publishes messages of these ids and expects every confirm.
    pub(super) async fn publish(&self, target: &Target, ids: &[&str]) {
        let messages = ids.iter().map(|id| message(target.clone(), id)).collect();
        for result in self.a.broker.publish(messages).await {
            result.unwrap();
        }
    }

    /// A session of the second process on one lane.
    pub(super) async fn consume(&self, lane: &str, prefetch: u16) -> Box<dyn Consumption> {
        let mut session = self.b.broker.consume().await.unwrap();
        session.add(&normal(lane), prefetch).await.unwrap();
        session
    }

    pub(super) async fn delivery(&self, session: &mut Box<dyn Consumption>) -> Delivery {
        match self.within("a delivery", session.next()).await {
            Intake::Delivery(delivery) => delivery,
            other => panic!("expected a delivery: {other:?}"),
        }
    }

    /// The ids of the next deliveries, in order, which stay unsettled.
    pub(super) async fn deliveries(&self, session: &mut Box<dyn Consumption>, count: usize) -> Vec<Delivery> {
        let mut found = Vec::new();
        for _ in 0..count {
            found.push(self.delivery(session).await);
        }
        found
    }

    /// Nothing comes for a while.
    pub(super) async fn quiet(&self, session: &mut Box<dyn Consumption>) {
        let next = self.a.world.clock.timeout(Duration::from_millis(300), session.next()).await;
        assert!(next.is_none(), "nothing should come: {next:?}");
    }
}

pub(super) fn message(target: Target, id: &str) -> Message {
    let body = Bytes::from(format!("{{\"n\":\"{id}\"}}"));
    Message { target, message_id: id.into(), headers: Headers::default(), body }
}

pub(super) fn ids(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().filter_map(|delivery| delivery.message_id.as_deref()).collect()
}
