//! [`Store`] and [`Heart`] in this process: each call is one operation on the core under its lock.
//!
//! Before and after its operation a call lets other tasks run, so that whoever is killed in between
//! leaves what a real process would: a call that never happened, or one whose answer nobody heard.

use super::Backend;
use super::core::Core;
use super::fleet::Membership;
use crate::error::{Fault, NotAccepted, Service, too_many};
use crate::schedules::{Changed, DueSchedules, ScheduleChange, Schedules};
use crate::store::{
    Accepted, Adopt, Asked, Beat, Beaten, Claim, Claimed, Complete, Completed, Controlled, Counts, Depleted, Fact,
    FilePlace, Finish, Finished, Heart, LimitState, Loss, Moved, NewJob, Nudge, Outgoing, Page, PauseOrder, PauseState,
    Purged, Query, QueueSet, Rebuild, Rebuilt, Renew, Renewed, Report, Republished, Restore, Restored, Retention,
    RowChange, Scrubbed, Scrubbing, Standing, Store, Untold,
};
use async_trait::async_trait;
use longshore_model::audit::{Deed, Entry};
use longshore_model::event::Interest;
use longshore_model::gate::{GateName, LimitPolicy, Pausable};
use longshore_model::id::{Fence, Generation, InstanceId, JobId, Owner};
use longshore_model::lane::Lane;
use longshore_model::ledger::Ledger;
use longshore_model::limits;
use longshore_model::record::{Record, State};
use longshore_model::snapshot::Snapshot;
use longshore_model::statistics::{Selection, Statistics};
use longshore_model::topic::{Topic, TopicPattern};
use longshore_model::topology::View;
use longshore_model::topology::asking::{Question, QuestionId, Said};
use longshore_model::topology::matrix::{KeptRow, Row};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::broadcast;

/// One process's connection to the store.
#[derive(Debug)]
pub(super) struct EmbeddedStore {
    backend: Arc<Backend>,
    process: u64,
    nudges: broadcast::Sender<Nudge>,
}

impl EmbeddedStore {
    pub(super) fn new(backend: Arc<Backend>) -> Self {
        let (process, nudges) = backend.core().join();
        Self { backend, process, nudges }
    }

    async fn call<A>(&self, operation: impl FnOnce(&mut Core) -> A) -> Result<A, Fault> {
        call(&self.backend, operation).await
    }

    /// One operation for each item, as a script would be called for a batch.
    async fn each<T, A>(&self, items: Vec<T>, operation: impl Fn(&mut Core, &T) -> A) -> Result<Vec<A>, Fault> {
        self.call(|core| items.iter().map(|item| operation(core, item)).collect()).await
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.backend.core().part(self.process);
    }
}

