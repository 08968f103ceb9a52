//! The record of a job in Redis: a hash, an index of the queued and of the succeeded, and the leases of the running.
//!
//! Owns the scripts; a call takes many jobs and answers for each. A claim succeeds only for a queued job, a finish
//! only with the fence of its claim.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Script};

use super::Error;

/// Time after which a claimed job would be taken from its owner; nobody does so here, the write is what counts.
const LEASE_MILLISECONDS: u64 = 10_000;

// KEYS: queued. ARGV: prefix of the hashes, then id and payload of each job.
const ENQUEUE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
for i = 2, #ARGV, 2 do
  redis.call('HSET', ARGV[1] .. ARGV[i], 'state', 'queued', 'created', now, 'payload', ARGV[i + 1])
  redis.call('ZADD', KEYS[1], now, ARGV[i])
end
return #ARGV / 2";

// KEYS: queued, leases. ARGV: prefix, owner, lease in milliseconds, ids. Returns a fence for each job, 0: not queued.
const CLAIM: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ends = now + ARGV[3] * 1000
local fences = {}
for i = 4, #ARGV do
  local key, id = ARGV[1] .. ARGV[i], ARGV[i]
  if redis.call('HGET', key, 'state') == 'queued' then
    redis.call('HSET', key, 'state', 'active', 'fence', now, 'owner', ARGV[2])
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], ends, id)
    fences[i - 3] = now
  else
    fences[i - 3] = 0
  end
end
return fences";

// KEYS: leases, succeeded. ARGV: prefix, then id and fence of each job. Returns 1 for each job, 0: the fence is stale.
const FINISH: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local done = {}
for i = 2, #ARGV, 2 do
  local key, id = ARGV[1] .. ARGV[i], ARGV[i]
  local record = redis.call('HMGET', key, 'state', 'fence')
  if record[1] == 'active' and record[2] == ARGV[i + 1] then
    redis.call('HSET', key, 'state', 'succeeded', 'finished', now)
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZADD', KEYS[2], now, id)
    done[i / 2] = 1
  else
    done[i / 2] = 0
  end
end
return done";

/// The records of one lane; clones share one connection.
#[derive(Clone, Debug)]
pub struct Records {
    connection: MultiplexedConnection,
    names: Arc<Names>,
}

#[derive(Debug)]
struct Names {
    prefix: String,
    queued: String,
    leases: String,
    succeeded: String,
    enqueue: Script,
    claim: Script,
    finish: Script,
}

impl Records {
    pub(super) async fn connect(url: &str, lane: &str) -> Result<Self, Error> {
        // The default reply timeout of 500 ms would fail a run on a busy machine.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(30)));
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await?;
        let key = |name: &str| format!("{{{lane}.0}}:{name}");
        let names = Arc::new(Names {
            prefix: key("job:"),
            queued: key("queued"),
            leases: key("leases"),
            succeeded: key("succeeded"),
            enqueue: Script::new(ENQUEUE),
            claim: Script::new(CLAIM),
            finish: Script::new(FINISH),
        });
        Ok(Self { connection, names })
    }

    /// Makes the records of new jobs, each an id and a payload, in one call.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn enqueue(&mut self, jobs: &[(String, Vec<u8>)]) -> Result<(), Error> {
        let mut call = self.names.enqueue.key(&self.names.queued);
        call.arg(&self.names.prefix);
        for (id, payload) in jobs {
            call.arg(id).arg(payload);
        }
        Ok(call.invoke_async(&mut self.connection).await?)
    }

    /// Claims jobs for `owner` in one call: a fence for each, or 0 when it is not queued.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn claim(&mut self, owner: &str, ids: impl Iterator<Item = &str>) -> Result<Vec<u64>, Error> {
        let mut call = self.names.claim.key(&self.names.queued);
        call.key(&self.names.leases).arg(&self.names.prefix).arg(owner).arg(LEASE_MILLISECONDS);
        for id in ids {
            call.arg(id);
        }
        Ok(call.invoke_async(&mut self.connection).await?)
    }

    /// Finishes jobs, each an id and the fence of its claim, in one call: whether each was still the claimant's.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn finish(&mut self, jobs: impl Iterator<Item = (&str, u64)>) -> Result<Vec<bool>, Error> {
        let mut call = self.names.finish.key(&self.names.leases);
        call.key(&self.names.succeeded).arg(&self.names.prefix);
        for (id, fence) in jobs {
            call.arg(id).arg(fence);
        }
        Ok(call.invoke_async(&mut self.connection).await?)
    }

    /// How many jobs are queued, claimed, and succeeded.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn counts(&mut self) -> Result<[u64; 3], Error> {
        let names = &self.names;
        let mut pipe = redis::pipe();
        pipe.zcard(&names.queued).zcard(&names.leases).zcard(&names.succeeded);
        Ok(pipe.query_async(&mut self.connection).await?)
    }
}
