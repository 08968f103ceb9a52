//! Each step of the protocol with its reply cut off, twenty times: whoever repeats it brings about what one call would
//! have, and nothing twice.
//!
//! Every step happens to two jobs that were prepared alike: once in one call, once in a call that gets through and
//! whose reply is lost, followed by its repetition. What the store holds of the two may differ in times, fences and
//! ids only.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed step is a failed test; counts are the result")]

mod redis_server;

use longshore_link::World;
use longshore_link::error::Fault;
use longshore_link::schedules::{Changed, Expect, ScheduleChange};
use longshore_link::store::{
    Adopt, Beat, Claim, Claimed, Depleted, Finish, Finished, NewJob, Rebuild, Renew, Report, Retention, Store,
};
use longshore_model::envelope::Envelope;
use longshore_model::id::{Fence, Generation, JobId, Owner};
use longshore_model::lane::Lane;
use longshore_model::queue::Queues;
use longshore_model::record::{Reason, Start, State};
use longshore_model::schedule::{Missed, Overlap, Spec, Template, Timing, UTC, change};
use longshore_model::snapshot::{Progress, Snapshot};
use longshore_model::topic::Topic;
use longshore_model::topology::Card;
use longshore_model::transition::{Answer, Verdict};
use longshore_tests::proxy::Proxy;
use redis_server::{Server, claim, eventually, job, owner, redis_store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the reply of each step is cut.
const TIMES: usize = 20;
const LONG: u64 = 600_000;
/// A lease or a delay that is over when the next call comes.
const SHORT: u64 = 1;
const TOPIC: &str = "cut/short";

/// What can be asked of the store, each from the state in which it does something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Enqueue,
    Schedule,
    Published,
    Claim,
    Rebuild,
    Adopt,
    Succeed,
    Retry,
    GiveUp,
    Release,
    Report,
    Renew,
    Beat,
    Leave,
    Rescue,
    Bury,
    Promote,
    Outbox,
    Republish,
    Purge,
    StopWaiting,
    StopRunning,
    RemoveWaiting,
    RemoveEnded,
    Watch,
    Know,
    Fire,
}

const STEPS: [Step; 27] = [
    Step::Enqueue,
    Step::Schedule,
    Step::Published,
    Step::Claim,
    Step::Rebuild,
    Step::Adopt,
    Step::Succeed,
    Step::Retry,
    Step::GiveUp,
    Step::Release,
    Step::Report,
    Step::Renew,
    Step::Beat,
    Step::Leave,
    Step::Rescue,
    Step::Bury,
    Step::Promote,
    Step::Outbox,
    Step::Republish,
    Step::Purge,
    Step::StopWaiting,
    Step::StopRunning,
    Step::RemoveWaiting,
    Step::RemoveEnded,
    Step::Watch,
    Step::Know,
    Step::Fire,
];

/// A job before a step, and what the call says.
#[derive(Debug, Clone)]
struct Case {
    step: Step,
    job: NewJob,
    fence: Fence,
    me: Owner,
    /// The job that follows when this one succeeds.
    next: NewJob,
}

fn verdict(step: Step) -> Verdict {
    match step {
        Step::Retry => Verdict::failed(LONG, "once more"),
        Step::GiveUp => Verdict::Fatal { reason: Reason::Permanent, error: "never".into() },
        Step::Release => {
            Verdict::Released { delay_ms: 0, reason: Reason::Interrupted, message: "somebody else".into() }
        }
        _ => Verdict::Succeeded { message: Some("well done".into()) },
    }
}

fn finish(id: JobId, fence: Fence, verdict: Verdict, follow_ups: Vec<NewJob>) -> Finish {
    let result = Some("7".to_owned());
    Finish { id, fence, verdict, result, outputs: Vec::new(), report: Report::default(), follow_ups }
}

/// The broker has no copies any more.
fn lost_copies() -> [Depleted; 1] {
    [Depleted { lane: Topic::new(TOPIC).unwrap().into(), copies: None }]
}

fn card(owner: Owner) -> Card {
    Card { name: owner.instance.to_string(), cluster: "cut".into(), slots: 1, ..Card::bare(owner) }
}

