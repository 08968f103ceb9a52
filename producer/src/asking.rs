//! Asking every live instance that fits something, and knowing who has answered and who has not.
//!
//! The store knows who is in and who took the question up, so that each of them ends as one of: answered, failed, has
//! no handler, gone, silent, or unknown. Instances register what they answer with `longshore_consumer::Consumer::answer`.

use crate::connect::Producer;
use crate::errors::AskError;
use longshore_link::Link;
use longshore_link::error::{Fault, Service};
use longshore_link::store::{Nudge, Standing};
use longshore_model::id::Owner;
use longshore_model::limits;
use longshore_model::span::{ms, show};
use longshore_model::topic::Topic;
use longshore_model::topology::asking::{Question, QuestionId, Said};
use longshore_model::topology::{Card, View};
use longshore_model::{InstanceId, envelope};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How long answers are waited for, unless it is said.
const WITHIN: Duration = Duration::from_secs(10);
/// The state is read so often at least, whatever nudges are lost.
const LOOK: Duration = Duration::from_secs(1);
/// Answers come in swarms: one look for those of so much time.
const SWARM: Duration = Duration::from_millis(5);
/// Rest after the store gave no answer.
const AGAIN: Duration = Duration::from_millis(250);
/// How long the store may take at the end to say how everybody stands.
const CLOSING: Duration = Duration::from_secs(3);
/// Why nothing is known of those that were asked.
const LOST: &str = "the store has lost the question";

/// A question to live instances. Made by [`Producer::ask`].
#[derive(Debug, Clone)]
#[must_use = "instances are asked by `.send().await`"]
pub struct Ask {
    link: Link,
    /// Who asks, where that is to be recorded.
    producer: Option<Producer>,
    question: Result<Question, AskError>,
    whom: Whom,
    within: Duration,
    newcomers: bool,
}

/// Which instances are asked: those that fit all of it.
#[derive(Debug, Clone, Default)]
struct Whom {
    instances: Option<BTreeSet<InstanceId>>,
    labels: BTreeMap<String, String>,
    topics: Vec<Topic>,
}

impl Whom {
    fn admits(&self, card: &Card) -> bool {
        self.instances.as_ref().is_none_or(|ids| ids.contains(&card.owner.instance))
            && self.labels.iter().all(|(name, value)| card.labels.get(name) == Some(value))
            && self.topics.iter().all(|topic| card.takes(topic))
    }

    fn of(&self, view: &View) -> Vec<Member> {
        let member = |card: &Card| Member { owner: card.owner.clone(), name: card.name.clone() };
        view.instances.iter().filter(|card| self.admits(card)).map(member).collect()
    }
}

/// A live instance, and which start of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Which start of which instance.
    #[serde(flatten)]
    pub owner: Owner,
    /// Its name, for people.
    pub name: String,
}

/// What became of a question at one instance.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AskOutcome {
    /// Its handler answered this.
    Answered(Box<RawValue>),
    /// Its handler answered with an error, or panicked.
    Failed(String),
    /// It answers nothing under this name.
    NoHandler,
    /// It left the fleet, or died, before it answered.
    Gone,
    /// It has not answered in time.
    Silent,
    /// The store did not say how it stands with it, and why.
    Unknown(String),
}

impl AskOutcome {
    /// In a word, as it is in JSON.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Answered(_) => "answered",
            Self::Failed(_) => "failed",
            Self::NoHandler => "no_handler",
            Self::Gone => "gone",
            Self::Silent => "silent",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Whether nothing more is to be waited for.
    const fn is_final(&self) -> bool {
        matches!(self, Self::Answered(_) | Self::Failed(_) | Self::NoHandler | Self::Gone)
    }
}

/// Whether the handler ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ran {
    /// To its end, or to its error.
    Yes,
    /// It did not and never will.
    No,
    /// It may have begun, and may have come to its end.
    Unknown,
}

/// One instance that was asked.
#[derive(Debug, Clone)]
pub struct InstanceAnswer {
    /// The instance.
    pub member: Member,
    /// What became of the question there.
    pub outcome: AskOutcome,
    /// Whether its handler ran.
    pub ran: Ran,
}

