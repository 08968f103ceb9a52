//! Undertaker: looks after messages that the broker itself put among the dead, most often because they came back
//! too often. The store is asked what became of the job:
//!
//! - it has not ended: the message goes back, with the generation that the job has by now (into the lane of a queued
//!   job, into rest as a spare copy of one that runs or waits);
//! - it has ended, or has been forgotten after its end: the message is done with;
//! - the store does not know it: the message stays for a person, with that as its reason.
//!
//! Letters with a reason were put there by an instance and are not touched. A letter leaves only when its copy is
//! confirmed elsewhere, or its job has ended; two undertakers never hold the same letter, and a job that is published
//! twice is claimed once.

use super::rest;
use crate::engine::{Engine, Phase};
use longshore_link::Fault;
use longshore_link::broker::{Headers, Letters, Message, Target};
use longshore_link::letters::{Letter, Reading};
use longshore_link::store::{Claim, Claimed, Finish, Report};
use longshore_model::envelope::Envelope;
use longshore_model::id::{Generation, JobId};
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::names::Park;
use longshore_model::record::{Reason, Record, State};
use longshore_model::transition::{Answer, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Time between two looks of the coordinator.
const PACE: Duration = Duration::from_secs(5);
/// Looks after which the letters are read again although there are as many as before.
const READ_AGAIN: u32 = 120;

/// Buries and revives until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    // Letters that stay may be many for long: they are read again only when their number has changed, or after a long
    // time.
    let (mut stayed, mut looks) = (None, 0);
    loop {
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = rest(&engine, PACE) => {}
        }
        looks += 1;
        let there = match engine.link.broker.count_letters(Letters::Dead).await {
            Ok(there) => there,
            Err(fault) => {
                tracing::debug!(%fault, "dead letters could not be counted; trying again");
                continue;
            }
        };
        if Some(there) == stayed && looks < READ_AGAIN {
            continue;
        }
        looks = 0;
        match look(&engine).await {
            Ok(stay) => stayed = stay,
            // Read again at the next look.
            Err(fault) => tracing::debug!(%fault, "dead letters could not be looked after; trying again"),
        }
    }
}

/// Reads all dead letters once. Answers how many there are if none of them moved.
async fn look(engine: &Engine) -> Result<Option<u64>, Fault> {
    let mut reading = engine.link.broker.read_letters(Letters::Dead).await?;
    let (mut stay, mut moved) = (0, false);
    loop {
        let (mut evicted, mut bytes, mut end) = (Vec::new(), 0, false);
        while evicted.len() < limits::BATCH && bytes < limits::BATCH_BYTES {
            match reading.next().await? {
                Some(letter) if letter.headers.reason.is_some() => stay += 1,
                Some(letter) => {
                    bytes += letter.body.len();
                    evicted.push(letter);
                }
                None => {
                    end = true;
                    break;
                }
            }
        }
        moved |= !evicted.is_empty();
        look_after(engine, reading.as_mut(), evicted).await?;
        if end {
            break;
        }
    }
    reading.close().await?;
    Ok((!moved).then_some(stay))
}

/// A letter with what its body says.
struct Evicted {
    letter: Letter,
    envelope: Envelope,
}

/// Looks after letters of the broker: none of them stays as it is.
async fn look_after(engine: &Engine, reading: &mut dyn Reading, letters: Vec<Letter>) -> Result<(), Fault> {
    let (mut outgoing, mut readable) = (Vec::new(), Vec::new());
    for letter in letters {
        match Envelope::decode(&letter.body) {
            Ok(envelope) => readable.push(Evicted { letter, envelope }),
            // Nobody has read it before it was evicted.
            Err(error) => {
                outgoing.push((Target::Quarantine, Some(error.to_string()), letter.headers.generation, letter))
            }
        }
    }
    let ids: Vec<JobId> = readable.iter().map(|evicted| evicted.envelope.id).collect();
    let records = if ids.is_empty() { Vec::new() } else { engine.link.store.records(ids).await? };
    let mut done = Vec::new();
    for (Evicted { letter, envelope }, record) in readable.into_iter().zip(records) {
        match fate(engine, &letter, &envelope, record).await? {
            Fate::Ended => done.push(letter.number),
            Fate::Lives(target, generation) => outgoing.push((target, None, generation, letter)),
            Fate::ForPeople(why) => {
                let by = letter.evicted.as_ref().map_or("no reason given", |eviction| eviction.reason.as_str());
                let why = format!("the broker evicted it ({by}), and {why}");
                outgoing.push((Target::Dead, Some(why), letter.headers.generation, letter));
            }
        }
    }
    for number in &done {
        reading.remove(*number).await?;
    }
    engine.metrics.buried(done.len());
    publish(engine, reading, outgoing).await
}

