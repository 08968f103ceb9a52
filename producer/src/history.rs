//! The history: what has ended, and how long ago.

use crate::connect::Producer;
use crate::errors::QueryError;
use longshore_model::{JobId, limits, span};
use std::time::Duration;

impl Producer {
    /// Those of these jobs that ended longer ago than that, by the store's clock.
    ///
    /// # Errors
    /// [`QueryError`] when the store gives no answer.
    pub async fn ended_before(&self, jobs: Vec<JobId>, age: Duration) -> Result<Vec<JobId>, QueryError> {
        let store = &self.link().store;
        let until = store.ping().await?.saturating_sub(span::ms(age));
        let mut found = Vec::new();
        for part in jobs.chunks(limits::BATCH) {
            let records = store.records(part.to_vec()).await?.into_iter().flatten();
            let old = records.filter(|record| record.finished.is_some_and(|finished| finished < until));
            found.extend(old.map(|record| record.id));
        }
        Ok(found)
    }
}
