//! Replaying a letter: its job gets into the store's and the broker's hands, then the letter goes.
//!
//! The store is asked to accept the job under its own id. It knows the job: nothing is added, and what it answers
//! decides where the message goes. It does not: from now on it does, since a person decided that the job shall run. Only
//! a confirmed publish removes the letter, so that at every instant somebody has the job; a letter that is replayed
//! twice is claimed once.

use super::{Handled, LetterError, LetterView, Letterbox};
use crate::connect::{Admitted, Inner};
use crate::send::Failed;
use bytes::Bytes;
use longshore_link::Fault;
use longshore_link::broker::{Headers, Message, Target};
use longshore_link::error::NotAccepted;
use longshore_link::letters::{Letter, Reading};
use longshore_link::store::{Accepted, NewJob};
use longshore_model::envelope::Envelope;
use longshore_model::names::Park;
use longshore_model::{JobId, State, limits};

/// What became of a letter that was to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// The job has a message in the broker again, and the letter is gone. The job's state by now: `queued` means in its
    /// lane; otherwise the store holds the job, and the message is a spare copy that rests.
    Sent(JobId, State),
    /// The letter stays: its job has ended. Discard it, or retry the job.
    Ended(JobId, Option<State>),
    /// The letter stays: its body is no job. Mend it and replay it with the mended body, or discard it.
    Unreadable(String),
    /// The letter stays: the store does not take the job.
    Refused(JobId, NotAccepted),
    /// The letter stays, and replaying it again is safe.
    Failed(JobId, Fault),
}

impl Replayed {
    /// Whether the letter is gone.
    #[must_use]
    pub const fn is_sent(&self) -> bool {
        matches!(self, Self::Sent(..))
    }
}

/// A letter that is a job.
struct Readable {
    /// Its place in the answer.
    index: usize,
    number: u64,
    message_id: String,
    headers: Headers,
    job: NewJob,
}

impl Letterbox {
    /// Puts letters back to work; see [`Replayed`] for what may become of each. `mended` takes the place of the body of
    /// the one letter that is meant.
    ///
    /// # Errors
    /// [`LetterError`] when nothing was begun.
    pub async fn replay(&self, mended: Option<Bytes>) -> Result<Handled<Replayed>, LetterError> {
        self.check()?;
        if mended.is_some() {
            let meant = self.list().await?.letters.len();
            if meant != 1 {
                return Err(LetterError::NotOne(meant));
            }
        }
        let broker = &self.producer.link().broker;
        // What comes back unreadable meanwhile is not replayed again and again.
        let most = broker.count_letters(self.place).await?;
        let mut reading = broker.read_letters(self.place).await?;
        let mut handled = Handled { letters: Vec::new(), fault: None };
        let ended = self.replay_all(reading.as_mut(), mended, most, &mut handled.letters).await;
        handled.fault = match ended {
            Ok(()) => reading.close().await.err(),
            Err(fault) => Some(fault),
        };
        let looked_after = handled.letters.len() as u64;
        self.producer.record("letters replay", self.place.as_str(), &[("looked after", looked_after)]).await;
        Ok(handled)
    }

    async fn replay_all(
        &self,
        reading: &mut dyn Reading,
        mended: Option<Bytes>,
        most: u64,
        done: &mut Vec<(LetterView, Replayed)>,
    ) -> Result<(), Fault> {
        let (mut looked, mut end) = (0, false);
        while !end {
            let (mut part, mut bytes) = (Vec::new(), 0);
            while part.len() < limits::BATCH && bytes < limits::BATCH_BYTES {
                let next =
                    if looked < most && done.len() + part.len() < self.limit { reading.next().await? } else { None };
                let Some(letter) = next else {
                    end = true;
                    break;
                };
                looked = letter.number;
                if done.len() + part.len() < self.limit
                    && let Some(view) = self.fits(&letter)
                {
                    let body = mended.clone().unwrap_or_else(|| letter.body.clone());
                    bytes += body.len();
                    part.push((view, Letter { body, ..letter }));
                }
            }
            self.replay_part(reading, part, done).await?;
        }
        Ok(())
    }

