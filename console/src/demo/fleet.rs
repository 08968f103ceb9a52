//! The demo's instances: an author that runs no pictures and two workers, each with connections of its own, as three
//! machines would have them.

use super::worker::{Ingest, Outage, Worker, ingest};
use crate::failure::Failure;
use longshore_consumer::{Consumer, Running};
use longshore_link::blobs::Blobs;
use longshore_model::topology::Allowed;
use longshore_producer::{
    Job as _, JobView, Link, Producer, ProducerOptions, Settings, TopicPattern, World, connect_link,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const AUTHOR: &str = "author";
const WORKERS: [&str; 2] = ["worker-1", "worker-2"];
/// Pictures that a worker has in hand at once.
const AT_ONCE: usize = 2;
/// Longest time until a worker can take jobs.
const READY: Duration = Duration::from_secs(30);

/// Three live instances.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) producer: Producer,
    author: Running,
    workers: Vec<(&'static str, Running)>,
}

/// What all instances are started with.
#[derive(Debug)]
pub(super) struct Setup<'s> {
    pub(super) settings: &'s Settings,
    pub(super) world: &'s World,
    /// Where files are kept; `None`: where the settings say.
    pub(super) files: Option<&'s Path>,
}

impl Fleet {
    /// Starts all three, and waits until the workers can take jobs.
    pub(super) async fn start(setup: &Setup<'_>, outage: &Arc<Outage>) -> Result<Self, Failure> {
        let (author, link) = setup.instance(AUTHOR, outage).await?;
        let options = ProducerOptions::from_settings(&setup.named(AUTHOR));
        let mut fleet = Self { producer: Producer::connect_with(link, options), author, workers: Vec::new() };
        for name in WORKERS {
            if let Err(failure) = fleet.add(setup, name, outage).await {
                fleet.stop().await;
                return Err(failure);
            }
        }
        Ok(fleet)
    }

    async fn add(&mut self, setup: &Setup<'_>, name: &'static str, outage: &Arc<Outage>) -> Result<(), Failure> {
        let (worker, _) = setup.instance(name, outage).await?;
        let ready = setup.world.clock.timeout(READY, worker.ready()).await;
        self.workers.push((name, worker));
        ready.ok_or_else(|| {
            Failure::TimedOut(format!("{name} could take no jobs within {READY:?}; are broker and store in order?"))
        })
    }

    /// Stops one worker: what it has in hand is given back at once.
    pub(super) async fn stop_worker(&self, stopped: &str) {
        for (_, worker) in self.workers.iter().filter(|(name, _)| *name == stopped) {
            worker.stop().await;
        }
    }

    /// Stops everything.
    pub(super) async fn stop(self) {
        for (_, worker) in &self.workers {
            worker.stop().await;
        }
        self.producer.flush().await;
        self.author.stop().await;
    }

    /// Who ran the attempts of a job, oldest first, and how each ended.
    pub(super) fn runs(&self, job: &JobView) -> Vec<(String, String)> {
        let name = |instance: &str| {
            let known = self.workers.iter().find(|(_, worker)| worker.owner().instance.0 == instance);
            known.map_or_else(|| instance.to_owned(), |(name, _)| (*name).to_owned())
        };
        job.attempts.iter().map(|attempt| (name(&attempt.instance), attempt.outcome.clone())).collect()
    }
}

impl Setup<'_> {
    fn named(&self, name: &str) -> Settings {
        let mut settings = self.settings.clone();
        settings.instance.name = Some(name.to_owned());
        settings.instance.concurrency = AT_ONCE;
        // One home cannot hold three instances.
        settings.instance.home = None;
        settings
    }

    /// Starts one instance. All have the handler; the author may not take the topic.
    async fn instance(&self, name: &'static str, outage: &Arc<Outage>) -> Result<(Running, Link), Failure> {
        let settings = self.named(name);
        let mut link = connect_link(&settings, self.world.process(), name).await?;
        if let Some(dir) = self.files {
            link.blobs = Blobs::directory(dir, &link.world);
        }
        let not_started = |why: &dyn std::fmt::Display| Failure::Failed(format!("{name} did not start: {why}"));
        let topic = TopicPattern::from(Ingest::topic().map_err(|bad| not_started(&bad))?);
        let deny = if name == AUTHOR { vec![topic] } else { Vec::new() };
        let consumer = Consumer::new(settings)
            .state(Worker { name, outage: Arc::clone(outage) })
            .link(link.clone())
            .allowed(Allowed { allow: None, deny })
            .handle(ingest);
        let running = consumer.start().await.map_err(|error| not_started(&error))?;
        Ok((running, link))
    }
}
