//! The topic × instance matrix: seeing who takes what, and changing it from anywhere (O08, O09).
//!
//! Rows are of instances by their id, which is theirs for good: a name may be that of several replicas, and changes with
//! the host. Where people say who is meant, [`Producer::find_instance`] finds the id to a name.

use crate::connect::Producer;
use crate::errors::MatrixError;
use longshore_link::error::Fault;
use longshore_link::store::RowChange;
use longshore_model::id::InstanceId;
use longshore_model::limits;
use longshore_model::topic::TopicPattern;
use longshore_model::topology::View;
use longshore_model::topology::matrix::{KeptRow, Row, Rule};
use longshore_model::topology::table::TopicLine;
use std::collections::BTreeMap;
use std::time::Duration;

/// Tries of a change while others change the same row.
const TRIES: usize = 20;
/// Time between two looks whether an instance goes by its row.
const LOOK: Duration = Duration::from_millis(100);

impl Producer {
    /// Every known topic and how each live instance stands to it, with what waits and where nobody takes it.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn topic_table(&self) -> Result<Vec<TopicLine>, Fault> {
        let (link, store) = (self.link(), &self.link().store);
        let (topics, counts, at, view) =
            tokio::try_join!(store.topics(), store.counts(), store.queued_at(), link.view())?;
        let line = |topic| {
            let counts = counts.get(&topic);
            TopicLine::new(topic, counts, &at, &view)
        };
        Ok(topics.into_iter().map(line).collect())
    }

    /// The matrix as it is kept: the row of every instance that was ever given one, live or not, until it is forgotten.
    /// What live instances go by is in their cards ([`Self::topology`]).
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn matrix(&self) -> Result<BTreeMap<InstanceId, KeptRow>, Fault> {
        self.link().store.matrix().await
    }

    /// The instance that is meant by an id or a name: a live one, or one that has a row.
    ///
    /// # Errors
    /// [`MatrixError::Unknown`], [`MatrixError::Ambiguous`], or the [`Fault`] of a store that gives no answer.
    pub async fn find_instance(&self, text: &str) -> Result<InstanceId, MatrixError> {
        let store = &self.link().store;
        let (view, rows): (View, _) = tokio::try_join!(store.view(), store.matrix())?;
        let id = InstanceId(text.to_owned());
        if rows.contains_key(&id) || view.instances.iter().any(|card| card.owner.instance == id) {
            return Ok(id);
        }
        let named = view.instances.iter().filter(|card| card.name == text);
        let mut ids: Vec<InstanceId> = named.map(|card| card.owner.instance.clone()).collect();
        match (ids.pop(), ids.is_empty()) {
            (Some(id), true) => Ok(id),
            (Some(id), false) => {
                ids.push(id);
                Err(MatrixError::Ambiguous { name: text.to_owned(), ids })
            }
            (None, _) => Err(MatrixError::Unknown(text.to_owned())),
        }
    }

    /// Lets an instance take the topics of a pattern, keeps it from them, or makes them the only ones that it takes. The
    /// instance stops consuming what it may not take, gives back what it had not started, and finishes what runs; it
    /// needs no restart, and the rule outlives it. What its settings deny it does not get.
    ///
    /// # Errors
    /// [`MatrixError`]; an unknown outcome is safe to repeat.
    pub async fn set_topic(
        &self,
        instance: &InstanceId,
        topics: &TopicPattern,
        rule: Rule,
        by: &str,
    ) -> Result<KeptRow, MatrixError> {
        let action = format!("topic {}", rule.as_str());
        self.change_row(instance, by, &action, |row| row.set(topics, rule, by)).await
    }

    /// Takes all rules of an instance away.
    ///
    /// # Errors
    /// As [`Self::set_topic`].
    pub async fn clear_topics(&self, instance: &InstanceId, by: &str) -> Result<KeptRow, MatrixError> {
        self.change_row(instance, by, "topic clear", |row| Ok(row.clear(by))).await
    }

    /// Makes an instance take nothing new until it is resumed: its process goes on, finishes what runs and does its other
    /// duties. It stays drained when it starts anew.
    ///
    /// # Errors
    /// As [`Self::set_topic`].
    pub async fn drain_instance(&self, instance: &InstanceId, by: &str) -> Result<KeptRow, MatrixError> {
        self.change_row(instance, by, "instance drain", |row| Ok(row.drain(true, by))).await
    }

    /// Lets a drained instance take jobs again, by the rules that it has.
    ///
    /// # Errors
    /// As [`Self::set_topic`].
    pub async fn resume_instance(&self, instance: &InstanceId, by: &str) -> Result<KeptRow, MatrixError> {
        self.change_row(instance, by, "instance resume", |row| Ok(row.drain(false, by))).await
    }

    /// Waits until an instance goes by a row, at most so long. `false`: it is not live, or has not said so in time.
    ///
    /// # Errors
    /// [`Fault`] when the store gives no answer.
    pub async fn row_in_effect(&self, instance: &InstanceId, row: &Row, most: Duration) -> Result<bool, Fault> {
        let clock = &self.link().world.clock;
        let until = clock.boot() + most;
        loop {
            let view = self.topology().await?;
            let Some(card) = view.instances.iter().find(|card| card.owner.instance == *instance) else {
                return Ok(false);
            };
            if card.row == *row || clock.boot() >= until {
                return Ok(card.row == *row);
            }
            clock.sleep(LOOK).await;
        }
    }

    async fn change_row(
        &self,
        instance: &InstanceId,
        by: &str,
        action: &str,
        change: impl Fn(&Row) -> Result<Row, String>,
    ) -> Result<KeptRow, MatrixError> {
        if by.len() > limits::BY_BYTES {
            let problem = format!("by: {} bytes is more than {}; shorten it", by.len(), limits::BY_BYTES);
            return Err(MatrixError::Refused(problem));
        }
        let store = &self.link().store;
        let mut known = store.row(instance).await?;
        for _ in 0..TRIES {
            let kept = known.unwrap_or_default();
            let row = change(&kept.row).map_err(MatrixError::Refused)?;
            match store.set_row(instance, kept.revision, &row).await? {
                RowChange::Done(kept) => {
                    self.record(action, &instance.0, &[]).await;
                    return Ok(kept);
                }
                RowChange::Differs(now) => known = now,
            }
        }
        Err(MatrixError::Busy(instance.clone()))
    }
}
