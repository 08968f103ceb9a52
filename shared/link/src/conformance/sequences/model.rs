//! What the model expects of each step.

use super::agree;
use super::{Copied, End, JOBS, LONG, OWNERS, SHORT, Span, Step};
use crate::connect::Link;
use crate::error::NotAccepted;
use crate::store::{
    Adopt, Claim, Claimed, Complete, Completed, Controlled, Depleted, Finish, Finished, NewJob, Outgoing, Rebuild,
    Rebuilt, Renew, Report, Retention,
};
use crate::world::World;
use bytes::Bytes;
use longshore_model::gate::Gates;
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::lane::Lane;
use longshore_model::placement::Site;
use longshore_model::priority::Priority;
use longshore_model::record::{Admission, Expiry, Reason, Record, Start, State};
use longshore_model::token::Token;
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Event, FailureTerms, Verdict, transition};
use std::collections::{BTreeMap, BTreeSet};

/// The topics of the jobs, in turns.
pub(super) const TOPICS: [&str; 2] = ["seq/one", "seq/two"];
/// The job that is urgent: it has its topic in common with one that is not.
const URGENT: usize = 2;

/// What the store should hold.
pub(super) struct Model {
    ids: Vec<JobId>,
    records: BTreeMap<JobId, Record>,
    buried: BTreeSet<JobId>,
    /// Who renewed, and was not proven dead since.
    renewed: BTreeSet<Owner>,
    /// Silent ones from whom attempts were taken back.
    fallen: BTreeSet<Owner>,
}

/// The moments between which a step was done, us.
#[derive(Clone, Copy)]
struct Moments {
    early: u64,
    late: u64,
}

/// What an event does to a job at both moments.
struct Outcome {
    early: (Record, Answer),
    late: (Record, Answer),
}

type Checked<A = ()> = Result<A, String>;

#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes it by value")]
fn said(fault: crate::Fault) -> String {
    fault.to_string()
}

fn ensure(holds: bool, why: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(why()) }
}

fn priority(number: usize) -> Priority {
    if number == URGENT { Priority::Urgent } else { Priority::Normal }
}

/// The jobs of the second topic are to run at a site.
fn site(number: usize) -> Option<Site> {
    (number % TOPICS.len() == 1).then(|| Site::Cluster("c".into()))
}

fn owner(number: usize, start: u64) -> Owner {
    Owner {
        instance: InstanceId(format!("owner-{}", number % OWNERS)),
        incarnation: Incarnation::new(1_700_000_000_000 + start, [9; 16]),
    }
}

impl Model {
    pub(super) fn new(world: &World) -> Self {
        let ids = (0..JOBS).map(|_| world.job_id(None)).collect();
        Self {
            ids,
            records: BTreeMap::new(),
            buried: BTreeSet::new(),
            renewed: BTreeSet::new(),
            fallen: BTreeSet::new(),
        }
    }

    /// How many jobs ever were accepted: none comes back once it was purged.
    pub(super) fn accepted(&self) -> usize {
        self.records.len() + self.buried.len()
    }