impl Case {
    fn id(&self) -> JobId {
        self.job.admission.id
    }

    fn claim(&self) -> Claim {
        claim(self.id(), "delivery")
    }

    async fn run(&mut self, store: &dyn Store, lease_ms: u64) {
        match store.claim(&self.me, lease_ms, vec![self.claim()]).await.unwrap().remove(0) {
            Claimed::Known(Answer::Run { fence, .. }) => self.fence = fence,
            other => panic!("{other:?}"),
        }
    }

    /// A job in the state in which the step does something.
    async fn prepare(step: Step, who: &str, store: &dyn Store) -> Self {
        let mut job = job(TOPIC);
        let me = owner(who, 1);
        match step {
            Step::Schedule => job.admission.start = Start::After(LONG),
            Step::Promote => job.admission.start = Start::After(SHORT),
            _ => {}
        }
        // Fences of the store's clock: this one is newer than all of them.
        let ahead = Fence((store.ping().await.unwrap() + LONG) * 1_000);
        let next = self::job(TOPIC);
        let mut case = Self { step, job, fence: ahead, me, next };
        if !matches!(step, Step::Enqueue | Step::Schedule | Step::Rebuild | Step::Adopt) {
            store.enqueue(vec![case.job.clone()]).await.unwrap().remove(0).unwrap();
        }
        match step {
            Step::Republish | Step::Outbox => store.published(vec![(case.id(), Generation(1))]).await.unwrap(),
            Step::Succeed | Step::Retry | Step::GiveUp | Step::Release | Step::Report | Step::Renew => {
                case.run(store, LONG).await;
            }
            Step::StopRunning | Step::Bury => case.run(store, LONG).await,
            Step::Rescue => {
                case.run(store, SHORT).await;
                // Nothing is rescued before somebody has renewed.
                let (owner, running) = (owner("somebody", 1), Vec::new());
                let renew = Renew { owner, lease_ms: LONG, beat_ms: LONG, running, known: None };
                store.heart().await.unwrap().renew(&renew).await.unwrap();
            }
            Step::Purge | Step::RemoveEnded => {
                case.run(store, LONG).await;
                store.finish(vec![finish(case.id(), case.fence, verdict(step), Vec::new())]).await.unwrap();
            }
            Step::Fire => case.define(store).await,
            Step::Leave => {
                let beat = Beat { card: card(case.me.clone()), reached: 0, lease_ms: LONG };
                store.heart().await.unwrap().beat(&beat).await.unwrap();
            }
            _ => {}
        }
        // What is short is over, and a publish lies a moment back.
        World::system().clock.sleep(Duration::from_millis(SHORT + 3)).await;
        if step == Step::Outbox {
            store.republish(&lost_copies(), SHORT, 0, 1_000).await.unwrap();
        }
        case
    }