    async fn replay_part(
        &self,
        reading: &mut dyn Reading,
        part: Vec<(LetterView, Letter)>,
        done: &mut Vec<(LetterView, Replayed)>,
    ) -> Result<(), Fault> {
        let inner = &self.producer.inner;
        let (mut answers, mut readable) = (Vec::with_capacity(part.len()), Vec::new());
        let mut views = Vec::with_capacity(part.len());
        for (index, (view, letter)) in part.into_iter().enumerate() {
            views.push(view);
            match read(inner, letter, index) {
                Ok(job) => {
                    answers.push(None);
                    readable.push(job);
                }
                Err(why) => answers.push(Some(Replayed::Unreadable(why))),
            }
        }
        let (found, fault) = accept_and_publish(inner, reading, readable).await;
        for (index, answer) in found {
            answers[index] = Some(answer);
        }
        // Each was answered above or was readable, and those are all answered.
        done.extend(views.into_iter().zip(answers).filter_map(|(view, answer)| Some((view, answer?))));
        fault.map_or(Ok(()), Err)
    }
}

/// The job that a letter describes.
fn read(inner: &Inner, letter: Letter, index: usize) -> Result<Readable, String> {
    let envelope = Envelope::decode(&letter.body).map_err(|error| error.to_string())?;
    let admission = envelope.admission(&inner.options.queues);
    let fields = envelope.fields();
    let job = NewJob { admission, envelope: letter.body, labels: envelope.labels, fields, again: true, retry_of: None };
    // A mended letter gets the id of its job, whatever it had.
    let message_id = envelope.id.to_string();
    Ok(Readable { index, number: letter.number, message_id, headers: letter.headers, job })
}

/// Answers for every letter, and says what ended the reading, if anything.
async fn accept_and_publish(
    inner: &Inner,
    reading: &mut dyn Reading,
    letters: Vec<Readable>,
) -> (Vec<(usize, Replayed)>, Option<Fault>) {
    if letters.is_empty() {
        return (Vec::new(), None);
    }
    let deadline = inner.deadline();
    let jobs = || letters.iter().map(|letter| letter.job.clone()).collect::<Vec<_>>();
    let admitted: Vec<Admitted> = match inner.repeat(deadline, || inner.enqueue_all(jobs())).await {
        Ok(tried) => tried.answer,
        Err(Failed { fault, .. }) => {
            let failed = |letter: &Readable| (letter.index, Replayed::Failed(letter.job.admission.id, fault.clone()));
            return (letters.iter().map(failed).collect(), None);
        }
    };
    let (mut answers, mut sent) = (Vec::with_capacity(letters.len()), Vec::new());
    for (letter, admitted) in letters.into_iter().zip(admitted) {
        let (id, index) = (letter.job.admission.id, letter.index);
        match admitted {
            Ok(accepted) if accepted.state.is_terminal() => {
                answers.push((index, Replayed::Ended(id, Some(accepted.state))));
            }
            Ok(accepted) => sent.push((letter, accepted)),
            Err(NotAccepted::Ended(_)) => answers.push((index, Replayed::Ended(id, None))),
            Err(refused) => answers.push((index, Replayed::Refused(id, refused))),
        }
    }
    let messages = sent.iter().map(|(letter, accepted)| message(letter, accepted)).collect();
    // Without an answer in time none is confirmed.
    let late = Fault::unknown(longshore_link::error::Service::Broker, "no confirm before the deadline");
    let confirms = inner.within(deadline, inner.link.broker.publish(messages)).await;
    let confirms = confirms.unwrap_or_else(|| vec![Err(late); sent.len()]);
    let mut ended = None;
    for ((letter, accepted), confirm) in sent.into_iter().zip(confirms) {
        let (id, state) = (letter.job.admission.id, accepted.state);
        let answer = match confirm {
            Ok(()) => {
                // Its copy is there; where the letter comes back all the same, it is one copy too many.
                ended = reading.remove(letter.number).await.err().or(ended);
                if state == State::Queued {
                    inner.mark_published(id, accepted.generation);
                }
                Replayed::Sent(id, state)
            }
            Err(fault) => Replayed::Failed(id, fault),
        };
        answers.push((letter.index, answer));
    }
    (answers, ended)
}

fn message(letter: &Readable, accepted: &Accepted) -> Message {
    let lane = accepted.lane(&letter.job.admission);
    let runnable = accepted.state == State::Queued;
    Message {
        target: if runnable { Target::Jobs(lane) } else { Target::Parked(Park::Short, lane) },
        message_id: letter.message_id.clone(),
        headers: Headers {
            generation: accepted.generation,
            enqueued: Some(accepted.created),
            fence: letter.headers.fence,
            parked: (!runnable).then_some(Park::Short),
            reason: None,
            trace: letter.headers.trace.clone(),
        },
        body: letter.job.envelope.clone(),
    }
}
