//! Questions to instances, by the rules of the other store's scripts.

use crate::store::{Asked, Standing};
use longshore_model::id::Owner;
use longshore_model::limits;
use longshore_model::topology::asking::{Question, QuestionId, Said};
use std::collections::BTreeMap;

/// How far one incarnation is with a question.
#[derive(Debug)]
enum State {
    Waits,
    Began,
    /// It left the fleet before it began.
    Gone,
    Said(Said),
}

#[derive(Debug)]
struct Kept {
    question: Question,
    until: u64,
    /// When it is forgotten, ms.
    kept_until: u64,
    closed: bool,
    /// The process that asks.
    by: u64,
    of: BTreeMap<Owner, State>,
}

impl Kept {
    const fn is_open(&self, now: u64) -> bool {
        !self.closed && self.until > now
    }
}

/// All questions.
#[derive(Debug, Default)]
pub(super) struct Questions {
    known: BTreeMap<QuestionId, Kept>,
    last: u64,
}

impl Questions {
    /// Changes when somebody asks something.
    pub(super) const fn last(&self) -> u64 {
        self.last
    }

    /// Asks. `None`: as many are open as may be; `false`: this one is over.
    pub(super) fn ask(
        &mut self,
        (id, question): (&QuestionId, &Question),
        of: &[Owner],
        by: u64,
        ms: u64,
        now_us: u64,
    ) -> Option<bool> {
        let now = now_us / 1_000;
        self.known.retain(|_, kept| kept.kept_until > now);
        if !self.known.contains_key(id) {
            if self.known.values().filter(|kept| kept.is_open(now)).count() >= limits::QUESTIONS {
                return None;
            }
            let until = now + ms;
            let kept_until = until + limits::QUESTION_KEPT_MS;
            let question = question.clone();
            let kept = Kept { question, until, kept_until, closed: false, by, of: BTreeMap::new() };
            self.known.insert(id.clone(), kept);
        }
        let kept = self.known.get_mut(id).filter(|kept| kept.is_open(now));
        let Some(kept) = kept else { return Some(false) };
        for owner in of {
            kept.of.entry(owner.clone()).or_insert(State::Waits);
        }
        self.last = now_us.max(self.last + 1);
        Some(true)
    }

    /// Those that an incarnation takes up now.
    pub(super) fn take(&mut self, owner: &Owner, known: &[QuestionId], limit: usize, now: u64) -> Vec<Asked> {
        let mut open: Vec<_> = self.known.iter_mut().filter(|(_, kept)| kept.is_open(now)).collect();
        open.sort_by_key(|(_, kept)| kept.until);
        let mut taken = Vec::new();
        for (id, kept) in open.into_iter().filter(|(id, _)| !known.contains(id)) {
            let state = kept.of.get_mut(owner).filter(|state| matches!(state, State::Waits | State::Began));
            if let Some(state) = state
                && taken.len() < limit
            {
                *state = State::Began;
                let (question, left_ms) = (kept.question.clone(), kept.until - now);
                taken.push(Asked { id: id.clone(), question, left_ms });
            }
        }
        taken
    }

    /// An incarnation answers. Answers whether that is kept, and which process is to be told.
    pub(super) fn answer(&mut self, id: &QuestionId, owner: &Owner, said: &Said, now: u64) -> (bool, Option<u64>) {
        let kept = self.known.get_mut(id).filter(|kept| kept.kept_until > now);
        let Some(kept) = kept else { return (false, None) };
        match kept.of.get_mut(owner) {
            Some(State::Said(_)) => (true, None),
            Some(state @ State::Began) if !kept.closed => {
                *state = State::Said(said.clone());
                (true, Some(kept.by))
            }
            _ => (false, None),
        }
    }

    /// How it stands with these.
    pub(super) fn standings(
        &mut self,
        id: &QuestionId,
        of: &[Owner],
        close: bool,
        now: u64,
        is_in: impl Fn(&Owner) -> bool,
    ) -> Option<Vec<Standing>> {
        let kept = self.known.get_mut(id).filter(|kept| kept.kept_until > now)?;
        let mut found = Vec::with_capacity(of.len());
        for owner in of {
            let state = kept.of.get_mut(owner);
            found.push(match state {
                Some(State::Said(said)) => Standing::Said(said.clone()),
                Some(State::Gone) => Standing::Gone { begun: false },
                Some(State::Began) if is_in(owner) => Standing::Begun,
                Some(State::Began) => Standing::Gone { begun: true },
                _ if is_in(owner) => Standing::Waiting,
                _ => {
                    kept.of.insert(owner.clone(), State::Gone);
                    Standing::Gone { begun: false }
                }
            });
        }
        if close {
            kept.closed = true;
            kept.kept_until = now + limits::QUESTION_KEPT_MS;
        }
        Some(found)
    }
}