    /// The step.
    async fn act(&self, store: &dyn Store) -> Result<(), Fault> {
        let (id, fence) = (self.id(), self.fence);
        match self.step {
            Step::Enqueue | Step::Schedule => {
                store.enqueue(vec![self.job.clone()]).await?.remove(0).unwrap();
            }
            Step::Published => store.published(vec![(id, Generation(1))]).await?,
            Step::Claim => {
                let claimed = store.claim(&self.me, LONG, vec![self.claim()]).await?.remove(0);
                assert!(matches!(claimed, Claimed::Known(Answer::Run { attempt: 1, .. })), "{claimed:?}");
            }
            Step::Rebuild => {
                let rebuild = Rebuild { job: self.job.clone(), enqueued: 1, claim: self.claim() };
                store.rebuild(&self.me, LONG, rebuild).await?;
            }
            Step::Adopt => {
                let (job, claim) = (self.job.clone(), self.claim());
                let attempt = Adopt { enqueued: 1, job, claim, fence, attempt: 2, failures: 1, crashes: 0 };
                let adopted = store.adopt(&self.me, LONG, attempt).await?;
                assert!(matches!(adopted, Claimed::Known(Answer::Run { .. })), "{adopted:?}");
            }
            Step::Succeed | Step::Retry | Step::GiveUp | Step::Release => {
                let finish = finish(id, fence, verdict(self.step), vec![self.next.clone()]);
                let finished = store.finish(vec![finish]).await?.remove(0);
                let Finished::Known { answer, .. } = &finished else { panic!("{finished:?}") };
                assert!(matches!(answer, Answer::Moved { .. } | Answer::Already { .. }), "{finished:?}");
            }
            Step::Report => {
                let progress = Some(Progress { step: 1, steps: 3, eta: None, text: None });
                let properties = BTreeMap::from([("a".to_owned(), "1".to_owned())]);
                let report = Report { progress, properties, ..Report::default() };
                assert_eq!(store.report(vec![(id, fence, report)]).await?, [true]);
            }
            Step::Renew => {
                let (owner, running) = (self.me.clone(), vec![(id, fence)]);
                let renew = Renew { owner, lease_ms: LONG, beat_ms: LONG, running, known: None };
                let renewed = store.heart().await?.renew(&renew).await?;
                assert!(renewed.lost.is_empty() && renewed.behind.is_empty(), "{renewed:?}");
            }
            Step::Beat => {
                let beat = Beat { card: card(self.me.clone()), reached: 0, lease_ms: LONG };
                assert!(!store.heart().await?.beat(&beat).await?.superseded);
            }
            Step::Leave => store.heart().await?.leave(&self.me).await?,
            Step::Rescue => drop(store.rescue(100, LONG).await?),
            Step::Bury => drop(store.bury(&owner(&self.me.instance.to_string(), 2)).await?),
            Step::Promote => drop(store.promote(100).await?),
            Step::Outbox => drop(store.outbox(100, LONG).await?),
            Step::Republish => {
                store.republish(&lost_copies(), SHORT, 0, 1_000).await?;
            }
            Step::Purge => drop(store.purge(&Retention::of(0, 0), 10_000).await?),
            Step::StopWaiting | Step::StopRunning => drop(store.stop("somebody", vec![id]).await?),
            Step::RemoveWaiting | Step::RemoveEnded => drop(store.remove(vec![id]).await?),
            Step::Watch => drop(store.watch(vec![id]).await?),
            Step::Fire => self.fire(store).await?,
            Step::Know => store.know(Lane::both(&Topic::new(TOPIC).unwrap()).to_vec()).await?,
        }
        Ok(())
    }

    /// A schedule of which one slot is due.
    async fn define(&self, store: &dyn Store) {
        let now = store.ping().await.unwrap();
        let mut envelope = Envelope::decode(
            format!("{{\"v\":1,\"id\":\"{}\",\"topic\":\"{TOPIC}\",\"payload\":null}}", self.id()).as_bytes(),
        )
        .unwrap();
        envelope.id = JobId::nil();
        let spec = Spec {
            name: self.id().to_string(),
            job: Template { envelope, expires_in_ms: None },
            timings: vec![Timing::Every { ms: LONG }],
            zone: UTC.into(),
            overlap: Overlap::Allow,
            missed: Missed::Last,
            jitter_ms: 0,
        };
        let schedule = change::put(None, spec, None, self.id(), now - LONG - 1).unwrap().unwrap();
        let (name, expect) = (self.id().to_string(), Expect::Absent);
        let next = Some(Box::new(schedule));
        let change = ScheduleChange { name, expect, open: None, next, jobs: Vec::new() };
        assert_eq!(store.change_schedules(vec![change]).await.unwrap(), [Changed::Done(Vec::new())]);
    }

    /// Fires it, unless that is done.
    async fn fire(&self, store: &dyn Store) -> Result<(), Fault> {
        let found = store.schedule(&self.id().to_string()).await?;
        let kept = &found.kept[0];
        let plan = kept.schedule.fire(found.now, kept.open);
        if kept.schedule.fired == 0 {
            let change = kept.fire(&plan, &Queues::default(), found.now).unwrap();
            assert!(matches!(store.change_schedules(vec![change]).await?[..], [Changed::Done(_)]));
        }
        assert!(kept.schedule.fired == 1 || plan.fire.len() == 1);
        Ok(())
    }