impl Serialize for InstanceAnswer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (answer, error) = match &self.outcome {
            AskOutcome::Answered(answer) => (Some(answer), None),
            AskOutcome::Failed(error) | AskOutcome::Unknown(error) => (None, Some(error)),
            _ => (None, None),
        };
        let mut out = serializer.serialize_struct("InstanceAnswer", 7)?;
        out.serialize_field("instance", &self.member.owner.instance)?;
        out.serialize_field("incarnation", &self.member.owner.incarnation)?;
        out.serialize_field("name", &self.member.name)?;
        out.serialize_field("outcome", self.outcome.as_str())?;
        out.serialize_field("answer", &answer)?;
        out.serialize_field("error", &error)?;
        out.serialize_field("ran", &self.ran)?;
        out.end()
    }
}

/// What became of a question.
#[derive(Debug, Clone, Serialize)]
pub struct Answers {
    /// Which asking it was.
    pub id: QuestionId,
    /// Whether everybody who was asked has answered, in whatever way, or is known to be gone. Of all members that fit
    /// and were in when it began, that is: those that came later are in [`Self::not_asked`].
    pub complete: bool,
    /// The number of the view at the beginning.
    pub view: u64,
    /// Everybody who was asked, in the order of joining.
    pub instances: Vec<InstanceAnswer>,
    /// Who fits, came meanwhile and was not asked; `None`: the store did not say.
    pub not_asked: Option<Vec<Member>>,
}

impl Answers {
    /// Whether everybody who was asked has answered, and none with an error.
    #[must_use]
    pub fn all_answered(&self) -> bool {
        self.instances.iter().all(|one| matches!(one.outcome, AskOutcome::Answered(_)))
    }
}

impl Producer {
    /// Asks every live instance something, under a name for which instances have handlers (`Consumer::answer`), and
    /// waits until all have answered or are gone. [`Ask`] says whom, how long, and [`Ask::send`] does it.
    pub fn ask(&self, name: &str, payload: &impl Serialize) -> Ask {
        self.asking(name, to_raw(payload))
    }

    /// As [`Self::ask`], with JSON that exists already.
    pub fn ask_raw(&self, name: &str, payload: impl Into<String>) -> Ask {
        let payload = RawValue::from_string(payload.into()).map_err(|error| AskError::NotJson(error.to_string()));
        self.asking(name, payload)
    }

    fn asking(&self, name: &str, payload: Result<Box<RawValue>, AskError>) -> Ask {
        Ask { producer: Some(self.clone()), ..Ask::new(self.link(), name, payload) }
    }
}

fn to_raw(payload: &impl Serialize) -> Result<Box<RawValue>, AskError> {
    serde_json::value::to_raw_value(payload).map_err(|error| AskError::NotJson(error.to_string()))
}

impl Ask {
    /// A question over these connections, which needs no producer.
    pub fn over(link: &Link, name: &str, payload: &impl Serialize) -> Self {
        Self::new(link, name, to_raw(payload))
    }

    fn new(link: &Link, name: &str, payload: Result<Box<RawValue>, AskError>) -> Self {
        let question = payload.and_then(|payload| {
            let (bytes, limit) = (payload.get().len(), limits::INLINE_BYTES);
            if bytes > limit {
                return Err(AskError::TooLarge { bytes, limit });
            }
            Ok(Question { name: Topic::new(name)?, payload })
        });
        let whom = Whom::default();
        Self { link: link.clone(), producer: None, question, whom, within: WITHIN, newcomers: false }
    }

    /// Only these instances, of those that are live.
    pub fn of_instances(mut self, ids: impl IntoIterator<Item = InstanceId>) -> Self {
        self.whom.instances.get_or_insert_default().extend(ids);
        self
    }

    /// Only instances whose settings say this (`instance.labels`).
    pub fn labelled(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        if let Err(why) = envelope::check_label(&name, &value)
            && self.question.is_ok()
        {
            self.question = Err(AskError::Refused(why));
        }
        self.whom.labels.insert(name, value);
        self
    }

    /// Only instances that take jobs of this topic now.
    pub fn taking(mut self, topic: Topic) -> Self {
        self.whom.topics.push(topic);
        self
    }