async fn call<A>(backend: &Backend, operation: impl FnOnce(&mut Core) -> A) -> Result<A, Fault> {
    tokio::task::yield_now().await;
    let answers = backend.store_weather.admit()?;
    let answer = backend.core().operate(backend.clock.unix_us(), operation);
    tokio::task::yield_now().await;
    backend.store_weather.answer(answers, answer)
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Result<Accepted, NotAccepted>>, Fault> {
        self.each(jobs, Core::enqueue).await
    }

    async fn published(&self, jobs: Vec<(JobId, Generation)>) -> Result<(), Fault> {
        self.each(jobs, |core, (id, generation)| core.published(id, *generation)).await.map(drop)
    }

    async fn claim(&self, owner: &Owner, lease_ms: u64, claims: Vec<Claim>) -> Result<Vec<Claimed>, Fault> {
        self.each(claims, |core, claim| core.claim(owner, lease_ms, claim)).await
    }

    async fn rebuild(&self, owner: &Owner, lease_ms: u64, job: Rebuild) -> Result<Rebuilt, Fault> {
        self.call(|core| core.rebuild(owner, lease_ms, &job)).await
    }

    async fn adopt(&self, owner: &Owner, lease_ms: u64, attempt: Adopt) -> Result<Claimed, Fault> {
        self.call(|core| core.adopt(owner, lease_ms, &attempt)).await
    }

    async fn restore(&self, jobs: Vec<Restore>, dry: bool) -> Result<Vec<Restored>, Fault> {
        self.each(jobs, |core, job| core.restore(job, dry)).await
    }

    async fn losses(&self) -> Result<Vec<Loss>, Fault> {
        self.call(|core| core.epoch.losses()).await
    }

    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>, Fault> {
        self.call(|core| {
            let mut answers: Vec<Finished> = finishes.iter().map(|finish| core.finish(finish)).collect();
            Finished::tell_let_through(&mut answers, core.hand_over());
            answers
        })
        .await
    }

    async fn complete(&self, completion: Complete) -> Result<Completed, Fault> {
        self.call(|core| core.complete(&completion)).await
    }

    async fn report(&self, reports: Vec<(JobId, Fence, Report)>) -> Result<Vec<bool>, Fault> {
        self.each(reports, |core, (id, fence, report)| core.report(id, *fence, report)).await
    }

    async fn rescue(&self, limit: usize, beat_ms: u64) -> Result<Moved, Fault> {
        self.call(|core| core.rescue(limit, beat_ms)).await
    }

    async fn bury(&self, owner: &Owner) -> Result<u64, Fault> {
        self.call(|core| core.bury(owner)).await
    }

    async fn promote(&self, limit: usize) -> Result<Moved, Fault> {
        self.call(|core| core.promote(limit)).await
    }

    async fn set_limit(&self, name: &str, policy: Option<&LimitPolicy>) -> Result<(), Fault> {
        let set = self.call(|core| core.set_limit(name, policy)).await?;
        if set { Ok(()) } else { Err(too_many("limits", limits::LIMITS)) }
    }

    async fn limits(&self) -> Result<Vec<LimitState>, Fault> {
        self.call(|core| core.gates.limits()).await
    }

    async fn queues(&self) -> Result<Option<QueueSet>, Fault> {
        self.call(|core| core.gates.queues()).await
    }

    async fn head(&self, order: &GateName) -> Result<Option<JobId>, Fault> {
        self.call(|core| core.gates.head(order)).await
    }

    async fn past_queues(&self) -> Result<Vec<QueueSet>, Fault> {
        self.call(|core| core.gates.past_queues()).await
    }

    async fn set_queues(
        &self,
        after: u64,
        by: &str,
        text: &str,
        limits: &[(String, LimitPolicy)],
    ) -> Result<QueueSet, Fault> {
        self.call(|core| {
            let set = QueueSet { version: after + 1, by: by.to_owned(), at: core.now(), text: text.to_owned() };
            let (set, applied) = core.set_queues(set, limits);
            if applied {
                core.tell(Nudge::Queues);
            }
            set
        })
        .await
    }

    async fn audit(&self, deed: &Deed) -> Result<(), Fault> {
        self.call(|core| core.deeds.record(deed, core.now())).await
    }

    async fn audited(&self, limit: usize) -> Result<Vec<Entry>, Fault> {
        self.call(|core| core.deeds.last(limit)).await
    }

    async fn listen(&self, interests: &[Interest], ms: u64) -> Result<(), Fault> {
        let listened = self.call(|core| core.ears.listen(interests, core.now(), ms)).await?;
        if listened { Ok(()) } else { Err(too_many("interests in events", limits::INTERESTS)) }
    }

    async fn interests(&self) -> Result<Vec<(Interest, u64)>, Fault> {
        self.call(|core| core.ears.left(core.now())).await
    }

    async fn untold(&self, limit: usize) -> Result<Vec<Untold>, Fault> {
        self.call(|core| core.ears.untold(limit, core.now())).await
    }

    fn interest_changes(&self) -> u64 {
        self.backend.core().ears.changes()
    }

    async fn set_pause(&self, what: &Pausable, order: Option<&PauseOrder>) -> Result<bool, Fault> {
        let before = self.call(|core| core.gates.set_pause(what, order, core.now())).await?;
        before.ok_or_else(|| too_many("pauses", limits::PAUSES))
    }

    async fn pauses(&self) -> Result<Vec<PauseState>, Fault> {
        self.call(|core| core.gates.pauses()).await
    }

    async fn outbox(&self, limit: usize, hold_ms: u64) -> Result<Vec<Outgoing>, Fault> {
        self.call(|core| core.outbox(limit, hold_ms)).await
    }

    async fn republish(
        &self,
        lanes: &[Depleted],
        patience_ms: u64,
        from: u64,
        limit: usize,
    ) -> Result<Republished, Fault> {
        self.call(|core| core.republish(lanes, patience_ms, from, limit)).await
    }

    async fn purge(&self, retention: &Retention, limit: usize) -> Result<Purged, Fault> {
        self.call(|core| core.purge(retention, limit)).await
    }

    async fn file_place(&self, id: Option<&str>, replace: bool) -> Result<Option<FilePlace>, Fault> {
        self.call(|core| core.files.place(id, replace, core.now())).await
    }

    async fn keep_files(&self, job: JobId, digests: &[String]) -> Result<bool, Fault> {
        let kept = self.call(|core| core.files.keep(job, digests, core.now())).await?;
        kept.ok_or_else(|| too_many("files of one job", limits::FILES_OF_JOB))
    }

    async fn release_files(&self, grace_ms: u64, limit: usize) -> Result<u64, Fault> {
        self.call(|core| core.files.release(&core.table, grace_ms, limit, core.now_us / 1_000)).await
    }

    async fn doom_files(&self, digests: &[String], over: bool) -> Result<Vec<String>, Fault> {
        self.call(|core| core.files.doom(digests, over, core.now())).await
    }

    async fn stop(&self, by: &str, jobs: Vec<JobId>) -> Result<Vec<Controlled>, Fault> {
        self.each(jobs, |core, id| core.stop(by, id)).await
    }

    async fn remove(&self, jobs: Vec<JobId>) -> Result<Vec<Controlled>, Fault> {
        self.each(jobs, Core::remove).await
    }

    async fn load(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Snapshot>>, Fault> {
        self.each(jobs, |core, id| core.snapshot(id)).await
    }

    async fn records(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Record>>, Fault> {
        self.each(jobs, |core, id| core.table.get(id).map(|entry| entry.record.clone())).await
    }

    async fn indexed(&self, topics: Option<&TopicPattern>, paths: &[String]) -> Result<Vec<bool>, Fault> {
        self.call(|core| core.indexed(topics, paths)).await
    }

    async fn find(&self, query: Query) -> Result<Page, Fault> {
        self.call(|core| core.find(&query)).await?.map_err(|why| Fault::refused(Service::Store, why))
    }

    async fn watch(&self, jobs: Vec<JobId>) -> Result<Vec<Option<State>>, Fault> {
        let process = self.process;
        self.each(jobs, |core, id| {
            let entry = core.table.get_mut(id)?;
            if !entry.record.state.is_terminal() && entry.watchers.len() + entry.followers.len() < limits::WATCHERS {
                entry.watchers.insert(process);
            }
            Some(entry.record.state)
        })
        .await
    }

    async fn follow(&self, job: JobId) -> Result<Option<State>, Fault> {
        let process = self.process;
        self.call(move |core| {
            let entry = core.table.get_mut(&job)?;
            if !entry.record.state.is_terminal() && entry.watchers.len() + entry.followers.len() < limits::WATCHERS {
                entry.followers.insert(process);
            }
            Some(entry.record.state)
        })
        .await
    }

    async fn counts(&self) -> Result<Counts, Fault> {
        self.call(|core| core.counts()).await
    }

    async fn ledger(&self) -> Result<Ledger, Fault> {
        self.call(|core| core.table.ledger()).await
    }

    async fn statistics(&self) -> Result<Statistics, Fault> {
        self.call(|core| core.statistics()).await
    }

    async fn reset_statistics(&self, selection: &Selection) -> Result<u64, Fault> {
        self.call(|core| core.table.reset_statistics(selection, core.now())).await
    }

    async fn ahead(&self, job: JobId) -> Result<Option<u64>, Fault> {
        self.call(|core| core.ahead(&job)).await
    }

    async fn topics(&self) -> Result<Vec<Topic>, Fault> {
        self.call(|core| core.topics.keys().cloned().collect()).await
    }

    async fn lanes(&self) -> Result<Vec<Lane>, Fault> {
        self.call(|core| {
            let of = |(topic, high): (&Topic, &bool)| Lane::both(topic).into_iter().take(1 + usize::from(*high));
            let mut lanes: Vec<Lane> = core.topics.iter().flat_map(of).chain(core.sites.keys().cloned()).collect();
            lanes.sort();
            lanes
        })
        .await
    }

    async fn queued_at(&self) -> Result<BTreeMap<Lane, u64>, Fault> {
        self.call(|core| core.queued_at()).await
    }

    async fn forget(&self, lanes: Vec<Lane>, idle_ms: u64) -> Result<Vec<Lane>, Fault> {
        self.call(|core| core.forget(lanes, idle_ms)).await
    }

    async fn know(&self, lanes: Vec<Lane>) -> Result<(), Fault> {
        let known = self.call(|core| {
            let topics = lanes.iter().map(|lane| &lane.topic);
            let mut unknown: Vec<&Topic> = topics.filter(|topic| !core.topics.contains_key(topic)).collect();
            unknown.sort();
            unknown.dedup();
            let room = limits::TOPICS.saturating_sub(core.topics.len());
            if let Some(topic) = unknown.get(room) {
                return Err(NotAccepted::TooManyTopics(topic.to_string()));
            }
            for lane in &lanes {
                let room = core.has_room(lane);
                core.know(&if room { lane.clone() } else { lane.topic.clone().into() });
            }
            Ok(())
        });
        known.await?.map_err(|too_many| Fault::refused(Service::Store, too_many.to_string()))
    }

    async fn view(&self) -> Result<View, Fault> {
        self.call(|core| {
            settle(core);
            core.fleet.view()
        })
        .await
    }

    async fn matrix(&self) -> Result<BTreeMap<InstanceId, KeptRow>, Fault> {
        self.call(|core| core.fleet.matrix().clone()).await
    }

    async fn row(&self, instance: &InstanceId) -> Result<Option<KeptRow>, Fault> {
        self.call(|core| core.fleet.matrix().get(instance).cloned()).await
    }

    async fn set_row(&self, instance: &InstanceId, after: u64, row: &Row) -> Result<RowChange, Fault> {
        let change = self.call(|core| {
            let (change, changed) = core.fleet.set_row(instance, after, row, core.now_us)?;
            if changed {
                core.tell(Nudge::Matrix);
            }
            Some(change)
        });
        change.await?.ok_or_else(|| too_many("rows of the matrix", limits::ROWS))
    }

    async fn seal(&self, exchange: Option<(&str, &str)>) -> Result<String, Fault> {
        self.call(|core| {
            if exchange.is_some_and(|(before, after)| core.fleet.exchange_seal(before, after)) {
                core.tell(Nudge::Seal);
            }
            core.fleet.seal().to_owned()
        })
        .await
    }

    async fn ask(&self, id: &QuestionId, question: &Question, of: &[Owner], ms: u64) -> Result<bool, Fault> {
        let asked = self.call(|core| {
            let asked = core.questions.ask((id, question), of, self.process, ms, core.now_us)?;
            if asked {
                core.tell(Nudge::Questions);
            }
            Some(asked)
        });
        asked.await?.ok_or_else(|| too_many("open questions", limits::QUESTIONS))
    }

    async fn take_questions(&self, owner: &Owner, known: &[QuestionId], limit: usize) -> Result<Vec<Asked>, Fault> {
        self.call(|core| core.questions.take(owner, known, limit, core.now())).await
    }

    async fn answer(&self, id: &QuestionId, owner: &Owner, said: &Said) -> Result<bool, Fault> {
        self.call(|core| {
            let (kept, tell) = core.questions.answer(id, owner, said, core.now());
            if let Some(process) = tell {
                core.tell_one(process, Nudge::Answered(id.clone()));
            }
            kept
        })
        .await
    }

    async fn standings(&self, id: &QuestionId, of: &[Owner], close: bool) -> Result<Option<Vec<Standing>>, Fault> {
        self.call(|core| {
            settle(core);
            let Core { questions, fleet, now_us, .. } = core;
            questions.standings(id, of, close, *now_us / 1_000, |owner| fleet.has(owner))
        })
        .await
    }

    async fn holder(&self, topic: &Topic, key: &str) -> Result<Option<JobId>, Fault> {
        self.call(|core| core.holder(topic, key)).await
    }

    async fn heart(&self) -> Result<Box<dyn Heart>, Fault> {
        self.call(|_| ()).await?;
        Ok(Box::new(EmbeddedHeart { backend: self.backend.clone() }))
    }

    fn nudges(&self) -> broadcast::Receiver<Nudge> {
        self.nudges.subscribe()
    }

    async fn erase(&self) -> Result<u64, Fault> {
        self.call(|core| core.wipe().len() as u64).await
    }

    async fn about(&self) -> Result<Vec<Fact>, Fault> {
        let detail = "embedded: it lives and dies with this process".to_owned();
        self.call(|_| vec![Fact { detail, advice: None }]).await
    }

    fn restarts(&self) -> u64 {
        self.backend.core().restarts
    }

    async fn ping(&self) -> Result<u64, Fault> {
        self.call(|core| core.now()).await
    }

    async fn scrub(&self, limit: usize) -> Result<Scrubbed, Fault> {
        self.call(|core| core.scrub(limit)).await
    }

    async fn scrubbing(&self) -> Result<Scrubbing, Fault> {
        self.call(|core| core.scrub.so_far).await
    }

    async fn schedule(&self, name: &str) -> Result<Schedules, Fault> {
        self.call(|core| core.schedule(name)).await
    }

    async fn find_schedules(&self, after: Option<&str>, limit: usize) -> Result<Schedules, Fault> {
        self.call(|core| core.find_schedules(after, limit)).await
    }

    async fn due_schedules(&self, limit: usize) -> Result<DueSchedules, Fault> {
        self.call(|core| core.due_schedules(limit)).await
    }

    async fn change_schedules(&self, changes: Vec<ScheduleChange>) -> Result<Vec<Changed>, Fault> {
        self.each(changes, Core::change_schedule).await
    }
}

fn settle(core: &mut Core) {
    if core.fleet.settle(core.now()) {
        core.tell(Nudge::View);
    }
}

/// The connection of the beat thread.
#[derive(Debug)]
struct EmbeddedHeart {
    backend: Arc<Backend>,
}

#[async_trait]
impl Heart for EmbeddedHeart {
    async fn beat(&mut self, beat: &Beat) -> Result<Beaten, Fault> {
        call(&self.backend, |core| {
            let (now, profiles) = (core.now(), core.fleet.profiles());
            let standing = core.fleet.beat(beat, now);
            let news = core.fleet.profiles() != profiles;
            settle(core);
            if standing == Membership::Member && core.fleet.reach(&beat.card.owner.instance, beat.reached) || news {
                core.tell(Nudge::View);
            }
            let view = core.fleet.view();
            Beaten {
                now,
                view: view.number,
                term: view.term,
                coordinator: view.coordinator.as_ref() == Some(&beat.card.owner),
                topics: core.topics_version,
                superseded: standing == Membership::Superseded,
                matrix: core.fleet.revision(),
                profiles: core.fleet.profiles(),
                synced: core.fleet.synced(),
                questions: core.questions.last(),
            }
        })
        .await
    }

    async fn renew(&mut self, renew: &Renew) -> Result<Renewed, Fault> {
        call(&self.backend, |core| core.renew(renew)).await
    }

    async fn leave(&mut self, owner: &Owner) -> Result<(), Fault> {
        call(&self.backend, |core| {
            core.fleet.leave(owner);
            settle(core);
        })
        .await
    }
}