    async fn is_dropped(&self, store: &dyn Store) -> bool {
        let records = store.records(vec![self.id()]).await.unwrap();
        records.iter().flatten().any(|record| record.state == State::Dropped)
    }

    /// What the store holds of the job and of the one that follows it, without times, fences and ids.
    async fn effect(&self, store: &dyn Store) -> Vec<String> {
        let jobs = vec![self.id(), self.next.admission.id];
        let snapshots = store.load(jobs).await.unwrap();
        let mut effect: Vec<String> =
            snapshots.iter().map(|snapshot| snapshot.as_ref().map_or_else(String::new, told)).collect();
        let view = store.view().await.unwrap();
        let members = view.instances.iter().filter(|card| card.owner == self.me).count();
        effect.push(format!("{members} members"));
        for kept in store.schedule(&self.id().to_string()).await.unwrap().kept {
            let fired: Vec<JobId> = kept.schedule.recent.iter().map(|fired| fired.job).collect();
            let sent = store.load(fired).await.unwrap();
            effect.extend(sent.iter().map(|sent| sent.as_ref().map_or_else(String::new, told)));
        }
        effect
    }
}

/// A job, without what differs between two that went the same way.
fn told(snapshot: &Snapshot) -> String {
    let record = &snapshot.record;
    let times = [record.due, record.started, record.finished, record.lease, record.outbox, record.published];
    let set = times.map(|time| time.is_some());
    format!(
        "{} {:?} generation {} attempts {} failures {} crashes {} republished {} cancel {:?} message {:?} nonce {} times \
         {set:?} result {:?} progress {:?} properties {:?} log {} attempts kept {}",
        record.state,
        record.reason,
        record.generation.0,
        record.attempts,
        record.failures,
        record.crashes,
        record.republished,
        record.cancel,
        record.message,
        record.nonce,
        snapshot.result,
        snapshot.progress,
        snapshot.properties,
        snapshot.log.len(),
        snapshot.attempts.len(),
    )
}

/// Cuts the reply of a step once.
async fn cut(step: Step, round: usize, straight: &dyn Store, behind: &Arc<dyn Store>, proxy: &Proxy) {
    let at_once = Case::prepare(step, &format!("{step:?}-{round}-a"), straight).await;
    at_once.act(straight).await.unwrap();
    let expected = at_once.effect(straight).await;

    let twice = Case::prepare(step, &format!("{step:?}-{round}-b"), straight).await;
    let before = proxy.cuts();
    proxy.cut_before_reply(b"EVALSHA");
    let first = twice.act(behind.as_ref()).await;
    assert!(proxy.cuts() > before, "{step:?}: the reply was not cut");
    proxy.heal().await;
    // The link repeats by itself what it may; the rest is told to be unknown.
    if let Err(fault) = first {
        assert!(matches!(fault, Fault::Unknown { .. }), "{step:?}: {fault:?}");
        // A second removal would take the job out of the history: whoever does not know looks first.
        let removed = step == Step::RemoveWaiting && twice.is_dropped(straight).await;
        if !removed {
            eventually("the step is answered", async || twice.act(behind.as_ref()).await.is_ok()).await;
        }
    }
    assert_eq!(twice.effect(straight).await, expected, "{step:?}, round {round}");
    // What is left of this round may not be in the way of the next.
    straight.remove(vec![at_once.id(), twice.id(), at_once.next.admission.id, twice.next.admission.id]).await.unwrap();
}

#[tokio::test]
async fn a_step_whose_reply_was_lost_is_repeated_without_a_second_effect() {
    let server = Server::start().await;
    let (proxy, url) = Proxy::before(&server.url("")).await;
    let straight = server.store().await;
    let behind = redis_store(&url).await.unwrap();
    for step in STEPS {
        for round in 0..TIMES {
            cut(step, round, straight.as_ref(), &behind, &proxy).await;
        }
    }
    println!("{} replies of {} steps were cut", STEPS.len() * TIMES, STEPS.len());
}
