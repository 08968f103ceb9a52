//! The sending half: jobs of about 100 bytes, one by one, in bulk, or at a steady rate.

use super::BenchError;
use longshore_producer::{
    JobBuilder, JobId, Producer, ProducerOptions, SendError, Sent, Settings, Topic, World, connect_link,
};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::{Duration, Instant};

/// Fills payloads up to the size of jobs that name a thing and a few options.
const FILL: &str = "rendition thumbnail 320x240 webp";

/// The payload of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Noop<'a> {
    /// The run that sent it: an aborted one may have left some.
    #[serde(borrow)]
    pub(super) run: Cow<'a, str>,
    /// Microseconds from the run's beginning to the call to send.
    pub(super) sent_us: u64,
    #[serde(borrow)]
    fill: Cow<'a, str>,
}

/// A producer, and the jobs that it sent.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) producer: Producer,
    pub(super) clock: RunClock,
    topic: Topic,
    sent: Vec<JobId>,
}

/// The time within a run, and its name.
#[derive(Debug, Clone)]
pub(super) struct RunClock {
    pub(super) run: String,
    begun: Instant,
}

impl RunClock {
    /// A run that begins now.
    pub(super) fn new(run: String) -> Self {
        Self { run, begun: Instant::now() }
    }

    /// Microseconds since the run began.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// The payload of a job that is sent now.
    fn payload(&self) -> String {
        let noop = Noop { run: Cow::from(&self.run), sent_us: self.now_us(), fill: FILL.into() };
        serde_json::to_string(&noop).unwrap_or_default()
    }
}

impl Load {
    /// Connects, and makes sure that nobody else takes the topic.
    pub(super) async fn connect(settings: &Settings, world: &World, topic: &Topic) -> Result<Self, BenchError> {
        let link = connect_link(settings, world.process(), "bench").await?;
        let producer = Producer::connect_with(link, ProducerOptions::from_settings(settings));
        if let Some(other) = producer.topology().await?.capable(topic).next() {
            return Err(BenchError::Taken(other.name.clone(), topic.clone()));
        }
        let clock = RunClock::new(format!("{:016x}", world.random.next()));
        Ok(Self { producer, clock, topic: topic.clone(), sent: Vec::new() })
    }

    pub(super) const fn topic(&self) -> &Topic {
        &self.topic
    }

    fn job(&self) -> JobBuilder {
        self.producer.raw(self.topic.as_str(), &self.clock.payload())
    }

    /// Sends jobs one after the other; jobs per second.
    pub(super) async fn one_by_one(&mut self, jobs: usize) -> Result<f64, BenchError> {
        self.sent.reserve(jobs);
        let begun = Instant::now();
        for _ in 0..jobs {
            let sent = self.job().send().await?;
            self.sent.push(sent.id);
        }
        Ok(per_second(jobs, begun.elapsed()))
    }

    /// Sends jobs as fast as they are taken; jobs per second.
    pub(super) async fn bulk(&mut self, jobs: usize) -> Result<f64, BenchError> {
        self.sent.reserve(jobs);
        let begun = Instant::now();
        let answers = self.producer.send_all((0..jobs).map(|_| self.job())).await;
        let took = begun.elapsed();
        for sent in answers {
            self.sent.push(sent?.id);
        }
        Ok(per_second(jobs, took))
    }

    /// Sends jobs at a steady rate, whatever becomes of those before: a slow one must not hold back the next, or the
    /// slowness would hide itself.
    pub(super) async fn steadily(&mut self, jobs: usize, rate: u32) -> Result<(), BenchError> {
        let world = self.producer.link().world.clone();
        let step = Duration::from_secs(1) / rate.max(1);
        let begun = Instant::now();
        let mut sending = Vec::with_capacity(jobs);
        let mut due = Duration::ZERO;
        for _ in 0..jobs {
            world.clock.sleep(due.saturating_sub(begun.elapsed())).await;
            due += step;
            sending.push(world.tasks.spawn(self.job().send()));
        }
        for sent in sending {
            let sent: Result<Sent, SendError> = sent.await.map_err(|_| BenchError::Aborted)?;
            self.sent.push(sent?.id);
        }
        Ok(())
    }

    /// Takes all that was sent out of the store.
    pub(super) async fn remove(&mut self) -> Result<(), BenchError> {
        self.producer.flush().await;
        self.producer.remove(self.sent.drain(..)).await?;
        Ok(())
    }
}

/// Jobs per second.
pub(super) fn per_second(jobs: usize, took: Duration) -> f64 {
    jobs as f64 / took.as_secs_f64().max(1e-9)
}
