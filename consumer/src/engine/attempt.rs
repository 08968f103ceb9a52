//! One delivery: read it, claim it, run its handler, and hand the verdict to [`super::settle`].
//!
//! Every way out of here settles the delivery as the protocol says: acknowledged only when the job
//! has ended or a confirmed copy of the message exists elsewhere; otherwise it stays unsettled and
//! the broker delivers it again.

use super::adopt::Origin;
use super::files::NotMoved;
use super::intake::Slot;
use super::run::{self, Ended};
use super::settle;
use super::taken_back::{self, NoMessage};
use super::terms::Terms;
use super::{Engine, files, isolation, reporter, sites, telling};
use crate::ctx::{Cancelled, Ctx, JobInfo, ReportSink};
use crate::outcome::Outcome;
use crate::registry::Registration;
use futures_util::FutureExt;
use longshore_link::broker::{Delivery, Headers, Message, Settler, Target};
use longshore_link::error::Fault;
use longshore_link::store::{Claim, Claimed, NewJob, Rebuild, Rebuilt};
use longshore_model::envelope::Envelope;
use longshore_model::id::{Fence, Generation, JobId};
use longshore_model::kind::RetryRules;
use longshore_model::names::Park;
use longshore_model::queue::Queues;
use longshore_model::span::ms;
use longshore_model::token::{KindCost, Token};
use longshore_model::transition::{Answer, FailureTerms};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A claimed job, from its claim to its settlement.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) engine: Arc<Engine>,
    pub(crate) settler: Arc<dyn Settler>,
    pub(crate) registration: Arc<Registration>,
    pub(crate) id: JobId,
    pub(crate) fence: Fence,
    /// Whether a failure ends the job.
    pub(crate) last: bool,
    /// When it started, by the boot clock.
    pub(crate) began: Duration,
    pub(crate) origin: Arc<Origin>,
}

/// A delivery that got a slot.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) delivery: Delivery,
    pub(crate) registration: Arc<Registration>,
    pub(crate) slot: Slot,
    /// Whether the instance runs nothing beside it.
    pub(crate) alone: bool,
}

/// Takes deliveries from their arrival to their settlement. What got its slots at once is claimed in one call; from
/// there on each is on its own.
pub(crate) async fn run_all(engine: Arc<Engine>, settler: Arc<dyn Settler>, all: Vec<Taken>) {
    let read: Vec<_> = all.iter().map(|taken| read(&taken.delivery).map(Arc::new)).collect();
    // Found out once: whether the instance leads may change at any time.
    let mut claimable = BTreeSet::new();
    let mut claims: Vec<Claim> = Vec::with_capacity(all.len());
    for (place, (taken, envelope)) in all.iter().zip(&read).enumerate() {
        if let Ok(envelope) = envelope
            && taken.registration.can_read(envelope)
            && engine.barred(envelope).is_none()
        {
            claimable.insert(place);
            claims.push(claim_of(&taken.delivery, envelope, taken.alone));
        }
    }
    let asked = engine.link.world.clock.boot();
    let together = !claims.is_empty() && settler.is_live() && engine.is_sure();
    let mut answers = Vec::new().into_iter();
    if together {
        match engine.link.store.claim(&engine.owner, engine.lease_ms(), claims).await {
            Ok(claimed) => answers = claimed.into_iter(),
            Err(fault) => tracing::debug!(%fault, "claims not answered; each tries again for itself"),
        }
    }
    let last = all.len().saturating_sub(1);
    for (place, (taken, envelope)) in all.into_iter().zip(read).enumerate() {
        let first = if together && claimable.contains(&place) {
            answers.next().map_or(First::NotAnswered, First::Answered)
        } else {
            First::NotAsked
        };
        let one = run(Arc::clone(&engine), Arc::clone(&settler), taken, envelope, first, asked);
        if place == last {
            return one.await;
        }
        drop(engine.link.world.tasks.spawn(one));
    }
}

