//! Answers questions that somebody asks instances.
//!
//! Which questions there are is in the store; a nudge says that there is a new one, and a beat says so when the nudge
//! was lost. Each is taken up once in the life of this process, a few at a time, and the store knows that it was before
//! its handler is called: so who asked can tell an instance that never began from one that may have done something.

use super::{Engine, Phase};
use crate::question::{Answers, Question};
use futures_util::FutureExt;
use longshore_link::store::Asked;
use longshore_model::limits;
use longshore_model::topology::asking::{QuestionId, Said};
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// What could not be read or written is tried again after about so long.
const AGAIN: Duration = Duration::from_millis(500);

/// What is known of questions here.
#[derive(Debug)]
pub(crate) struct Answering {
    answers: Answers,
    /// Somebody asks something, or a place is free.
    pub(crate) look: Notify,
    /// Questions that are being answered.
    busy: AtomicUsize,
}

impl Answering {
    pub(crate) fn new(answers: Answers) -> Self {
        Self { answers, look: Notify::new(), busy: AtomicUsize::new(0) }
    }
}

/// One question that is being answered.
struct Place(Arc<Engine>);

impl Place {
    fn take(engine: &Arc<Engine>) -> Self {
        engine.answering.busy.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(engine))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let answering = &self.0.answering;
        answering.busy.fetch_sub(1, Ordering::SeqCst);
        answering.look.notify_one();
    }
}

/// Answers until the instance has stopped.
pub(crate) async fn run(engine: Arc<Engine>) {
    let clock = &engine.link.world.clock;
    // What was taken up, until nobody asks any more.
    let mut known: BTreeMap<QuestionId, Duration> = BTreeMap::new();
    loop {
        // Whoever cannot prove that it lives takes up nothing: others may count it as gone already.
        if !engine.until_sure().await {
            return;
        }
        let now = clock.boot();
        known.retain(|_, until| *until > now);
        let room = limits::QUESTIONS_AT_ONCE.saturating_sub(engine.answering.busy.load(Ordering::SeqCst));
        let mut wait = None;
        if room > 0 {
            let ids: Vec<QuestionId> = known.keys().cloned().collect();
            let taken = tokio::select! {
                biased;
                () = engine.until(Phase::Stopped) => return,
                taken = engine.link.store.take_questions(&engine.owner, &ids, room) => taken,
            };
            match taken {
                Ok(taken) => {
                    for asked in taken {
                        let until = clock.boot() + Duration::from_millis(asked.left_ms);
                        known.insert(asked.id.clone(), until + Duration::from_millis(limits::QUESTION_KEPT_MS));
                        let place = Place::take(&engine);
                        drop(engine.link.world.tasks.spawn(answer(place, asked, until)));
                    }
                }
                Err(fault) => {
                    tracing::debug!(%fault, "questions could not be read; trying again");
                    wait = Some(engine.link.world.random.jitter(AGAIN));
                }
            }
        }
        let woken = async {
            match wait {
                Some(wait) => clock.sleep(wait).await,
                None => engine.answering.look.notified().await,
            }
        };
        tokio::select! {
            biased;
            () = engine.until(Phase::Stopped) => return,
            () = woken => {}
        }
    }
}

/// Answers one question, as long as somebody waits for it.
async fn answer(place: Place, asked: Asked, until: Duration) {
    let engine = &place.0;
    let id = asked.id.clone();
    let answering = async {
        let said = say(engine, asked).await;
        while let Err(fault) = engine.link.store.answer(&id, &engine.owner, &said).await {
            tracing::debug!(question = %id, %fault, "an answer was not taken; trying again");
            engine.link.world.clock.sleep(engine.link.world.random.jitter(AGAIN)).await;
        }
    };
    let left = until.saturating_sub(engine.link.world.clock.boot());
    tokio::select! {
        biased;
        () = engine.until(Phase::Stopped) => {}
        answered = engine.link.world.clock.timeout(left, answering) => {
            if answered.is_none() {
                tracing::warn!(question = %id, "a question was not answered in time");
            }
        }
    }
}

async fn say(engine: &Engine, asked: Asked) -> Said {
    let Some(handler) = engine.answering.answers.of(&asked.question.name) else {
        tracing::debug!(name = %asked.question.name, "nobody answers this here");
        return Said::NoHandler;
    };
    let left = Duration::from_millis(asked.left_ms);
    let question = Question { id: asked.id, asked: asked.question, left };
    let run = AssertUnwindSafe(async move { handler(question).await });
    run.catch_unwind().await.unwrap_or_else(|panic| Said::failed(&super::run::panic_text(panic.as_ref())))
}
