//! Named limits and pauses: setting them, and seeing how they stand.

use crate::connect::Producer;
use crate::time::Time;
use longshore_link::error::{Fault, Service};
use longshore_link::store::{LimitState, PauseOrder, PauseState};
use longshore_model::gate::{LimitPolicy, Pausable, check_key, check_limit_name};
use longshore_model::limits;

impl Producer {
    /// Sets a named limit, or changes it. It holds from the next job on: what was let through already stays, and who waits
    /// goes on as soon as it may. Jobs ask for it by [`crate::JobBuilder::limit`].
    ///
    /// # Errors
    /// [`Fault::Refused`] for an illegal name or policy, each problem named; any [`Fault`] when the store gives no answer.
    pub async fn set_limit(&self, name: &str, policy: &LimitPolicy) -> Result<(), Fault> {
        let mut problems = policy.problems();
        problems.extend(check_limit_name(name).err());
        if !problems.is_empty() {
            return Err(Fault::refused(Service::Store, problems.join("; ")));
        }
        self.link().store.set_limit(name, Some(policy)).await?;
        self.record("limit set", name, &[]).await;
        Ok(())
    }

    /// Takes a limit away: jobs that name it pass.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn remove_limit(&self, name: &str) -> Result<(), Fault> {
        self.link().store.set_limit(name, None).await?;
        self.record("limit remove", name, &[]).await;
        Ok(())
    }

    /// Every named limit, with the jobs that it let through and those that wait for it.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn limits(&self) -> Result<Vec<LimitState>, Fault> {
        self.link().store.limits().await
    }

    /// Pauses a queue, a topic, an order key or everything for the whole fleet, until [`Self::resume`] or until a time. What runs goes
    /// on; everything else waits and says so. Pausing again changes who, why and until when. Answers whether it was paused
    /// before.
    ///
    /// # Errors
    /// [`Fault::Refused`] when `by` or `why` is too long, or the time has passed; any [`Fault`] when the store gives no
    /// answer.
    pub async fn pause(&self, what: &Pausable, by: &str, why: &str, until: Option<Time>) -> Result<bool, Fault> {
        check_key("what", &what.to_string()).map_err(|problem| Fault::refused(Service::Store, problem))?;
        for (field, text) in [("by", by), ("why", why)] {
            if text.len() > limits::TITLE_BYTES {
                let problem = format!("{field}: {} bytes is more than {}; shorten it", text.len(), limits::TITLE_BYTES);
                return Err(Fault::refused(Service::Store, problem));
            }
        }
        let until = until.map(Time::unix_ms);
        if until.is_some_and(|until| until <= self.link().world.clock.unix_ms()) {
            return Err(Fault::refused(
                Service::Store,
                "until: this time has passed; leave it out, or name a later one",
            ));
        }
        let order = PauseOrder { by: by.to_owned(), why: why.to_owned(), until };
        let before = self.link().store.set_pause(what, Some(&order)).await?;
        self.record("pause", &what.to_string(), &[]).await;
        Ok(before)
    }

    /// Ends a pause; what waited is queued at a bounded rate. Answers whether it was paused.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn resume(&self, what: &Pausable) -> Result<bool, Fault> {
        let before = self.link().store.set_pause(what, None).await?;
        self.record("resume", &what.to_string(), &[]).await;
        Ok(before)
    }

    /// Every pause, with the jobs that it holds.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn pauses(&self) -> Result<Vec<PauseState>, Fault> {
        self.link().store.pauses().await
    }
}
