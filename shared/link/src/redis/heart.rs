//! Beats and renewals on a connection of their own, so that no other traffic can make them late.

use super::connection::Repeat;
use super::reply::{self, Items};
use super::server::Server;
use crate::error::{Fault, Service};
use crate::store::{Beat, Beaten, Heart, Known, Renew, Renewed};
use async_trait::async_trait;
use longshore_model::id::{Fence, JobId, Owner};
use longshore_model::limits;
use longshore_model::names::shard_keys;
use longshore_model::topology::Card;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// What counts known topics and high lanes, among what there is to know of a shard.
const LANES: &str = "lanes";

/// Longest wait for a connection or an answer: several tries must fit into a lease.
pub(super) const PATIENCE: Duration = Duration::from_millis(1_500);

/// A heart on Redis.
#[derive(Debug)]
pub(super) struct RedisHeart {
    server: Server,
}

impl RedisHeart {
    pub(super) fn new(server: Server) -> Self {
        Self { server }
    }

    async fn renew_some(&self, renew: &Renew, running: &[(JobId, Fence)]) -> Result<Renewed, Fault> {
        let script = &self.server.scripts.renew;
        let mut cmd = self.server.call(script);
        cmd.arg(renew.owner.to_string()).arg(renew.beat_ms.saturating_mul(2)).arg(renew.lease_ms);
        let known = renew.known.unwrap_or_default();
        cmd.arg(known.epoch).arg(known.tick);
        cmd.arg(known.scheduled).arg(known.retrying).arg(known.queued).arg(known.active).arg(known.blocked);
        cmd.arg(running.len());
        for (id, fence) in running {
            cmd.arg(id.to_string()).arg(fence.0);
        }
        let mut answer = Items::of(self.server.connection.run_knowing_server(script, &cmd).await?)?;
        let (now, expired, amnesty) = (answer.number()?, answer.number()?, answer.number()?);
        let at = |index: u64| {
            let index = usize::try_from(index).ok();
            index.and_then(|index| running.get(index)).copied().ok_or_else(|| reply::unexpected("an index"))
        };
        let lost = answer.items()?.numbers()?.into_iter().map(at).collect::<Result<_, _>>()?;
        let stop = answer.items()?.each(|mut asked| Ok((at(asked.number()?)?.0, asked.text()?)))?;
        let behind = answer.items()?.numbers()?.into_iter().map(at).collect::<Result<_, _>>()?;
        let mut store = answer.items()?;
        let known = Known {
            epoch: store.number()?,
            tick: store.number()?,
            scheduled: store.number()?,
            retrying: store.number()?,
            queued: store.number()?,
            active: store.number()?,
            blocked: store.number()?,
        };
        Ok(Renewed { now, lost, behind, stop, expired, amnesty, known, loss: store.parsed()? })
    }
}

fn written(card: &Card) -> Result<String, Fault> {
    serde_json::to_string(card).map_err(|error| Fault::refused(Service::Store, format!("the instance's card: {error}")))
}

/// Differs when the profile does. Compared with those of the same process only.
fn digest(card: &Card) -> Result<u64, Fault> {
    let mut hasher = DefaultHasher::new();
    written(&card.profile())?.hash(&mut hasher);
    Ok(hasher.finish())
}

#[async_trait]
impl Heart for RedisHeart {
    async fn beat(&mut self, beat: &Beat) -> Result<Beaten, Fault> {
        let script = &self.server.scripts.beat;
        let owner = &beat.card.owner;
        let card = written(&beat.card)?;
        let mut cmd = self.server.fleet_call(script);
        cmd.arg(&owner.instance.0).arg(&owner.incarnation.0).arg(card).arg(digest(&beat.card)?);
        cmd.arg(beat.card.started).arg(beat.lease_ms).arg(beat.reached);
        cmd.arg(beat.card.leader_preference);
        let mut answer = Items::of(self.server.connection.run_knowing_server(script, &cmd).await?)?;
        // Topics live in the shards, which are in other slots than the fleet.
        let mut lanes = redis::cmd("HGET");
        lanes.arg(self.server.key(shard_keys::SHARD)).arg(LANES);
        let lanes: Option<u64> = redis::from_redis_value(self.server.connection.command(&lanes).await?)
            .map_err(|_| reply::unexpected("the number of lanes"))?;
        Ok(Beaten {
            now: answer.number()?,
            view: answer.number()?,
            term: answer.number()?,
            coordinator: answer.flag()?,
            superseded: answer.flag()?,
            matrix: answer.number()?,
            profiles: answer.number()?,
            synced: answer.flag()?,
            questions: answer.number()?,
            topics: lanes.unwrap_or(0),
        })
    }

    async fn renew(&mut self, renew: &Renew) -> Result<Renewed, Fault> {
        let mut all = Renewed::default();
        let mut parts = renew.running.chunks(limits::BATCH);
        loop {
            let part = self.renew_some(renew, parts.next().unwrap_or_default()).await?;
            all.lost.extend(part.lost);
            all.behind.extend(part.behind);
            all.stop.extend(part.stop);
            (all.known, all.loss) = (part.known, part.loss);
            (all.now, all.expired, all.amnesty) = (part.now, part.expired, part.amnesty);
            if parts.len() == 0 {
                return Ok(all);
            }
        }
    }

    async fn leave(&mut self, owner: &Owner) -> Result<(), Fault> {
        let script = &self.server.scripts.leave;
        let mut cmd = self.server.fleet_call(script);
        cmd.arg(&owner.instance.0).arg(&owner.incarnation.0);
        self.server.run(script, &cmd, Repeat::Safe).await.map(drop)
    }
}
