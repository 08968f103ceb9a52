//! What this instance tells of the jobs that it runs (N01), after the store has it. Reads two numbers while nobody listens.

use super::Engine;
use super::adopt::Origin;
use super::attempt::Attempt;
use longshore_link::error::NotAccepted;
use longshore_link::store::{Accepted, NewJob};
use longshore_model::event::{Class, Event, Kind};
use longshore_model::limits;
use longshore_model::record::State;
use longshore_model::snapshot::{Progress, ProgressView};
use longshore_model::span::ms;
use longshore_model::transition::Verdict;

fn event(engine: &Engine, kind: Kind, origin: &Origin) -> Event {
    let envelope = &origin.envelope;
    Event {
        id: Some(envelope.id),
        queue: envelope.queue.clone(),
        title: envelope.title.clone(),
        labels: envelope.labels.clone(),
        payload: Some(envelope.payload.clone()),
        attempt: Some(origin.attempt),
        ..engine.link.event(kind, envelope.topic.clone())
    }
}

/// An attempt starts.
pub(crate) fn started(engine: &Engine, origin: &Origin) {
    if !engine.link.is_heard(Class::Job) {
        return;
    }
    let accepted = origin.delivery.headers.enqueued.unwrap_or_else(|| origin.envelope.id.created_ms());
    let waited = engine.link.world.clock.unix_ms().saturating_sub(accepted);
    engine.link.tell(Event { state: Some(State::Active), ms: Some(waited), ..event(engine, Kind::Started, origin) });
}

/// An attempt ended with this verdict, and its job is in this state by that.
pub(crate) fn ended(attempt: &Attempt, verdict: &Verdict, state: State) {
    let engine = &attempt.engine;
    let kind = match (state, verdict) {
        (State::Succeeded, _) => Kind::Finished,
        (State::Error | State::GivenUp | State::Stopped, _) => Kind::Cancelled,
        (_, Verdict::Failed { .. }) => Kind::Failed,
        _ => return,
    };
    if !engine.link.is_heard(Class::Job) {
        return;
    }
    let message = match verdict {
        Verdict::Succeeded { message } => message.clone(),
        Verdict::Failed { error, .. } | Verdict::Fatal { error, .. } => Some(error.clone()),
        Verdict::Released { message, .. } => Some(message.clone()),
    };
    let ran = engine.link.world.clock.boot().saturating_sub(attempt.began);
    engine.link.tell(Event {
        state: Some(state),
        ms: Some(ms(ran)),
        message: message.map(|message| limits::cut(&message, limits::MESSAGE_BYTES)),
        ..event(engine, kind, &attempt.origin)
    });
}

/// A running job says how far it is.
pub(crate) fn progressed(engine: &Engine, origin: &Origin, progress: &Progress) {
    if !engine.link.is_heard(Class::Progress) {
        return;
    }
    engine.link.tell(Event {
        state: Some(State::Active),
        progress: Some(ProgressView::from(progress.clone())),
        ..event(engine, Kind::Progress, origin)
    });
}

/// An attempt sent jobs with its success.
pub(crate) fn added(engine: &Engine, jobs: &[NewJob], answers: &[Result<Accepted, NotAccepted>]) {
    if !engine.link.is_heard(Class::Job) {
        return;
    }
    for (job, answer) in jobs.iter().zip(answers) {
        if let Ok(accepted) = answer
            && !accepted.existed
        {
            engine.link.tell_added(job, accepted);
        }
    }
}
