//! Processing: deliver, claim, run, finish, acknowledge, each a stage that takes what the one before has ready.

use std::collections::BTreeSet;
use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::sync::mpsc;

use super::{BATCH, Baseline, Error, PREFETCH};

/// A job on its way through the stages.
struct Job {
    tag: u64,
    id: String,
    payload: Vec<u8>,
    fence: u64,
}

impl Baseline {
    /// Runs `jobs` waiting jobs that do nothing, at most `concurrency` at once; returns jobs per second, from the
    /// first request for deliveries to the last acknowledgement.
    ///
    /// # Errors
    /// When a service fails, or a job is not queued or no longer ours.
    pub async fn process(&self, jobs: usize, concurrency: usize) -> Result<f64, Error> {
        let start = Instant::now();
        self.work(jobs, concurrency, |_| {}).await?;
        Ok(jobs as f64 / start.elapsed().as_secs_f64())
    }

    /// Runs `jobs` jobs with `handler`, at most `concurrency` at once, and ends.
    pub(super) async fn work(
        &self,
        jobs: usize,
        concurrency: usize,
        handler: impl Fn(&[u8]) + Sync,
    ) -> Result<(), Error> {
        // Not the publisher's connection: a broker that blocks publishers would hold back the acknowledgements.
        let connection = Connection::connect(&self.broker_url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;

        // Unbounded because the prefetch bounds all that is under way. A stage ends when the one before has ended.
        let (delivered, to_claim) = mpsc::unbounded_channel();
        let (claimed, to_run) = mpsc::unbounded_channel();
        let (ran, to_finish) = mpsc::unbounded_channel();
        let run = async {
            let ran = ran;
            let runnable =
                stream::unfold(to_run, async |mut jobs: mpsc::UnboundedReceiver<Job>| Some((jobs.recv().await?, jobs)));
            runnable
                .for_each_concurrent(concurrency, async |job: Job| {
                    handler(&job.payload);
                    // The finish stage is gone only when it failed, and then its error ends the work.
                    let _ = ran.send(job);
                })
                .await;
            Ok(())
        };
        tokio::try_join!(
            self.deliver(&channel, jobs, delivered),
            self.claim(to_claim, claimed),
            run,
            self.finish(&channel, to_finish)
        )?;
        // Settles what was sent: the close is answered after all that went before it.
        connection.close(200, "done".into()).await?;
        Ok(())
    }

    async fn deliver(
        &self,
        channel: &Channel,
        jobs: usize,
        delivered: mpsc::UnboundedSender<Job>,
    ) -> Result<(), Error> {
        let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
        let consumer = channel.basic_consume(self.lane.as_str().into(), "".into(), options, arguments).await?;
        let mut deliveries = consumer.take(jobs);
        let mut left = jobs;
        while let Some(delivery) = deliveries.next().await {
            let delivery = delivery?;
            let id = delivery.properties.message_id().as_ref().ok_or("a message without an id")?.to_string();
            delivered.send(Job { tag: delivery.delivery_tag, id, payload: delivery.data, fence: 0 })?;
            left -= 1;
        }
        if left == 0 { Ok(()) } else { Err(format!("the deliveries ended {left} jobs too early").into()) }
    }

    async fn claim(
        &self,
        mut to_claim: mpsc::UnboundedReceiver<Job>,
        claimed: mpsc::UnboundedSender<Job>,
    ) -> Result<(), Error> {
        let mut records = self.records();
        let mut batch: Vec<Job> = Vec::with_capacity(BATCH);
        while to_claim.recv_many(&mut batch, BATCH).await > 0 {
            let fences = records.claim("baseline", batch.iter().map(|job| job.id.as_str())).await?;
            for (job, fence) in batch.drain(..).zip(fences) {
                if fence == 0 {
                    return Err(format!("job {} is not queued", job.id).into());
                }
                claimed.send(Job { fence, ..job })?;
            }
        }
        Ok(())
    }

    async fn finish(&self, channel: &Channel, mut to_finish: mpsc::UnboundedReceiver<Job>) -> Result<(), Error> {
        let mut records = self.records();
        let mut acknowledged = Run::default();
        let mut batch: Vec<Job> = Vec::with_capacity(BATCH);
        while to_finish.recv_many(&mut batch, BATCH).await > 0 {
            let done = records.finish(batch.iter().map(|job| (job.id.as_str(), job.fence))).await?;
            if let Some(at) = done.iter().position(|done| !done) {
                return Err(format!("job {} is no longer ours", batch[at].id).into());
            }
            if let Some(last) = acknowledged.add(batch.drain(..).map(|job| job.tag)) {
                channel.basic_ack(last, BasicAckOptions { multiple: true }).await?;
            }
        }
        Ok(())
    }
}

/// Delivery tags that are done: a run without gaps from the first on, and those beyond a gap.
#[derive(Debug, Default)]
struct Run {
    last: u64,
    beyond: BTreeSet<u64>,
}

impl Run {
    /// Adds tags; returns the new end of the run when it has grown, to be acknowledged with all before it.
    fn add(&mut self, tags: impl Iterator<Item = u64>) -> Option<u64> {
        self.beyond.extend(tags);
        let before = self.last;
        while self.beyond.first() == Some(&(self.last + 1)) {
            self.beyond.pop_first();
            self.last += 1;
        }
        (self.last > before).then_some(self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_before_the_first_gap() {
        let mut run = Run::default();
        assert_eq!(run.add([2, 3].into_iter()), None);
        assert_eq!(run.add([1, 5].into_iter()), Some(3));
        assert_eq!(run.add([6].into_iter()), None);
        assert_eq!(run.add([4].into_iter()), Some(6));
        assert!(run.beyond.is_empty());
    }
}