/// What becomes of a letter.
enum Fate {
    /// Its job has ended.
    Ended,
    /// Its job has not: the message goes there, as a copy for this generation.
    Lives(Target, Generation),
    /// Nobody can tell; it stays, with this reason.
    ForPeople(String),
}

async fn fate(engine: &Engine, letter: &Letter, envelope: &Envelope, record: Option<Record>) -> Result<Fate, Fault> {
    // The one that it came from.
    let lane = letter.lane.clone().filter(|lane| lane.topic == envelope.topic);
    let lane = lane.unwrap_or_else(|| envelope.topic.clone().into());
    match record {
        Some(record) if record.state.is_terminal() => Ok(Fate::Ended),
        Some(record) if record.state == State::Queued => Ok(Fate::Lives(Target::Lane(lane), record.generation)),
        // The store runs it when its time comes, and nobody needs the copy unless the store forgets the job.
        Some(record) => Ok(Fate::Lives(Target::Parked(Park::Short, lane), record.generation)),
        None => buried_or_unknown(engine, envelope, lane).await,
    }
}

/// Only a claim tells a forgotten job from one that never was.
async fn buried_or_unknown(engine: &Engine, envelope: &Envelope, lane: Lane) -> Result<Fate, Fault> {
    let (id, store) = (envelope.id, &engine.link.store);
    let nonce = format!("{:016x}-dead", engine.link.world.random.next());
    let (generation, floor) = (Generation::default(), longshore_model::Fence::default());
    let claim = Claim { id, nonce, generation, floor, alone: false };
    match store.claim(&engine.owner, engine.lease_ms(), vec![claim]).await?.pop() {
        Some(Claimed::Unknown) | None => Ok(Fate::ForPeople("the store does not know its job".into())),
        Some(Claimed::Damaged(detail)) => Ok(Fate::ForPeople(format!("the store holds a damaged record: {detail}"))),
        Some(Claimed::Tombstone | Claimed::Known(Answer::Ended { .. })) => Ok(Fate::Ended),
        Some(Claimed::Known(Answer::Run { fence, .. })) => {
            // It was accepted since it was asked for: whoever consumes its lane shall run it.
            let message = "claimed while dead letters were looked after".into();
            let verdict = Verdict::Released { delay_ms: 0, reason: Reason::Interrupted, message };
            let (report, outputs, follow_ups) = (Report::default(), Vec::new(), Vec::new());
            store.finish(vec![Finish { id, fence, verdict, result: None, outputs, report, follow_ups }]).await?;
            Ok(Fate::Lives(Target::Parked(Park::Short, lane), Generation::default()))
        }
        // Accepted since.
        Some(Claimed::Known(_)) => Ok(Fate::Lives(Target::Parked(Park::Short, lane), Generation::default())),
    }
}

/// Publishes copies; letters whose copy is confirmed are removed, the others go back when the reading ends.
async fn publish(
    engine: &Engine,
    reading: &mut dyn Reading,
    outgoing: Vec<(Target, Option<String>, Generation, Letter)>,
) -> Result<(), Fault> {
    if outgoing.is_empty() {
        return Ok(());
    }
    let mut lanes = BTreeSet::new();
    let (mut messages, mut numbers) = (Vec::with_capacity(outgoing.len()), Vec::with_capacity(outgoing.len()));
    for (target, reason, generation, letter) in outgoing {
        if let Target::Lane(lane) | Target::Parked(_, lane) = &target {
            lanes.insert(lane.clone());
        }
        numbers.push((letter.number, matches!(target, Target::Lane(_) | Target::Parked(..))));
        // A spare copy says so, or the next consumer that finds the job waiting would throw it away.
        let parked = target.park();
        let headers = Headers { generation, reason, parked, ..letter.headers };
        let message_id = letter.message_id.unwrap_or_default();
        messages.push(Message { target, message_id, headers, body: letter.body });
    }
    let lanes: Vec<_> = lanes.into_iter().collect();
    if let Err(fault) = engine.link.broker.declare(&lanes).await {
        tracing::warn!(%fault, "lanes of evicted messages could not be declared; publishing all the same");
    }
    let (mut revived, mut failed) = (0, None);
    for ((number, revives), answer) in numbers.into_iter().zip(engine.link.broker.publish(messages).await) {
        match answer {
            Ok(()) => {
                revived += usize::from(revives);
                reading.remove(number).await?;
            }
            Err(fault) => failed = Some(fault),
        }
    }
    if revived > 0 {
        tracing::warn!(revived, "messages that the broker had evicted went back to their lanes");
        engine.metrics.revived(revived);
    }
    failed.map_or(Ok(()), Err)
}
