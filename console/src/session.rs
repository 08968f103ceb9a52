//! What a command is given: the settings, a producer, and a place to print to.
//!
//! Settings are read and connections made when a command first asks for them, so that a mistake in the
//! command line is told before anything else, and `config` works while everything is down.

use crate::cli::Global;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::logging;
use crate::output::Output;
use longshore_link::Link;
use longshore_model::names::Namespace;
use longshore_model::secret::Secret;
use longshore_producer::settings::user;
use longshore_producer::{Loaded, Producer, ProducerOptions, Settings, World, connect_link, settings};

/// Where a session's producer comes from.
#[derive(Debug)]
pub(crate) enum Backend {
    /// What the settings name.
    Settings,
    /// Connected already.
    Given(Producer),
}

/// What a command needs to reach.
enum Reach {
    Both,
    Store,
}

/// One run of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) out: Output,
    global: Global,
    backend: Backend,
    /// What was asked for, for the audit record.
    asked: String,
}

impl Session {
    pub(crate) const fn new(global: Global, out: Output, backend: Backend, asked: String) -> Self {
        Self { out, global, backend, asked }
    }

    /// Works in another namespace than the settings say; before the first connection.
    pub(crate) fn set_namespace(&mut self, namespace: &Namespace) {
        self.global.namespace = Some(namespace.to_string());
    }

    /// The settings: defaults, file, environment, and the flags of this command line.
    pub(crate) fn settings(&self) -> Result<Loaded, Failure> {
        Ok(settings::load(self.global.config.as_deref(), &self.global.settings())?)
    }

    /// The settings for a command that brings its own instances: where nothing names a broker or a store, a backend in
    /// this process that nobody else has.
    pub(crate) fn settings_or_embedded(&self, name: &str, world: &World) -> Result<Settings, Failure> {
        let loaded = self.settings()?;
        logging::start(&loaded);
        let named = ["broker.url", "store.url"].iter().any(|key| loaded.origins.contains_key(key));
        let mut settings = loaded.settings;
        if !named {
            let url = Secret::new(format!("embedded:{name}-{:016x}", world.random.next()));
            (settings.broker.url, settings.store.url) = (url.clone(), url);
        }
        Ok(settings)
    }

    /// The producer, connected when it is first asked for.
    pub(crate) async fn producer(&mut self) -> Result<Producer, Failure> {
        self.connect(Reach::Both).await
    }

    /// A producer for reading and controlling jobs: it needs the store alone, and works while the broker is away.
    pub(crate) async fn reader(&mut self) -> Result<Producer, Failure> {
        self.connect(Reach::Store).await
    }

    async fn connect(&mut self, reach: Reach) -> Result<Producer, Failure> {
        if let Backend::Given(producer) = &self.backend {
            // One in somebody's name stays that: what one command does is one session of the record.
            let named = producer.has_operator();
            let producer = if named { producer.clone() } else { producer.on_behalf_of(user(), self.asked.clone()) };
            self.backend = Backend::Given(producer.clone());
            return Ok(producer);
        }
        let loaded = self.settings()?;
        logging::start(&loaded);
        let settings = &loaded.settings;
        if settings.broker.url.reveal().starts_with("embedded:") {
            return Err(Failure::Usage(
                "the broker and the store are `embedded:`, which lives and dies with one process: whatever this \
                 command did would be gone at its end; name real ones with --broker and --store (or broker.url and \
                 store.url)"
                    .into(),
            ));
        }
        let options = ProducerOptions::from_loaded(&loaded).map_err(|bad| Failure::Usage(bad.to_string()))?;
        let link = match reach {
            Reach::Both => connect_link(settings, World::system(), "longshore").await?,
            Reach::Store => Link::connect_store(settings, World::system()).await?,
        };
        let who = settings.operator.clone().unwrap_or_else(user);
        let producer = Producer::connect_with(link, options).on_behalf_of(who, self.asked.clone());
        self.backend = Backend::Given(producer.clone());
        Ok(producer)
    }

    /// Ends the run: what was published is marked, what went wrong is told.
    pub(crate) async fn close(mut self, ended: Result<Exit, Failure>) -> Exit {
        if let Backend::Given(producer) = &self.backend {
            producer.flush().await;
        }
        match ended {
            Ok(exit) => exit,
            Err(failure) => {
                if failure != Failure::Closed {
                    self.out.error(&failure.to_string());
                }
                failure.exit()
            }
        }
    }
}