/// Takes a delivery that was read, and whose claim may have been answered, to its settlement. `asked`: nobody claimed it
/// before.
async fn run(
    engine: Arc<Engine>,
    settler: Arc<dyn Settler>,
    taken: Taken,
    envelope: Result<Arc<Envelope>, String>,
    first: First,
    asked: Duration,
) {
    let Taken { delivery, registration, slot, alone } = taken;
    let envelope = match envelope {
        Ok(envelope) => envelope,
        Err(why) => {
            drop(slot);
            return quarantine(&engine, &delivery, settler.as_ref(), why).boxed().await;
        }
    };
    if !registration.can_read(&envelope) {
        // Another instance may read it; until one does, it waits where it holds up nobody.
        let park = Target::Parked(Park::Short, delivery.lane.clone());
        divert(&engine, &delivery, settler.as_ref(), park, None).boxed().await;
        return settle::mark(&engine, vec![(envelope.id, delivery.headers.generation)]).boxed().await;
    }
    if matches!(first, First::NotAsked)
        && let Some(site) = engine.barred(&envelope)
    {
        drop(slot);
        return sites::send_on(&engine, &delivery, settler.as_ref(), &envelope, site).boxed().await;
    }
    let id = envelope.id;
    let answer = match claim(&engine, &delivery, settler.as_ref(), Arc::clone(&envelope), first, alone).await {
        Some(Verdict::Answer(answer)) => answer,
        Some(Verdict::Done) => return settler.ack(delivery.tag),
        Some(Verdict::Dead(why)) => {
            tracing::warn!(job = %id, why, "message put among the dead letters");
            return divert(&engine, &delivery, settler.as_ref(), Target::Dead, Some(why)).boxed().await;
        }
        None => return,
    };
    match answer {
        Answer::Run { fence, attempt, failures, kinds, crashes, last } => {
            let origin = Origin { envelope, delivery, attempt, failures, kinds, crashes };
            Attempt::start(engine, settler, registration, origin, fence, last).run(slot, asked).await;
        }
        Answer::Elsewhere { crashes } => {
            drop(slot);
            isolation::set_aside(&engine, delivery, settler, crashes).boxed().await;
        }
        Answer::Busy { lease_left_ms } => {
            engine.metrics.parked();
            let park = Target::Parked(Park::after(delivery.headers.parked, lease_left_ms), delivery.lane.clone());
            divert(&engine, &delivery, settler.as_ref(), park, None).boxed().await;
        }
        Answer::Waiting { left_ms, .. } if delivery.redelivered || delivery.headers.parked.is_some() => {
            // It may be the only copy in the broker: it stays there until the store runs the job itself.
            engine.metrics.parked();
            let park = Target::Parked(Park::at_least(left_ms.unwrap_or(0)), delivery.lane.clone());
            divert(&engine, &delivery, settler.as_ref(), park, None).boxed().await;
        }
        Answer::Outdated { replaced: false } => {
            // Its successor is only in the outbox yet: until it is published, this copy is what a wiped store leaves.
            engine.metrics.parked();
            let park = Target::Parked(Park::Short, delivery.lane.clone());
            divert(&engine, &delivery, settler.as_ref(), park, None).boxed().await;
        }
        // It has ended, or a newer copy is in the broker.
        _ => {
            engine.metrics.refused_copy();
            settler.ack(delivery.tag);
        }
    }
}

/// Runs a job that was taken back from an instance that went away, unless somebody else got it from its lane by now.
pub(crate) async fn run_again(engine: Arc<Engine>, delivery: Delivery, registration: Arc<Registration>, slot: Slot) {
    // Whatever is wrong with it is told of the copy in its lane.
    let Ok(envelope) = read(&delivery).map(Arc::new) else { return };
    if !registration.can_read(&envelope) || engine.barred(&envelope).is_some() {
        return;
    }
    let asked = engine.link.world.clock.boot();
    let claimed = claim(&engine, &delivery, &NoMessage, Arc::clone(&envelope), First::NotAsked, false).await;
    let Some(Verdict::Answer(Answer::Run { fence, attempt, failures, kinds, crashes, last })) = claimed else { return };
    let origin = Origin { envelope, delivery, attempt, failures, kinds, crashes };
    Attempt::start(engine, Arc::new(NoMessage), registration, origin, fence, last).run(slot, asked).await;
}

