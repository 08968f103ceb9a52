//! Bad weather on purpose: a side of the embedded backend that is away, or whose answers get lost.

use crate::error::{Fault, Service};
use std::sync::{Mutex, PoisonError};

/// What calls to one side meet.
#[derive(Debug)]
pub(super) struct Weather {
    service: Service,
    sky: Mutex<Sky>,
}

#[derive(Debug, Default)]
struct Sky {
    away: Option<String>,
    lose: u32,
}

/// What becomes of the answer of a call that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    Arrive,
    GetLost,
}

impl Weather {
    pub(super) fn fair(service: Service) -> Self {
        Self { service, sky: Mutex::default() }
    }

    /// Every call fails without having happened, until this is called with `None`.
    pub(super) fn set_away(&self, why: Option<&str>) {
        self.sky().away = why.map(ToOwned::to_owned);
    }

    /// The next `calls` calls happen, and their callers do not learn it.
    pub(super) fn lose_answers(&self, calls: u32) {
        self.sky().lose = calls;
    }

    /// To be asked at the begin of each call.
    pub(super) fn admit(&self) -> Result<Answers, Fault> {
        let mut sky = self.sky();
        if let Some(why) = &sky.away {
            return Err(Fault::unreachable(self.service, why));
        }
        if sky.lose == 0 {
            return Ok(Answers::Arrive);
        }
        sky.lose -= 1;
        Ok(Answers::GetLost)
    }

    /// The answer of a call that happened.
    pub(super) fn answer<A>(&self, answers: Answers, answer: A) -> Result<A, Fault> {
        match answers {
            Answers::Arrive => Ok(answer),
            Answers::GetLost => Err(Fault::unknown(self.service, "the answer was lost on the way")),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.sky().away.is_some()
    }

    fn sky(&self) -> std::sync::MutexGuard<'_, Sky> {
        self.sky.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
