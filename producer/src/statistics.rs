//! What the fleet did, in numbers (M01): read, and reset.

use crate::connect::Producer;
use longshore_link::error::Fault;
use longshore_model::statistics::{Overview, Selection};

impl Producer {
    /// The numbers of a selection, together, by queue and by topic: counters, times, rates, and the job that waits
    /// longest. They are those of the whole fleet, and outlive every process.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn statistics(&self, selection: &Selection) -> Result<Overview, Fault> {
        let store = &self.inner.link.store;
        let (statistics, view) = tokio::try_join!(store.statistics(), self.link().view())?;
        Ok(statistics.overview(selection, &view))
    }

    /// Begins to count anew what happens in a selection. How many jobs wait and run stays, and so does how many were
    /// accepted. Answers how many pairs of a queue and a topic were reset; repeating it resets again.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn reset_statistics(&self, selection: &Selection) -> Result<u64, Fault> {
        let reset = self.inner.link.store.reset_statistics(selection).await?;
        self.record("stats reset", "", &[("reset", reset)]).await;
        Ok(reset)
    }
}