fn read(delivery: &Delivery) -> Result<Envelope, String> {
    let envelope = Envelope::decode(&delivery.body).map_err(|error| error.to_string())?;
    delivery.headers.check()?;
    let lane = &delivery.lane.topic;
    if envelope.topic != *lane {
        return Err(format!("its topic is {}, yet it came through the lane of {lane}", envelope.topic));
    }
    if delivery.headers.enqueued.is_none() && envelope.id.created_ms() == 0 {
        return Err(
            "its id is not a UUIDv7 and it has no time of its own, so nobody can tell whether it ran before".into()
        );
    }
    Ok(envelope)
}

/// Puts a message that cannot be read where people find it. While there is no room for it there, it rests and comes back.
async fn quarantine(engine: &Engine, delivery: &Delivery, settler: &dyn Settler, why: String) {
    let (lane, message_id) = (&delivery.lane, delivery.message_id.as_deref());
    let letter = copy(delivery, Target::Quarantine, Some(why.clone()));
    match publish_unless(engine, settler, letter, |fault| matches!(fault, Fault::Blocked { .. })).await {
        Published::Confirmed => {
            tracing::warn!(%lane, message_id, why, "message put into quarantine");
            engine.metrics.quarantined();
            settler.ack(delivery.tag);
        }
        Published::Refused(fault) => {
            tracing::error!(
                %lane, message_id, why, %fault,
                "no room in quarantine for a message that cannot be read; it comes back in ten minutes. See `longshore \
                 letters quarantine list`, and drop what nobody needs"
            );
            engine.metrics.no_room();
            divert(engine, delivery, settler, Target::Parked(Park::Long, lane.clone()), None).await;
        }
        Published::No => {}
    }
}

/// Publishes a copy elsewhere, waits for the confirm, then acknowledges. While that fails, tries again as long as the
/// delivery is ours; after that the broker delivers it again.
pub(crate) async fn divert(
    engine: &Engine,
    delivery: &Delivery,
    settler: &dyn Settler,
    target: Target,
    reason: Option<String>,
) {
    if publish(engine, settler, copy(delivery, target, reason)).await {
        settler.ack(delivery.tag);
    }
}

/// A copy of a message, for another place.
fn copy(delivery: &Delivery, target: Target, reason: Option<String>) -> Message {
    Message {
        headers: Headers { parked: target.park(), reason, ..delivery.headers.clone() },
        target,
        message_id: delivery.message_id.clone().unwrap_or_default(),
        body: delivery.body.clone(),
    }
}

/// Publishes one message until it is confirmed; gives up, and answers `false`, when the delivery's session is over:
/// then the broker still holds the original.
pub(crate) async fn publish(engine: &Engine, settler: &dyn Settler, message: Message) -> bool {
    publish_unless(engine, settler, message, |_| false).await == Published::Confirmed
}

/// What became of a message that was to be published.
#[derive(PartialEq, Eq)]
enum Published {
    Confirmed,
    /// For a reason that the caller does not wait out.
    Refused(Fault),
    /// The delivery's session is over, or the instance.
    No,
}

async fn publish_unless(
    engine: &Engine,
    settler: &dyn Settler,
    message: Message,
    refused: fn(&Fault) -> bool,
) -> Published {
    loop {
        if !settler.is_live() {
            return Published::No;
        }
        match engine.link.broker.publish(vec![message.clone()]).await.pop() {
            Some(Ok(())) => return Published::Confirmed,
            Some(Err(fault)) if refused(&fault) => return Published::Refused(fault),
            Some(Err(fault)) => tracing::debug!(%fault, "copy not confirmed; trying again"),
            None => return Published::No,
        }
        if !engine.pause(engine.link.world.random.jitter(Duration::from_millis(500))).await {
            return Published::No;
        }
    }
}

