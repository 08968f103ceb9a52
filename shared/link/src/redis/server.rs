//! The server as the parts of the store share it: one connection, the scripts, the names.

use super::connection::{Connection, Repeat};
use super::scripts::{Script, Scripts};
use crate::error::Fault;
use longshore_model::names::{Namespace, StoreNames};
use redis::{Cmd, Value};

/// One connection with the scripts and the names that are used on it.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) connection: Connection,
    pub(super) scripts: Scripts,
    pub(super) names: StoreNames,
    shard: String,
    meta: String,
    nudges: String,
}

impl Server {
    pub(super) fn new(connection: Connection, namespace: Namespace) -> Self {
        let names = StoreNames::new(namespace);
        let (shard, meta, nudges) = (names.shard(None), names.meta(), names.nudges());
        Self { connection, scripts: Scripts::new(), names, shard, meta, nudges }
    }

    /// A call of a script on jobs; its own arguments follow.
    pub(super) fn call(&self, script: &Script) -> Cmd {
        script.call(&self.shard, &self.nudges)
    }

    /// A call of a script on the fleet; its own arguments follow.
    pub(super) fn fleet_call(&self, script: &Script) -> Cmd {
        script.call(&self.meta, &self.nudges)
    }

    /// The key of the shard with this suffix.
    pub(super) fn key(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.shard)
    }

    /// The key of the fleet's slot with this suffix.
    pub(super) fn fleet_key(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.meta)
    }

    /// Runs a script.
    pub(super) async fn run(&self, script: &Script, cmd: &Cmd, repeat: Repeat) -> Result<Value, Fault> {
        self.connection.run(script, cmd, repeat).await
    }
}
