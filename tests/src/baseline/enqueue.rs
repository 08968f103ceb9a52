//! Enqueueing: the record first, then the confirmed message, as a job must never be announced before it exists.

use std::collections::VecDeque;
use std::time::Instant;

use tokio::sync::mpsc;
use uuid::Uuid;

use super::{BATCH, Baseline, Error, WINDOW, confirmed};

/// About 100 bytes of JSON, as jobs that name a thing and a few options are.
fn payload(number: usize) -> Vec<u8> {
    format!(
        r#"{{"asset":"asset-{number:08}","rendition":"thumbnail","width":320,"height":240,"format":"webp","quality":82}}"#
    )
    .into_bytes()
}

fn job(number: usize) -> (String, Vec<u8>) {
    (Uuid::now_v7().simple().to_string(), payload(number))
}

impl Baseline {
    /// Enqueues one job and waits for its record and its confirm.
    ///
    /// # Errors
    /// When a service fails or does not take the job.
    pub async fn enqueue(&self, id: String, payload: Vec<u8>) -> Result<(), Error> {
        let job = [(id, payload)];
        self.records().enqueue(&job).await?;
        let [(id, payload)] = &job;
        confirmed(&self.publish(id, payload).await?.await?)
    }

    /// Enqueues `jobs` jobs one after the other; returns jobs per second.
    ///
    /// # Errors
    /// When a service fails or does not take a job.
    pub async fn enqueue_one_by_one(&self, jobs: usize) -> Result<f64, Error> {
        let start = Instant::now();
        for number in 0..jobs {
            let (id, payload) = job(number);
            self.enqueue(id, payload).await?;
        }
        Ok(jobs as f64 / start.elapsed().as_secs_f64())
    }

    /// Enqueues `jobs` jobs as fast as possible, records and messages each in batches; returns jobs per second.
    ///
    /// # Errors
    /// When a service fails or does not take a job.
    pub async fn enqueue_bulk(&self, jobs: usize) -> Result<f64, Error> {
        let start = Instant::now();
        // Two batches under way between the stages keep both busy.
        let (recorded, mut to_publish) = mpsc::channel::<Vec<(String, Vec<u8>)>>(2);
        let record = async {
            // Moved in, so that its end is the end of the other stage.
            let recorded = recorded;
            let mut records = self.records();
            let mut next = 0;
            while next < jobs {
                let batch: Vec<_> = (next..jobs.min(next + BATCH)).map(job).collect();
                next += batch.len();
                records.enqueue(&batch).await?;
                recorded.send(batch).await?;
            }
            Ok::<_, Error>(())
        };
        let publish = async {
            let mut open = VecDeque::with_capacity(WINDOW);
            while let Some(batch) = to_publish.recv().await {
                for (id, payload) in &batch {
                    if open.len() == WINDOW
                        && let Some(oldest) = open.pop_front()
                    {
                        confirmed(&oldest.await?)?;
                    }
                    open.push_back(self.publish(id, payload).await?);
                }
            }
            for confirm in open {
                confirmed(&confirm.await?)?;
            }
            Ok(())
        };
        tokio::try_join!(record, publish)?;
        Ok(jobs as f64 / start.elapsed().as_secs_f64())
    }
}