    /// How long answers are waited for, 1 ms to [`limits::QUESTION_MS`]; 10 s unless it is said. Handlers are dropped
    /// after it.
    pub const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// Asks those as well that fit and join while it goes on; they have to answer like the others.
    pub const fn and_newcomers(mut self) -> Self {
        self.newcomers = true;
        self
    }

    /// Asks, and waits until everybody has answered or is gone, or the time is over. Each handler is called at most once.
    ///
    /// # Errors
    /// [`AskError`]: nobody was asked; or, where it is an unknown [`Fault`], it is not known whether anybody was.
    pub async fn send(self) -> Result<Answers, AskError> {
        let question = self.question?;
        let most = Duration::from_millis(limits::QUESTION_MS);
        if self.within < Duration::from_millis(1) || self.within > most {
            let (given, most) = (show(self.within), show(most));
            return Err(AskError::Refused(format!("{given} to wait for answers is not within 1ms to {most}")));
        }
        let world = &self.link.world;
        let deadline = world.clock.boot() + self.within;
        let id = QuestionId::new(world.clock.unix_ms(), world.random.bytes());
        // Listened to before anybody can answer.
        let nudges = self.link.store.nudges();
        let mut asking = Asking { link: &self.link, whom: self.whom, id, question, deadline, asked: Vec::new() };
        let view = asking.in_time(asking.link.store.view()).await.map_err(|fault| match fault {
            // Nobody was asked by that, whatever became of it.
            Fault::Unknown { service, detail } => Fault::unreachable(service, detail),
            other => other,
        })?;
        let members = asking.whom.of(&view);
        if !members.is_empty() {
            asking.add(members).await?;
            asking.wait(nudges, self.newcomers).await;
            asking.close().await;
        }
        let not_asked = asking.not_asked().await;
        let Asking { id, question, asked, .. } = asking;
        let complete = asked.iter().all(|one| one.outcome.is_final());
        let answers = Answers { id, complete, view: view.number, instances: asked, not_asked };
        if let Some(producer) = &self.producer {
            let count = |word| answers.instances.iter().filter(|one| one.outcome.as_str() == word).count() as u64;
            let words = ["answered", "failed", "no_handler", "gone", "silent", "unknown"];
            let counts = words.map(|word| (word, count(word)));
            producer.record("instance ask", question.name.as_str(), &counts).await;
        }
        Ok(answers)
    }
}

/// A question while it goes on.
struct Asking<'l> {
    link: &'l Link,
    whom: Whom,
    id: QuestionId,
    question: Question,
    /// By the boot clock.
    deadline: Duration,
    asked: Vec<InstanceAnswer>,
}