/// What became of the claim that was made for several deliveries together.
enum First {
    NotAsked,
    /// It may have been granted all the same.
    NotAnswered,
    Answered(Claimed),
}

enum Verdict {
    Answer(Answer),
    Done,
    Dead(String),
}

pub(crate) fn claim_of(delivery: &Delivery, envelope: &Envelope, alone: bool) -> Claim {
    Claim {
        id: envelope.id,
        nonce: delivery.nonce.clone(),
        generation: delivery.headers.generation,
        floor: delivery.headers.fence,
        alone,
    }
}

/// Claims until the store answers, unless it has answered already. `None`: the delivery is not ours any more, or the
/// instance ends. Once asked, the end of the delivery's session ends nothing: what was granted runs here or, blamed for a
/// crash, when its lease is over.
async fn claim(
    engine: &Engine,
    delivery: &Delivery,
    settler: &dyn Settler,
    envelope: Arc<Envelope>,
    first: First,
    alone: bool,
) -> Option<Verdict> {
    let claim = claim_of(delivery, &envelope, alone);
    let (store, lease) = (&engine.link.store, engine.lease_ms());
    let (mut asked, mut answered) = match first {
        First::NotAsked => (false, None),
        First::NotAnswered => (true, None),
        First::Answered(claimed) => (true, Some(claimed)),
    };
    loop {
        let ours = asked || settler.is_live();
        if !ours || !engine.is_sure() && !engine.until_sure().boxed().await {
            return None;
        }
        asked = true;
        let claimed = match answered.take() {
            Some(claimed) => Some(claimed),
            None => match store.claim(&engine.owner, lease, vec![claim.clone()]).await {
                Ok(mut answers) => answers.pop(),
                Err(fault) => {
                    // Repeating it with the same nonce is safe: a claim that did happen answers the same.
                    tracing::debug!(job = %envelope.id, %fault, "claim not answered; trying again");
                    if !engine.pause(engine.link.world.random.jitter(Duration::from_secs(1))).boxed().await {
                        return None;
                    }
                    continue;
                }
            },
        };
        let claimed = match claimed? {
            Claimed::Unknown => {
                let rebuild = Rebuild {
                    job: newly(engine, &envelope, delivery),
                    enqueued: delivery.headers.enqueued.unwrap_or_else(|| envelope.id.created_ms()),
                    claim: claim.clone(),
                };
                match store.rebuild(&engine.owner, lease, rebuild).await {
                    Ok(Rebuilt::Claimed(claimed)) => claimed,
                    Ok(Rebuilt::Orphan) => {
                        return Some(Verdict::Dead(
                            "nobody remembers whether it ran: it is older than tombstones".into(),
                        ));
                    }
                    Err(fault) => {
                        tracing::debug!(job = %envelope.id, %fault, "rebuild not answered; trying again");
                        if !engine.pause(engine.link.world.random.jitter(Duration::from_secs(1))).boxed().await {
                            return None;
                        }
                        continue;
                    }
                }
            }
            other => other,
        };
        return Some(match claimed {
            Claimed::Known(answer) => Verdict::Answer(answer),
            Claimed::Tombstone => Verdict::Done,
            Claimed::Damaged(detail) => Verdict::Dead(format!("the store holds a damaged record of it: {detail}")),
            Claimed::Unknown => continue,
        });
    }
}

/// Whether a handler may begin that was claimed, and put under the care of beats, after these times. Where the process
/// stood still since, others may have run the job meanwhile: the next beat tells. One that began at the very moment may
/// know nothing of the attempt.
async fn may_begin(engine: &Engine, ctx: &Ctx, asked: Duration, entered: Duration) -> Result<(), Cancelled> {
    let now = engine.link.world.clock.boot();
    let renewed = engine.proven.borrow().filter(|proven| *proven > entered);
    if engine.is_fresh(renewed.unwrap_or(asked), now) {
        // That beat may have told that it is lost, while files were delivered.
        return ctx.cancelled().map_or(Ok(()), Err);
    }
    let proven = async {
        tokio::select! {
            biased;
            _ = ctx.until_cancelled() => {}
            () = engine.until_proven() => {}
        }
    };
    // Boxed: it is rare, and a task is as large as the largest thing it may wait for.
    proven.boxed().await;
    ctx.cancelled().map_or(Ok(()), Err)
}