    /// The lanes that the store is to know of.
    pub(super) fn lanes(&self) -> Vec<Lane> {
        let accepted = |id: &JobId| self.records.contains_key(id) || self.buried.contains(id);
        let of = |(number, _): (usize, &JobId)| {
            let topic = Topic::new(TOPICS[number % TOPICS.len()]).unwrap();
            [topic.clone().into(), Lane::of(topic, priority(number), site(number))]
        };
        let all = self.ids.iter().enumerate().filter(|(_, id)| accepted(id)).flat_map(of);
        all.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// How many queued jobs are to run at a site.
    pub(super) fn queued_at(&self) -> BTreeMap<Lane, u64> {
        let mut queued = BTreeMap::new();
        let placed = |record: &&Record| record.state == State::Queued && record.site.is_some();
        for record in self.records.values().filter(placed) {
            *queued.entry(Lane { high: false, ..record.lane() }).or_default() += 1;
        }
        queued
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    pub(super) fn in_state(&self, state: State) -> impl Iterator<Item = JobId> {
        self.records.values().filter(move |record| record.state == state).map(|record| record.id)
    }

    fn job(&self, number: usize, start: Span, expires: Span, retries: i32) -> NewJob {
        let number = number % JOBS;
        let admission = Admission {
            id: self.ids[number],
            topic: Topic::new(TOPICS[number % TOPICS.len()]).unwrap(),
            queue: "main".into(),
            start: start.ms().map_or(Start::Now, Start::After),
            max_retries: retries,
            max_crashes: 2,
            expires: expires.ms().map(Expiry::After),
            gates: Gates { priority: priority(number), ..Gates::default() },
            site: site(number),
            unique: None,
        };
        NewJob {
            admission,
            envelope: Bytes::from_static(b"{}"),
            labels: BTreeMap::new(),
            fields: BTreeMap::new(),
            again: false,
            retry_of: None,
        }
    }

    fn claim(&self, number: usize, delivery: u8, copy: Copied, alone: bool) -> Claim {
        let id = self.ids[number % JOBS];
        let current = self.records.get(&id).map_or(0, |record| record.generation.0);
        let generation = match copy {
            Copied::Nothing => 0,
            Copied::Current => current,
            Copied::Old => current.saturating_sub(1),
        };
        Claim { id, nonce: format!("delivery-{delivery}"), generation: Generation(generation), floor: Fence(0), alone }
    }

    fn fence(&self, id: &JobId, stale: bool) -> Fence {
        let current = self.records.get(id).map_or(1, |record| record.fence.0);
        Fence(if stale { current.saturating_sub(1) } else { current })
    }

    /// Does one step on the store and on the model.
    pub(super) async fn step(&mut self, link: &Link, step: &Step) -> Checked {
        let store = &link.store;
        let early = store.ping().await.map_err(said)? * 1_000;
        let mut after = self.records.clone();
        let moments = |late: u64| Moments { early, late: late * 1_000 + 999 };
        macro_rules! late {
            () => {
                moments(store.ping().await.map_err(said)?)
            };
        }
        match step {
            Step::Enqueue { job, delay, expires, retries } => {
                let job = self.job(*job, *delay, *expires, *retries);
                let id = job.admission.id;
                let answer = store.enqueue(vec![job.clone()]).await.map_err(said)?.remove(0);
                let at = late!();
                match answer {
                    Err(NotAccepted::Ended(ended)) => {
                        ensure(ended == id && self.buried.contains(&id), || "it is not buried".into())?;
                    }
                    Err(other) => return Err(format!("refused: {other}")),
                    Ok(accepted) => {
                        ensure(!self.buried.contains(&id), || "a buried job came back".into())?;
                        ensure(accepted.existed == self.records.contains_key(&id), || format!("{accepted:?}"))?;
                        if !accepted.existed {
                            let admit = |us: u64| Record::admit(&job.admission, us / 1_000);
                            let actual = self.read(link, id).await?.ok_or("it is not there")?;
                            agree::records(&admit(at.early), &admit(at.late), &actual)?;
                            after.insert(id, actual);
                        }
                    }
                }
            }
            Step::Claim { job, owner: number, delivery, copy, lease, alone } => {
                let (claim, who) = (self.claim(*job, *delivery, *copy, *alone), owner(*number, 1));
                let lease_ms = lease.ms().unwrap_or(LONG);
                let claimed = store.claim(&who, lease_ms, vec![claim.clone()]).await.map_err(said)?.remove(0);
                self.claimed(link, &mut after, late!(), &who, lease_ms, &claim, &claimed).await?;
            }
            Step::Rebuild { job, owner: number, delivery, lease } => {
                let new = self.job(*job, Span::None, Span::None, 2);
                let (claim, who) = (self.claim(*job, *delivery, Copied::Nothing, true), owner(*number, 1));
                let (id, lease_ms, enqueued) = (claim.id, lease.ms().unwrap_or(LONG), early / 1_000 - 5);
                let rebuild = Rebuild { job: new.clone(), enqueued, claim: claim.clone() };
                let Rebuilt::Claimed(claimed) = store.rebuild(&who, lease_ms, rebuild).await.map_err(said)? else {
                    return Err("a young job is no orphan".into());
                };
                let at = late!();
                if !self.records.contains_key(&id) && !self.buried.contains(&id) {
                    let mut record = Record::admit(&new.admission, at.early / 1_000);
                    record.created = enqueued;
                    // It is claimed in the same operation: when it entered `queued` is not to be seen any more.
                    record.since = 0;
                    self.records.insert(id, record);
                }
                self.claimed(link, &mut after, at, &who, lease_ms, &claim, &claimed).await?;
            }
            Step::Adopt { job, owner: number, ahead, lease } => {
                let new = self.job(*job, Span::None, Span::None, 2);
                let (claim, who) = (self.claim(*job, 9, Copied::Current, false), owner(*number, 1));
                let (id, lease_ms, enqueued) = (claim.id, lease.ms().unwrap_or(LONG), early / 1_000 - 5);
                let fence = Fence(self.fence(&id, false).0 + if *ahead { 1_000 } else { 0 });
                let adopt = Adopt {
                    job: new.clone(),
                    enqueued,
                    claim: claim.clone(),
                    fence,
                    attempt: 2,
                    failures: 1,
                    crashes: 0,
                };
                let adopted = store.adopt(&who, lease_ms, adopt).await.map_err(said)?;
                let at = late!();
                if !self.records.contains_key(&id) && !self.buried.contains(&id) {
                    let mut record = Record::admit(&new.admission, at.early / 1_000);
                    (record.created, record.since) = (enqueued, 0);
                    self.records.insert(id, record);
                }
                let event = Event::Adopt {
                    owner: who,
                    nonce: claim.nonce.clone(),
                    fence,
                    generation: claim.generation,
                    attempt: 2,
                    failures: 1,
                    crashes: 0,
                    lease_ms,
                };
                match adopted {
                    Claimed::Known(answer) => self.answered(link, &mut after, at, id, &event, &answer).await?,
                    Claimed::Tombstone => ensure(self.buried.contains(&id), || "it is not buried".into())?,
                    other => return Err(format!("{other:?}")),
                }
            }
            Step::Renew { owner: number, stale, lease } => {
                let (who, lease_ms) = (owner(*number, 1), lease.ms().unwrap_or(LONG));
                let mine = self.records.values().filter(|record| record.owner.as_ref() == Some(&who));
                let running: Vec<_> = mine.map(|record| (record.id, self.fence(&record.id, *stale))).collect();
                let mut heart = store.heart().await.map_err(said)?;
                self.renewed.insert(who.clone());
                let renew = Renew { owner: who, lease_ms, beat_ms: LONG, running: running.clone(), known: None };
                let renewed = heart.renew(&renew).await.map_err(said)?;
                let at = late!();
                let (mut lost, mut stop) = (Vec::new(), Vec::new());
                for (id, fence) in running {
                    let event = Event::Renew { fence, lease_ms };
                    match self.apply(link, &mut after, at, id, &event).await? {
                        Answer::Renewed { cancel } => stop.extend(cancel.map(|by| (id, by))),
                        _ => lost.push((id, fence)),
                    }
                }
                ensure((&renewed.lost, &renewed.stop) == (&lost, &stop), || {
                    format!("{renewed:?}, expected {lost:?} and {stop:?}")
                })?;
                ensure(renewed.amnesty == 0, || "there was no silence".into())?;
                // Leases that this renewal made short may be over or not.
                let over = |us: u64| after.values().filter(|record| is_over(record, us)).count();
                let counted = usize::try_from(renewed.expired).unwrap_or(usize::MAX);
                ensure((over(at.early)..=over(at.late)).contains(&counted), || format!("{counted} expired"))?;
            }
            Step::Finish { job, stale, verdict } => {
                let id = self.ids[job % JOBS];
                let (fence, verdict) = (self.fence(&id, *stale), verdict_of(*verdict));
                let finish = Finish {
                    id,
                    fence,
                    verdict: verdict.clone(),
                    result: None,
                    outputs: Vec::new(),
                    report: Report::default(),
                    follow_ups: Vec::new(),
                };
                let finished = store.finish(vec![finish]).await.map_err(said)?.remove(0);
                let at = late!();
                match finished {
                    Finished::Missing => ensure(!self.records.contains_key(&id), || "it is not missing".into())?,
                    Finished::Damaged(why) => return Err(why),
                    Finished::Known { answer, generation, .. } => {
                        self.answered(link, &mut after, at, id, &Event::Finish { fence, verdict }, &answer).await?;
                        ensure(after[&id].generation == generation, || format!("{generation:?}"))?;
                    }
                }
            }
            Step::Complete { job, stale, delivery, mark, verdict } => {
                let id = self.ids[job % JOBS];
                let (fence, verdict) = (self.fence(&id, *stale), verdict_of(*verdict));
                let (nonce, mark) = (format!("delivery-{delivery}"), format!("mark-{mark}"));
                let token = Token {
                    id,
                    attempt: 1,
                    fence,
                    delay_ms: 0,
                    retry_for_ms: None,
                    kinds: BTreeMap::new(),
                    nonce: nonce.clone(),
                };
                let completion = Complete { token, mark: mark.clone(), verdict: verdict.clone(), result: None };
                let completed = store.complete(completion).await.map_err(said)?;
                let at = late!();
                match completed {
                    Completed::Missing => ensure(!self.records.contains_key(&id), || "it is not missing".into())?,
                    Completed::Behind => return Err("no record is older than its attempt here".into()),
                    Completed::Damaged(why) => return Err(why),
                    Completed::Known(answer) => {
                        let event = Event::Complete { fence, nonce, mark, verdict };
                        self.answered(link, &mut after, at, id, &event, &answer).await?;
                    }
                }
            }
            Step::Published { job, stale } => {
                let id = self.ids[job % JOBS];
                let current = self.records.get(&id).map_or(0, |record| record.generation.0);
                let generation = Generation(if *stale { current.saturating_sub(1) } else { current });
                store.published(vec![(id, generation)]).await.map_err(said)?;
                let at = late!();
                if self.records.contains_key(&id) {
                    self.apply(link, &mut after, at, id, &Event::Published { generation }).await?;
                }
            }
            Step::Rescue => {
                let alive = Owner { instance: InstanceId("rescuer".into()), ..owner(0, 1) };
                let renew = Renew { owner: alive, lease_ms: LONG, beat_ms: LONG, running: Vec::new(), known: None };
                store.heart().await.map_err(said)?.renew(&renew).await.map_err(said)?;
                let moved = store.rescue(100, LONG).await.map_err(said)?;
                let at = late!();
                let (mut runnable, mut ended) = (BTreeSet::new(), 0);
                let silent = |owner: &Owner| !self.renewed.contains(owner);
                let running = self.in_state(State::Active).collect::<Vec<_>>();
                let owner_of = |id: &JobId| self.records[id].owner.clone();
                let mut fallen = self.fallen.clone();
                for id in self.records.keys().copied().collect::<Vec<_>>() {
                    let company = |other: &JobId| *other != id && owner_of(other) == owner_of(&id);
                    let alone = owner_of(&id).is_some_and(|owner| silent(&owner) && !self.fallen.contains(&owner))
                        && !running.iter().any(company);
                    let answer = self.apply(link, &mut after, at, id, &Event::LeaseGone { alone }).await?;
                    if matches!(answer, Answer::Moved { .. }) {
                        fallen.extend(owner_of(&id).filter(silent));
                    }
                    match answer {
                        Answer::Moved { state: State::Queued } if after[&id].crashes <= 1 => drop(runnable.insert(id)),
                        Answer::Moved { state } => ended += u64::from(state.is_terminal()),
                        _ => {}
                    }
                }
                self.fallen = fallen;
                outgoing(&after, &runnable, &moved.runnable)?;
                ensure(moved.ended == ended && !moved.more, || format!("{moved:?}, expected {ended} to end"))?;
            }
            Step::Promote => {
                let moved = store.promote(100).await.map_err(said)?;
                let at = late!();
                let mut runnable = BTreeSet::new();
                for id in self.records.keys().copied().collect::<Vec<_>>() {
                    if matches!(self.apply(link, &mut after, at, id, &Event::Promote).await?, Answer::Moved { .. }) {
                        runnable.insert(id);
                    }
                }
                outgoing(&after, &runnable, &moved.runnable)?;
                let next =
                    after.values().filter(|record| record.state.waits_for_time()).filter_map(|record| record.due).min();
                ensure(moved.next == next, || format!("next is {:?}, expected {next:?}", moved.next))?;
            }
            Step::Outbox => {
                let taken = store.outbox(100, LONG).await.map_err(said)?;
                let at = late!();
                let ids: BTreeSet<JobId> = taken.iter().map(|out| out.id).collect();
                for (id, record) in &self.records {
                    // Its grace is two seconds: on a busy machine it may have passed.
                    let (sure, possible) = (due(record.outbox, at.early), due(record.outbox, at.late));
                    ensure(if ids.contains(id) { possible } else { !sure }, || format!("{id} in the outbox"))?;
                    let actual = self.read(link, *id).await?.ok_or("it is gone")?;
                    let held = |us: u64| {
                        let outbox = if ids.contains(id) { Some(us / 1_000 + LONG) } else { record.outbox };
                        Record { outbox, ..record.clone() }
                    };
                    agree::records(&held(at.early), &held(at.late), &actual)?;
                    after.insert(*id, actual);
                }
                outgoing(&after, &ids, &taken)?;
            }
            Step::Republish { topic, copies } => {
                let lane = Lane { site: site(*topic), ..Topic::new(TOPICS[*topic]).unwrap().into() };
                let topic = lane.topic.clone();
                let queued = |record: &&Record| record.state == State::Queued && record.topic == topic;
                let outbox = self.records.values().filter(|record| record.outbox.is_some()).count() as u64;
                let count = self.records.values().filter(queued).count() as u64;
                let mut allowed = copies.map_or(u64::MAX, |copies| count.saturating_sub(copies + outbox));
                let lanes = [Depleted { lane, copies: *copies }];
                let done = store.republish(&lanes, SHORT, 0, 100).await.map_err(said)?;
                let at = late!();
                let mut oldest: Vec<&Record> = self.records.values().filter(queued).collect();
                oldest.sort_by_key(|record| (record.since, record.id));
                let mut jobs = 0;
                for id in oldest.into_iter().map(|record| record.id).collect::<Vec<_>>() {
                    if allowed > 0 {
                        let answer = self.apply(link, &mut after, at, id, &Event::Republish { patience_ms: SHORT });
                        let moved = u64::from(matches!(answer.await?, Answer::Moved { .. }));
                        (allowed, jobs) = (allowed - moved, jobs + moved);
                    }
                }
                ensure((done.jobs, done.next) == (jobs, 0), || format!("{done:?}, expected {jobs} jobs"))?;
            }
            Step::Purge => {
                // What expires in this very operation is not to go in it as well: not even a millisecond old.
                let purged = store.purge(&Retention::of(1, 1), 100).await.map_err(said)?.gone;
                let at = late!();
                let mut count = 0;
                for (id, record) in self.records.clone() {
                    if record.state.is_terminal() {
                        ensure(self.read(link, id).await?.is_none(), || format!("{id} should be purged"))?;
                        after.remove(&id);
                        self.buried.insert(id);
                        count += 1;
                    } else {
                        let answer = self.apply(link, &mut after, at, id, &Event::Expire).await?;
                        count += u64::from(matches!(answer, Answer::Moved { .. }));
                    }
                }
                ensure(purged == count, || format!("{purged} purged, expected {count}"))?;
            }
            Step::Bury { owner: number } => {
                let alive = owner(*number, 2);
                let buried = store.bury(&alive).await.map_err(said)?;
                let at = late!();
                let mut count = 0;
                for (id, record) in self.records.clone() {
                    let lives =
                        record.state == State::Active && record.lease.is_some_and(|lease| lease * 1_000 > at.late);
                    let older = record.owner.as_ref().is_some_and(|owner| owner.instance == alive.instance);
                    let actual = self.read(link, id).await?.ok_or("it is gone")?;
                    let ended = |us: u64| Record { lease: Some(us / 1_000), ..record.clone() };
                    if record.state == State::Active && older {
                        self.renewed.retain(|renewed| Some(renewed) != record.owner.as_ref());
                    }
                    if lives && older {
                        agree::records(&ended(at.early), &ended(at.late), &actual)?;
                        count += 1;
                        after.insert(id, actual);
                    } else if record.state == State::Active && older {
                        // Over already: whether it is ended once more does not matter.
                        after.insert(id, actual);
                    } else {
                        agree::records(&record, &record, &actual)?;
                    }
                }
                ensure(buried >= count, || format!("{buried} buried, expected {count}"))?;
            }
            Step::Stop { job } => {
                let id = self.ids[job % JOBS];
                let controlled = store.stop("somebody", vec![id]).await.map_err(said)?.remove(0);
                let event = Event::Stop { by: "somebody".into() };
                self.controlled(link, &mut after, late!(), id, &event, controlled).await?;
            }
            Step::Remove { job } => {
                let id = self.ids[job % JOBS];
                let controlled = store.remove(vec![id]).await.map_err(said)?.remove(0);
                if controlled == Controlled::Known(Answer::Purge) {
                    let ended = self.records.get(&id).is_some_and(|record| record.state.is_terminal());
                    ensure(ended && self.read(link, id).await?.is_none(), || "it should not be purged".into())?;
                    after.remove(&id);
                    self.buried.insert(id);
                } else {
                    self.controlled(link, &mut after, late!(), id, &Event::Remove, controlled).await?;
                }
            }
        }
        self.records = after;
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "a claim has so many parts")]
    async fn claimed(
        &self,
        link: &Link,
        after: &mut BTreeMap<JobId, Record>,
        at: Moments,
        owner: &Owner,
        lease_ms: u64,
        claim: &Claim,
        claimed: &Claimed,
    ) -> Checked {
        let id = claim.id;
        match claimed {
            Claimed::Known(answer) => {
                let event = Event::Claim {
                    owner: owner.clone(),
                    nonce: claim.nonce.clone(),
                    generation: claim.generation,
                    floor: claim.floor,
                    lease_ms,
                    alone: claim.alone,
                };
                self.answered(link, after, at, id, &event, answer).await
            }
            Claimed::Unknown => {
                ensure(!self.records.contains_key(&id) && !self.buried.contains(&id), || "it is known".into())
            }
            Claimed::Tombstone => ensure(self.buried.contains(&id), || "it is not buried".into()),
            Claimed::Damaged(why) => Err(why.clone()),
        }
    }

    async fn controlled(
        &self,
        link: &Link,
        after: &mut BTreeMap<JobId, Record>,
        at: Moments,
        id: JobId,
        event: &Event,
        controlled: Controlled,
    ) -> Checked {
        match controlled {
            Controlled::Known(answer) => self.answered(link, after, at, id, event, &answer).await,
            Controlled::NotFound => ensure(!self.records.contains_key(&id), || "it is there".into()),
            Controlled::Damaged(why) => Err(why),
        }
    }

    /// An event whose answer the store gave.
    async fn answered(
        &self,
        link: &Link,
        after: &mut BTreeMap<JobId, Record>,
        at: Moments,
        id: JobId,
        event: &Event,
        answer: &Answer,
    ) -> Checked {
        let outcome = self.outcome(at, id, event)?;
        agree::answers(&outcome.early.1, &outcome.late.1, answer)?;
        self.adopt(link, after, id, &outcome).await
    }

    /// An event whose answer is not to be seen: the model's.
    async fn apply(
        &self,
        link: &Link,
        after: &mut BTreeMap<JobId, Record>,
        at: Moments,
        id: JobId,
        event: &Event,
    ) -> Checked<Answer> {
        let outcome = self.outcome(at, id, event)?;
        self.adopt(link, after, id, &outcome).await?;
        Ok(outcome.early.1)
    }

    fn outcome(&self, at: Moments, id: JobId, event: &Event) -> Checked<Outcome> {
        let before = self.records.get(&id).ok_or("the model knows no such job")?;
        let run = |us: u64| {
            let mut record = before.clone();
            let (answer, _) = transition(&mut record, us, event);
            (record, answer)
        };
        Ok(Outcome { early: run(at.early), late: run(at.late) })
    }

    /// The store's record must lie between the model's; from then on the model uses it.
    async fn adopt(&self, link: &Link, after: &mut BTreeMap<JobId, Record>, id: JobId, outcome: &Outcome) -> Checked {
        let actual = self.read(link, id).await?.ok_or("the record is gone")?;
        agree::records(&outcome.early.0, &outcome.late.0, &actual)?;
        after.insert(id, actual);
        Ok(())
    }

    async fn read(&self, link: &Link, id: JobId) -> Checked<Option<Record>> {
        Ok(link.store.records(vec![id]).await.map_err(said)?.remove(0))
    }
}

fn due(at: Option<u64>, now_us: u64) -> bool {
    at.is_some_and(|at| at <= now_us / 1_000)
}

fn is_over(record: &Record, now_us: u64) -> bool {
    record.state == State::Active && due(record.lease, now_us)
}

/// What is handed out must be these jobs, as their records say.
fn outgoing(records: &BTreeMap<JobId, Record>, expected: &BTreeSet<JobId>, found: &[Outgoing]) -> Checked {
    let ids: BTreeSet<JobId> = found.iter().map(|out| out.id).collect();
    ensure(ids == *expected && found.len() == ids.len(), || format!("handed out {ids:?}, expected {expected:?}"))?;
    for out in found {
        let record = &records[&out.id];
        let same = (out.generation, out.fence, &out.lane, out.created)
            == (record.generation, record.fence, &record.lane(), record.created);
        ensure(same, || format!("{out:?} for {record:?}"))?;
    }
    Ok(())
}

fn verdict_of(end: End) -> Verdict {
    match end {
        End::Succeeded => Verdict::Succeeded { message: Some("done".into()) },
        End::Failed(delay) => Verdict::failed(delay.ms().unwrap_or(0), "no luck"),
        End::Ruled { delay, kind, retries, time } => Verdict::Failed {
            delay_ms: delay.ms().unwrap_or(0),
            error: "no luck".into(),
            terms: FailureTerms { kind: Some(format!("kind-{kind}")), retries, retry_for_ms: time.ms() },
        },
        End::Fatal => Verdict::Fatal { reason: Reason::Permanent, error: "no use".into() },
        End::Released(delay) => Verdict::Released {
            delay_ms: delay.ms().unwrap_or(0),
            reason: if delay == Span::None { Reason::Interrupted } else { Reason::Snoozed },
            message: "later".into(),
        },
    }
}