impl Asking<'_> {
    fn left(&self) -> Duration {
        self.deadline.saturating_sub(self.link.world.clock.boot())
    }

    async fn in_time<T>(&self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        let answer = self.link.world.clock.timeout(self.left(), call).await;
        answer.unwrap_or_else(|| Err(Fault::unknown(Service::Store, "no answer in the time of the question")))
    }

    /// Asks these, again and again while it is not known whether they were.
    async fn add(&mut self, members: Vec<Member>) -> Result<(), Fault> {
        let owners: Vec<Owner> = members.iter().map(|member| member.owner.clone()).collect();
        loop {
            let call = self.link.store.ask(&self.id, &self.question, &owners, ms(self.left()).max(1));
            match self.in_time(call).await {
                Ok(true) => break,
                // Its time has passed, which is what whoever waits for them finds out.
                Ok(false) => return Ok(()),
                Err(fault) if fault.is_unknown() && !self.left().is_zero() => {
                    tracing::debug!(%fault, "it is not known whether instances were asked; asking again");
                    self.link.world.clock.sleep(AGAIN.min(self.left())).await;
                }
                Err(fault) => return Err(fault),
            }
        }
        let outcome = || AskOutcome::Unknown("the store did not say how it stands with it".to_owned());
        let new = |member| InstanceAnswer { member, outcome: outcome(), ran: Ran::Unknown };
        self.asked.extend(members.into_iter().map(new));
        Ok(())
    }

    /// Waits until nobody is left to wait for, or the time is over.
    async fn wait(&mut self, mut nudges: broadcast::Receiver<Nudge>, newcomers: bool) {
        let clock = &self.link.world.clock;
        loop {
            let mut rest = LOOK;
            match self.in_time(self.look(false)).await {
                Ok(Some(found)) => self.note(found, false),
                Ok(None) => return self.give_up(LOST),
                Err(fault) => {
                    tracing::debug!(%fault, "the store did not say who has answered; asking again");
                    rest = AGAIN;
                }
            }
            let mut all = true;
            if newcomers && let Err(fault) = self.ask_newcomers().await {
                tracing::debug!(%fault, "it is not known whether there are newcomers, or they could not be asked");
                (all, rest) = (false, AGAIN);
            }
            if all && self.open().is_empty() || self.left().is_zero() {
                return;
            }
            tokio::select! {
                biased;
                () = heard(&mut nudges, &self.id) => clock.sleep(SWARM.min(self.left())).await,
                () = clock.sleep(rest.min(self.left())) => {}
            }
        }
    }

    async fn ask_newcomers(&mut self) -> Result<(), Fault> {
        let new = self.newcomers().await?;
        if new.is_empty() { Ok(()) } else { self.add(new).await }
    }

    fn open(&self) -> Vec<Owner> {
        let open = self.asked.iter().filter(|one| !one.outcome.is_final());
        open.map(|one| one.member.owner.clone()).collect()
    }

    async fn look(&self, close: bool) -> Result<Option<Vec<Standing>>, Fault> {
        self.link.store.standings(&self.id, &self.open(), close).await
    }

    /// Notes how it stands with those that are open. `closed`: nobody begins or answers any more.
    fn note(&mut self, found: Vec<Standing>, closed: bool) {
        let open = self.asked.iter_mut().filter(|one| !one.outcome.is_final());
        for (one, standing) in open.zip(found) {
            (one.outcome, one.ran) = match standing {
                Standing::Said(Said::Answered(answer)) => (AskOutcome::Answered(answer), Ran::Yes),
                Standing::Said(Said::Failed(error)) => (AskOutcome::Failed(error), Ran::Yes),
                Standing::Said(Said::NoHandler) => (AskOutcome::NoHandler, Ran::No),
                Standing::Gone { begun: true } => (AskOutcome::Gone, Ran::Unknown),
                Standing::Gone { begun: false } => (AskOutcome::Gone, Ran::No),
                Standing::Waiting if closed => (AskOutcome::Silent, Ran::No),
                Standing::Begun if closed => (AskOutcome::Silent, Ran::Unknown),
                // Until it is closed.
                Standing::Waiting | Standing::Begun => continue,
            };
        }
    }

    /// How it stands with those that are open will not be known.
    fn give_up(&mut self, why: &str) {
        for one in self.asked.iter_mut().filter(|one| !one.outcome.is_final()) {
            one.outcome = AskOutcome::Unknown(why.to_owned());
        }
    }

    /// Has nobody begin or answer any more, and notes how everybody stands then.
    async fn close(&mut self) {
        self.deadline = self.link.world.clock.boot() + CLOSING;
        loop {
            match self.in_time(self.look(true)).await {
                Ok(Some(found)) => return self.note(found, true),
                Ok(None) => return self.give_up(LOST),
                // Nobody is left, so nothing depends on it; it is over by itself.
                Err(_) if self.open().is_empty() => return,
                Err(fault) if self.left().is_zero() => return self.give_up(&fault.to_string()),
                Err(_) => self.link.world.clock.sleep(AGAIN.min(self.left())).await,
            }
        }
    }

    /// Who fits and was not asked.
    async fn newcomers(&self) -> Result<Vec<Member>, Fault> {
        let view = self.in_time(self.link.store.view()).await?;
        let mut members = self.whom.of(&view);
        members.retain(|member| self.asked.iter().all(|one| one.member.owner != member.owner));
        Ok(members)
    }

    async fn not_asked(&mut self) -> Option<Vec<Member>> {
        self.deadline = self.link.world.clock.boot() + CLOSING;
        self.newcomers().await.ok()
    }
}

/// Waits until somebody may have answered, or left.
async fn heard(nudges: &mut broadcast::Receiver<Nudge>, id: &QuestionId) {
    loop {
        match nudges.recv().await {
            Ok(Nudge::Answered(answered)) if answered == *id => return,
            Ok(Nudge::View | Nudge::Missed) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