/// The job that a message describes: what the store needs to accept it from the message alone.
pub(crate) fn newly(engine: &Engine, envelope: &Envelope, delivery: &Delivery) -> NewJob {
    NewJob {
        admission: envelope.admission(&engine.policies.get()),
        envelope: delivery.body.clone(),
        labels: envelope.labels.clone(),
        fields: envelope.fields(),
        again: true,
        retry_of: envelope.retry_of,
    }
}

/// What holds for an attempt.
struct Plan {
    limits: run::Limits,
    /// How long its job waits should it fail, ms.
    delay_ms: u64,
    /// In what time it may be tried again, ms.
    retry_for_ms: Option<u64>,
    rules: RetryRules,
    /// What a failure of a kind with a rule costs.
    kinds: BTreeMap<String, KindCost>,
}

impl Attempt {
    fn start(
        engine: Arc<Engine>,
        settler: Arc<dyn Settler>,
        registration: Arc<Registration>,
        origin: Origin,
        fence: Fence,
        last: bool,
    ) -> Self {
        engine.metrics.claimed();
        let Origin { attempt, failures, crashes, .. } = origin;
        tracing::debug!(job = %origin.envelope.id, attempt, failures, crashes, "attempt started");
        telling::started(&engine, &origin);
        let (id, began) = (origin.envelope.id, engine.link.world.clock.boot());
        Self { engine, settler, registration, id, fence, last, began, origin: Arc::new(origin) }
    }

    /// The message that it came with.
    pub(crate) fn delivery(&self) -> &Delivery {
        &self.origin.delivery
    }

    pub(crate) fn generation(&self) -> Generation {
        self.delivery().headers.generation
    }

    /// The message is not needed any more.
    pub(crate) fn ack(&self) {
        self.settler.ack(self.delivery().tag);
    }

    /// Who has a say in its times and in what a failure costs it.
    pub(super) fn terms<'t>(&'t self, queues: &'t Queues) -> Terms<'t> {
        let queue = queues.resolve(&self.origin.envelope.topic).config;
        Terms { job: &self.origin.envelope, handler: &self.registration.options, queue }
    }

    /// How long it may run, how long its job waits should it fail, in what time it may be tried again, and what holds for
    /// which kind of error: the rule, and what a failure would cost now.
    fn plan(&self) -> Plan {
        let engine = &self.engine;
        let queues = engine.policies.get();
        let terms = self.terms(&queues);
        let limits = run::Limits {
            timeout: terms.timeout(),
            soft: terms.soft_timeout(),
            stall: terms.stall_timeout(),
            grace: self.registration.options.grace.unwrap_or(run::DEFAULT_GRACE),
            lost_grace: engine.lost_grace(),
            awaits_token: true,
        };
        let cost = |kind: Option<&str>| {
            let random = engine.link.world.random.next();
            terms.failure(kind.map(ToOwned::to_owned), None, &self.origin, random)
        };
        let (delay, failure) = cost(None);
        let rules = terms.rules();
        let of_kind = |kind: &str| {
            let (delay, FailureTerms { retries, .. }) = cost(Some(kind));
            (kind.to_owned(), KindCost { retries, delay_ms: ms(delay) })
        };
        let kinds = rules.kinds().map(of_kind).collect();
        Plan { limits, delay_ms: ms(delay), retry_for_ms: failure.retry_for_ms, rules, kinds }
    }

    /// Runs the handler and ends the attempt. `asked`: it was claimed after this time, by the boot clock.
    async fn run(&mut self, slot: Slot, asked: Duration) {
        let engine = Arc::clone(&self.engine);
        let envelope = Arc::clone(&self.origin.envelope);
        let Plan { limits, delay_ms, retry_for_ms, rules, kinds } = self.plan();
        let token = Token {
            id: self.id,
            attempt: self.origin.attempt,
            fence: self.fence,
            delay_ms,
            retry_for_ms,
            kinds,
            nonce: self.delivery().nonce.clone(),
        };
        let files = envelope.files.clone();
        let input_dir = (!files.is_empty()).then(|| files::input_dir(&engine, self.id, self.fence));
        let info = JobInfo {
            token,
            id: self.id,
            topic: envelope.topic.clone(),
            attempt: self.origin.attempt,
            retry: self.origin.failures.saturating_add(self.origin.kinds.total()),
            fence: self.fence,
            timeout: limits.timeout,
            soft_timeout: limits.soft,
            retry_rules: rules,
            envelope: Arc::clone(&envelope),
            input_dir: input_dir.clone(),
        };
        let (ctx, controls) = Ctx::new(
            info,
            engine.link.world.clock.clone(),
            engine.work_dir.path().to_owned(),
            ReportSink::keeping(engine.log_lines),
        );
        let entered = engine.link.world.clock.boot();
        engine.running.enter(self.id, self.fence, controls.cancel.clone(), Arc::clone(&self.origin));
        let over = CancellationToken::new();
        let work = async {
            let delivered = match &input_dir {
                Some(dir) => files::deliver(&engine, self.id, &files, dir, &controls.sink).boxed().await,
                None => Ok(()),
            };
            let ended = match delivered {
                Ok(()) => match may_begin(&engine, &ctx, asked, entered).await {
                    Ok(()) => {
                        let clock = &engine.link.world.clock;
                        run::handler(&self.registration.run, &ctx, &controls, clock, limits).await
                    }
                    Err(why) => Ended::Outcome(Outcome::Cancelled(why)),
                },
                Err(NotMoved::Ends(outcome)) => Ended::Outcome(outcome),
                Err(NotMoved::Away(why)) => Ended::FilesAway(why),
            };
            over.cancel();
            ended
        };
        let reporting = reporter::run(&engine, &self.origin, self.fence, &controls.sink, &over);
        let (ended, (), swapped) = futures_util::future::join3(work, reporting, self.swap(&over)).await;
        if swapped {
            self.settler = Arc::new(NoMessage);
        }
        // The handler is over: its slot is free while the commit is under way.
        drop(slot);
        let cancelled = ctx.cancelled();
        let follow_ups = ctx.take_follow_ups();
        let output_dir = ctx.made_output_dir();
        let report = controls.sink.take();
        let (id, fence) = (self.id, self.fence);
        settle::settle(
            self,
            settle::Settlement {
                ended,
                cancelled,
                report,
                follow_ups,
                output_dir: output_dir.clone(),
                trace: envelope.trace.clone(),
            },
        )
        .await;
        engine.running.leave(id, fence);
        files::clean(input_dir, output_dir).await;
    }

    /// The broker closes the channel of a delivery that is unacknowledged for too long, with every innocent one on it.
    /// So a job that runs for long swaps its delivery for a parked copy, confirmed before the acknowledgement, and goes
    /// on under its lease alone. Answers whether it did.
    async fn swap(&self, over: &CancellationToken) -> bool {
        let engine = &self.engine;
        let holding = async {
            engine.link.world.clock.sleep(engine.lease.hold).await;
            let target = Target::Parked(Park::Long, self.delivery().lane.clone());
            let copy = settle::copy(self, target, self.generation());
            // A copy of a job that was taken back is in its lane already.
            if taken_back::is(self.delivery()) || !publish(engine, self.settler.as_ref(), copy).boxed().await {
                return false;
            }
            self.ack();
            engine.metrics.swapped();
            tracing::debug!(job = %self.id, "a long run holds its message no more");
            true
        };
        tokio::select! {
            biased;
            () = over.cancelled() => false,
            swapped = holding => swapped,
        }
    }
}
