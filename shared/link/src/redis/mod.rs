//! The store on Redis 7.0 or newer: one Lua script per operation, atomic and idempotent per job.
//!
//! It promises what [`crate::store`] says of every store, repeats the model's state machine exactly,
//! and never guesses: a call whose answer was lost is [`Fault::Unknown`]. It keeps one connection for
//! calls, one for nudges, and one for each heart. It does not retry on its own beyond one repetition
//! of a call that is safe to repeat, on a connection that turned out to be dead.
//!
//! Reading order: `lua/job.lua`, then the other scripts; `scripts`, `connection`, `batches`.

mod about;
mod args;
mod audit;
mod batches;
mod codec;
mod connection;
mod fault;
mod files;
mod gates;
#[cfg(feature = "conformance")]
mod hashes;
mod heart;
mod interests;
mod ledger;
mod listing;
mod matrix;
mod nudges;
mod questions;
mod reply;
mod schedules;
mod scripts;
mod scrub;
mod server;
mod statistics;

#[cfg(feature = "conformance")]
pub use hashes::hashes;

use crate::error::{Fault, NotAccepted, Service};
use crate::schedules::{Changed, DueSchedules, ScheduleChange, Schedules};
use crate::store::{
    Accepted, Adopt, Asked, Claim, Claimed, Complete, Completed, Controlled, Counts, Depleted, Fact, FilePlace, Finish,
    Finished, Heart, LimitState, Loss, Moved, NewJob, Nudge, Outgoing, Page, PauseOrder, PauseState, Purged, Query,
    QueueSet, Rebuild, Rebuilt, Report, Republished, Restore, Restored, Retention, RowChange, Scrubbed, Scrubbing,
    Standing, Store, Untold,
};
use crate::world::World;
use async_trait::async_trait;
use batches::{Batches, ClaimItem};
use connection::{Address, Connection, Repeat};
use futures_util::{StreamExt, TryStreamExt, stream};
use longshore_model::audit::{Deed, Entry};
use longshore_model::event::Interest;
use longshore_model::gate::{GateName, LimitPolicy, Pausable};
use longshore_model::id::{Fence, Generation, InstanceId, JobId, Owner};
use longshore_model::lane::Lane;
use longshore_model::ledger::Ledger;
use longshore_model::limits;
use longshore_model::names::{Namespace, shard_keys};
use longshore_model::record::{Record, State};
use longshore_model::settings::StoreSettings;
use longshore_model::snapshot::Snapshot;
use longshore_model::statistics::{Selection, Statistics};
use longshore_model::topic::{Topic, TopicPattern};
use longshore_model::topology::asking::{Question, QuestionId, Said};
use longshore_model::topology::matrix::{KeptRow, Row};
use longshore_model::topology::{Card, View};
use redis::{Cmd, FromRedisValue, Value};
use reply::Items;
use scripts::Script;
use server::Server;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::broadcast;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Jobs that are read whole in one call: together they can be large.
const LOADED_AT_ONCE: usize = 20;
/// Such calls at once.
const LOADS_AT_ONCE: usize = 5;
/// Queued jobs that are looked at in one call when counting those ahead of one.
const COUNTED_AT_ONCE: u64 = 1_000;
/// Keys that are looked at in one call when everything is deleted.
const ERASED_AT_ONCE: usize = 1_000;
/// Behind what the store keeps of a topic that has a high lane.
const HIGH: &str = "+";
/// Nudges that a slow listener may fall behind by before it misses some.
const NUDGES: usize = 4_096;

/// The store on Redis.
#[derive(Debug)]
pub struct RedisStore {
    address: Address,
    namespace: Namespace,
    server: Arc<Server>,
    batches: Batches,
    /// The name under which this process waits for outcomes.
    watcher: String,
    nudges: broadcast::Sender<Nudge>,
    /// How often somebody may have begun to listen to events; 1 from the start, as somebody may have before.
    interest_changes: Arc<AtomicU64>,
    /// Ends the listening task.
    _over: DropGuard,
}

impl RedisStore {
    /// Connects, checks the server, and subscribes to nudges.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] when nobody answers; [`Fault::Refused`] for a wrong url, user or password, a server
    /// older than 7.0, or one in Cluster mode.
    pub async fn connect(
        settings: &StoreSettings,
        namespace: Namespace,
        world: World,
    ) -> Result<Arc<dyn Store>, Fault> {
        let address = Address::new(settings)?;
        let server = Arc::new(Server::new(Connection::new(address.clone()), namespace.clone()));
        server.connection.open().await?;
        let watcher = uuid::Uuid::from_bytes(world.random.bytes()).simple().to_string();
        let (nudges, _) = broadcast::channel(NUDGES);
        let over = CancellationToken::new();
        let interest_changes = Arc::new(AtomicU64::new(1));
        let listener = nudges::Listener {
            address: address.clone(),
            fleet: server.names.nudges(),
            outcomes: server.names.outcomes(&watcher),
            heard: nudges.clone(),
            interest_changes: Arc::clone(&interest_changes),
            world: world.clone(),
            over: over.clone(),
        };
        listener.start().await?;
        let batches = Batches::start(&world.tasks, &server);
        Ok(Arc::new(Self {
            address,
            namespace,
            server,
            batches,
            watcher,
            nudges,
            interest_changes,
            _over: over.drop_guard(),
        }))
    }

    /// Runs a script on jobs whose calls are not merged.
    async fn script(&self, script: &Script, repeat: Repeat, write: impl Fn(&mut Cmd)) -> Result<Value, Fault> {
        let mut cmd = self.server.call(script);
        write(&mut cmd);
        self.server.run(script, &cmd, repeat).await
    }

    /// Runs a script that takes ids and answers per id, in bounded calls.
    async fn per_id<A>(
        &self,
        script: &Script,
        repeat: Repeat,
        jobs: &[JobId],
        first: Option<&str>,
        read: impl Fn(Value) -> Result<Vec<A>, Fault>,
    ) -> Result<Vec<A>, Fault> {
        let mut answers = Vec::with_capacity(jobs.len());
        for part in jobs.chunks(limits::BATCH) {
            let value = self
                .script(script, repeat, |cmd| {
                    if let Some(first) = first {
                        cmd.arg(first);
                    }
                    ids(cmd, part);
                })
                .await?;
            let some = read(value)?;
            if some.len() != part.len() {
                return Err(reply::unexpected("another number of answers"));
            }
            answers.extend(some);
        }
        Ok(answers)
    }

    async fn load_part(&self, part: &[JobId]) -> Result<Vec<Option<Snapshot>>, Fault> {
        let value = self
            .script(&self.server.scripts.load, Repeat::Safe, |cmd| {
                cmd.arg("all");
                ids(cmd, part);
            })
            .await?;
        let mut answer = Items::of(value)?;
        let now = answer.number()?;
        let mut answers = answer.items()?;
        part.iter().map(|id| Ok(readable(*id, codec::loaded(*id, now, answers.items()?)?))).collect()
    }

    /// The topics that a pattern takes; `None`: any.
    async fn topics_of(&self, pattern: Option<&TopicPattern>) -> Result<Option<Vec<Topic>>, Fault> {
        let Some(pattern) = pattern else { return Ok(None) };
        if let Some(topic) = pattern.exact() {
            return Ok(Some(vec![topic]));
        }
        Ok(Some(self.topics().await?.into_iter().filter(|topic| pattern.matches(topic)).collect()))
    }

    async fn command<T: FromRedisValue>(&self, name: &str, suffix: &str) -> Result<T, Fault> {
        let mut cmd = redis::cmd(name);
        cmd.arg(self.server.key(suffix));
        let value = self.server.connection.command(&cmd).await?;
        redis::from_redis_value(value).map_err(|_| reply::unexpected(name))
    }
}

fn ids(cmd: &mut Cmd, jobs: &[JobId]) {
    cmd.arg(jobs.len());
    for id in jobs {
        cmd.arg(id.to_string());
    }
}

/// A record that cannot be read is reported here, and is no record for the caller.
fn readable<T>(id: JobId, found: Option<Result<T, String>>) -> Option<T> {
    match found? {
        Ok(found) => Some(found),
        Err(why) => {
            tracing::error!(job = %id, why, "the store holds a damaged job");
            None
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn enqueue(&self, jobs: Vec<NewJob>) -> Result<Vec<Result<Accepted, NotAccepted>>, Fault> {
        self.batches.enqueue(jobs).await
    }

    async fn published(&self, jobs: Vec<(JobId, Generation)>) -> Result<(), Fault> {
        self.batches.published(jobs).await
    }

    async fn claim(&self, owner: &Owner, lease_ms: u64, claims: Vec<Claim>) -> Result<Vec<Claimed>, Fault> {
        let owner = Arc::new(owner.clone());
        let item = |claim| ClaimItem { owner: Arc::clone(&owner), lease_ms, claim };
        self.batches.claim(claims.into_iter().map(item).collect()).await
    }

    async fn rebuild(&self, owner: &Owner, lease_ms: u64, job: Rebuild) -> Result<Rebuilt, Fault> {
        let script = &self.server.scripts.rebuild;
        let mut cmd = self.server.call(script);
        cmd.arg(job.enqueued);
        args::claim_terms(&mut cmd, &job.claim, lease_ms);
        args::owner(&mut cmd, owner);
        cmd.arg(u8::from(job.claim.alone));
        args::job(&mut cmd, &job.job);
        reply::rebuilt(Items::of(self.server.connection.run_knowing_server(script, &cmd).await?)?)
    }

    async fn adopt(&self, owner: &Owner, lease_ms: u64, attempt: Adopt) -> Result<Claimed, Fault> {
        let value = self
            .script(&self.server.scripts.adopt, Repeat::Safe, |cmd| {
                cmd.arg(attempt.enqueued).arg(attempt.fence.0);
                cmd.arg(attempt.attempt).arg(attempt.failures).arg(attempt.crashes);
                args::claim_terms(cmd, &attempt.claim, lease_ms);
                args::owner(cmd, owner);
                args::job(cmd, &attempt.job);
            })
            .await?;
        reply::claimed(Items::of(value)?)
    }

    async fn restore(&self, jobs: Vec<Restore>, dry: bool) -> Result<Vec<Restored>, Fault> {
        let script = &self.server.scripts.restore;
        let mut answers = Vec::with_capacity(jobs.len());
        for part in args::parts(&jobs) {
            let mut cmd = self.server.call(script);
            cmd.arg(u8::from(dry)).arg(part.len());
            for restore in part {
                args::restore(&mut cmd, restore);
            }
            let value = self.server.connection.run_knowing_server(script, &cmd).await?;
            answers.extend(Items::of(value)?.each(reply::restored)?);
        }
        Ok(answers)
    }

    async fn losses(&self) -> Result<Vec<Loss>, Fault> {
        let kept: BTreeMap<u64, String> = self.command("HGETALL", shard_keys::LOSSES).await?;
        Ok(kept.into_iter().filter_map(|(epoch, text)| codec::loss(epoch, &text)).collect())
    }

    async fn finish(&self, finishes: Vec<Finish>) -> Result<Vec<Finished>, Fault> {
        self.batches.finish(finishes).await
    }

    async fn complete(&self, completion: Complete) -> Result<Completed, Fault> {
        let script = &self.server.scripts.complete;
        let value = self.script(script, Repeat::Safe, |cmd| args::complete(cmd, &completion)).await?;
        reply::completed(Items::of(value)?)
    }

    async fn report(&self, reports: Vec<(JobId, Fence, Report)>) -> Result<Vec<bool>, Fault> {
        self.batches.report(reports).await
    }

    async fn rescue(&self, limit: usize, beat_ms: u64) -> Result<Moved, Fault> {
        let script = &self.server.scripts.rescue;
        let mut cmd = self.server.call(script);
        cmd.arg(limit.min(limits::BATCH)).arg(limits::BATCH_BYTES).arg(beat_ms.saturating_mul(2));
        let value = self.server.connection.run_knowing_server(script, &cmd).await?;
        let mut answer = Items::of(value)?;
        Ok(Moved {
            now: answer.number()?,
            runnable: reply::outgoing(answer.items()?)?,
            ended: answer.number()?,
            next: None,
            more: answer.flag()?,
        })
    }

    async fn bury(&self, owner: &Owner) -> Result<u64, Fault> {
        let value = self
            .script(&self.server.scripts.bury, Repeat::Safe, |cmd| {
                cmd.arg(&owner.instance.0).arg(&owner.incarnation.0);
            })
            .await?;
        redis::from_redis_value(value).map_err(|_| reply::unexpected("bury"))
    }

    async fn promote(&self, limit: usize) -> Result<Moved, Fault> {
        let value = self
            .script(&self.server.scripts.promote, Repeat::Safe, |cmd| {
                cmd.arg(limit.min(limits::BATCH)).arg(limits::BATCH_BYTES);
            })
            .await?;
        let mut answer = Items::of(value)?;
        Ok(Moved {
            now: answer.number()?,
            runnable: reply::outgoing(answer.items()?)?,
            ended: 0,
            next: u64::try_from(answer.signed()?).ok(),
            more: answer.flag()?,
        })
    }

    async fn set_limit(&self, name: &str, policy: Option<&LimitPolicy>) -> Result<(), Fault> {
        gates::set_limit(&self.server, name, policy).await
    }

    async fn limits(&self) -> Result<Vec<LimitState>, Fault> {
        gates::limits(&self.server).await
    }

    async fn queues(&self) -> Result<Option<QueueSet>, Fault> {
        let text: Option<String> = self.command("GET", shard_keys::QUEUES).await?;
        text.as_deref().map(gates::queue_set).transpose()
    }

    async fn past_queues(&self) -> Result<Vec<QueueSet>, Fault> {
        gates::past_queues(&self.server).await
    }

    async fn head(&self, order: &GateName) -> Result<Option<JobId>, Fault> {
        gates::head(&self.server, order).await
    }

    async fn set_queues(
        &self,
        after: u64,
        by: &str,
        text: &str,
        limits: &[(String, LimitPolicy)],
    ) -> Result<QueueSet, Fault> {
        gates::set_queues(&self.server, after, by, text, limits).await
    }

    async fn audit(&self, deed: &Deed) -> Result<(), Fault> {
        audit::record(&self.server, deed).await
    }

    async fn audited(&self, limit: usize) -> Result<Vec<Entry>, Fault> {
        audit::read(&self.server, limit).await
    }

    async fn listen(&self, interests: &[Interest], ms: u64) -> Result<(), Fault> {
        interests::set(&self.server, interests, ms).await
    }

    async fn interests(&self) -> Result<Vec<(Interest, u64)>, Fault> {
        interests::read(&self.server).await
    }

    async fn untold(&self, limit: usize) -> Result<Vec<Untold>, Fault> {
        interests::untold(&self.server, limit).await
    }

    fn interest_changes(&self) -> u64 {
        self.interest_changes.load(Ordering::Relaxed)
    }

    async fn set_pause(&self, what: &Pausable, order: Option<&PauseOrder>) -> Result<bool, Fault> {
        gates::set_pause(&self.server, what, order).await
    }

    async fn pauses(&self) -> Result<Vec<PauseState>, Fault> {
        gates::pauses(&self.server).await
    }

    async fn outbox(&self, limit: usize, hold_ms: u64) -> Result<Vec<Outgoing>, Fault> {
        let value = self
            .script(&self.server.scripts.outbox, Repeat::Safe, |cmd| {
                cmd.arg(limit.min(limits::BATCH)).arg(hold_ms).arg(limits::BATCH_BYTES);
            })
            .await?;
        reply::outgoing(Items::of(value)?)
    }

    async fn republish(
        &self,
        lanes: &[Depleted],
        patience_ms: u64,
        from: u64,
        limit: usize,
    ) -> Result<Republished, Fault> {
        let value = self
            .script(&self.server.scripts.republish, Repeat::Safe, |cmd| {
                cmd.arg(patience_ms).arg(from).arg(limit).arg(lanes.len());
                for lane in lanes {
                    let copies = lane.copies.map_or(-1, |copies| i64::try_from(copies).unwrap_or(i64::MAX));
                    let site = lane.lane.site.as_ref().map(ToString::to_string).unwrap_or_default();
                    cmd.arg(lane.lane.topic.as_str()).arg(site).arg(copies);
                }
            })
            .await?;
        let mut answer = Items::of(value)?;
        Ok(Republished { jobs: answer.number()?, next: answer.number()? })
    }

    async fn purge(&self, retention: &Retention, limit: usize) -> Result<Purged, Fault> {
        let value = self
            .script(&self.server.scripts.purge, Repeat::Safe, |cmd| {
                cmd.arg(limit.min(limits::BATCH));
                args::retention(cmd, retention);
            })
            .await?;
        let mut answer = Items::of(value)?;
        Ok(Purged { gone: answer.number()?, more: answer.flag()? })
    }

    async fn file_place(&self, id: Option<&str>, replace: bool) -> Result<Option<FilePlace>, Fault> {
        files::place(&self.server, id, replace).await
    }

    async fn keep_files(&self, job: JobId, digests: &[String]) -> Result<bool, Fault> {
        files::keep(&self.server, job, digests).await
    }

    async fn release_files(&self, grace_ms: u64, limit: usize) -> Result<u64, Fault> {
        files::release(&self.server, grace_ms, limit).await
    }

    async fn doom_files(&self, digests: &[String], over: bool) -> Result<Vec<String>, Fault> {
        files::doom(&self.server, digests, over).await
    }

    async fn stop(&self, by: &str, jobs: Vec<JobId>) -> Result<Vec<Controlled>, Fault> {
        let by = format!("+{by}");
        let read = |value| Items::of(value)?.each(reply::controlled);
        self.per_id(&self.server.scripts.stop, Repeat::Safe, &jobs, Some(&by), read).await
    }

    async fn remove(&self, jobs: Vec<JobId>) -> Result<Vec<Controlled>, Fault> {
        let read = |value| Items::of(value)?.each(reply::controlled);
        self.per_id(&self.server.scripts.remove, Repeat::Never, &jobs, None, read).await
    }

    async fn load(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Snapshot>>, Fault> {
        let parts: Vec<_> = jobs.chunks(LOADED_AT_ONCE).map(|part| self.load_part(part)).collect();
        let loaded: Vec<Vec<_>> = stream::iter(parts).buffered(LOADS_AT_ONCE).try_collect().await?;
        Ok(loaded.into_iter().flatten().collect())
    }

    async fn records(&self, jobs: Vec<JobId>) -> Result<Vec<Option<Record>>, Fault> {
        let mut all = Vec::with_capacity(jobs.len());
        for part in jobs.chunks(limits::BATCH) {
            let value = self
                .script(&self.server.scripts.load, Repeat::Safe, |cmd| {
                    cmd.arg("records");
                    ids(cmd, part);
                })
                .await?;
            let mut answer = Items::of(value)?;
            answer.number()?;
            let mut answers = answer.items()?;
            for id in part {
                all.push(readable(*id, codec::found(*id, &mut answers.items()?)?));
            }
        }
        Ok(all)
    }

    async fn indexed(&self, topics: Option<&TopicPattern>, paths: &[String]) -> Result<Vec<bool>, Fault> {
        let topics = self.topics_of(topics).await?;
        listing::indexed(&self.server, topics, paths).await
    }

    async fn find(&self, query: Query) -> Result<Page, Fault> {
        let topics = self.topics_of(query.topic.as_ref()).await?;
        listing::find(&self.server, &query, topics).await
    }

    async fn watch(&self, jobs: Vec<JobId>) -> Result<Vec<Option<State>>, Fault> {
        let read = |value| Ok(Items::of(value)?.texts()?.iter().map(|text| text.parse().ok()).collect());
        self.per_id(&self.server.scripts.watch, Repeat::Safe, &jobs, Some(&self.watcher), read).await
    }

    async fn follow(&self, job: JobId) -> Result<Option<State>, Fault> {
        let read = |value| Ok(Items::of(value)?.texts()?.iter().map(|text| text.parse().ok()).collect());
        let follower = format!("{}+", self.watcher);
        let mut states: Vec<Option<State>> =
            self.per_id(&self.server.scripts.watch, Repeat::Safe, &[job], Some(&follower), read).await?;
        Ok(states.pop().flatten())
    }

    async fn counts(&self) -> Result<Counts, Fault> {
        let fields: BTreeMap<String, i64> = self.command("HGETALL", shard_keys::COUNTS).await?;
        let mut counts = Counts::new();
        for (field, count) in fields {
            let Ok(count) = u64::try_from(count) else { continue };
            let Some((state, topic, _)) = ledger::counter(&field) else { continue };
            if let (Ok(state), 1..) = (state.parse::<State>(), count) {
                *counts.entry(topic).or_default().entry(state).or_default() += count;
            }
        }
        Ok(counts)
    }

    async fn ledger(&self) -> Result<Ledger, Fault> {
        let value = self.script(&self.server.scripts.ledger, Repeat::Safe, |_| ()).await?;
        ledger::read(Items::of(value)?)
    }

    async fn statistics(&self) -> Result<Statistics, Fault> {
        statistics::read(&self.server).await
    }

    async fn reset_statistics(&self, selection: &Selection) -> Result<u64, Fault> {
        statistics::reset(&self.server, selection).await
    }

    async fn ahead(&self, job: JobId) -> Result<Option<u64>, Fault> {
        let (mut ahead, mut from) = (0, 0);
        loop {
            let value = self
                .script(&self.server.scripts.ahead, Repeat::Safe, |cmd| {
                    cmd.arg(job.to_string()).arg(from).arg(COUNTED_AT_ONCE);
                })
                .await?;
            let mut answer = Items::of(value)?;
            if !answer.flag()? {
                return Ok(None);
            }
            ahead += answer.number()?;
            if !answer.flag()? {
                return Ok(Some(ahead));
            }
            from += COUNTED_AT_ONCE;
        }
    }

    async fn topics(&self) -> Result<Vec<Topic>, Fault> {
        let names: Vec<String> = self.command("HKEYS", shard_keys::TOPICS).await?;
        let mut topics: Vec<Topic> = names.into_iter().filter_map(|name| Topic::new(name).ok()).collect();
        topics.sort();
        Ok(topics)
    }

    async fn lanes(&self) -> Result<Vec<Lane>, Fault> {
        let known: BTreeMap<String, String> = self.command("HGETALL", shard_keys::TOPICS).await?;
        let mut lanes = Vec::with_capacity(known.len());
        for (name, seen) in known {
            let Ok(topic) = Topic::new(name) else { continue };
            if seen.ends_with(HIGH) {
                lanes.push(Lane::high(topic.clone()));
            }
            lanes.push(topic.into());
        }
        let sites: Vec<String> = self.command("HKEYS", shard_keys::SITES).await?;
        lanes.extend(sites.iter().filter_map(|lane| Lane::spelt(lane)));
        lanes.sort();
        Ok(lanes)
    }

    async fn queued_at(&self) -> Result<BTreeMap<Lane, u64>, Fault> {
        let counts: BTreeMap<String, i64> = self.command("HGETALL", shard_keys::QUEUED_AT).await?;
        let read = |(lane, count): (String, i64)| Some((Lane::spelt(&lane)?, u64::try_from(count).ok()?));
        Ok(counts.into_iter().filter_map(read).filter(|(_, count)| *count > 0).collect())
    }

    async fn forget(&self, lanes: Vec<Lane>, idle_ms: u64) -> Result<Vec<Lane>, Fault> {
        let value = self
            .script(&self.server.scripts.forget, Repeat::Safe, |cmd| {
                cmd.arg(idle_ms).arg(lanes.len());
                for lane in &lanes {
                    cmd.arg(lane.spelled());
                }
            })
            .await?;
        Ok(Items::of(value)?.texts()?.iter().filter_map(|lane| Lane::spelt(lane)).collect())
    }

    async fn know(&self, lanes: Vec<Lane>) -> Result<(), Fault> {
        let value = self
            .script(&self.server.scripts.know, Repeat::Safe, |cmd| {
                cmd.arg(lanes.len());
                for lane in &lanes {
                    cmd.arg(lane.spelled());
                }
            })
            .await?;
        match Items::of(value)?.texts()?.into_iter().next() {
            Some(topic) => Err(Fault::refused(Service::Store, NotAccepted::TooManyTopics(topic).to_string())),
            None => Ok(()),
        }
    }

    async fn view(&self) -> Result<View, Fault> {
        let script = &self.server.scripts.view;
        let cmd = self.server.fleet_call(script);
        let mut answer = Items::of(self.server.connection.run_knowing_server(script, &cmd).await?)?;
        let (number, term) = (answer.number()?, answer.number()?);
        let coordinator = answer.text()?.parse().ok();
        let cards = answer.items()?.each(|mut card| Ok((card.text()?, card.number()?)))?;
        let read = |(card, started): &(String, u64)| {
            let card = serde_json::from_str::<Card>(card);
            let card = card.map_err(|error| tracing::warn!(%error, "an instance's card cannot be read")).ok()?;
            Some(Card { started: *started, ..card })
        };
        Ok(View { number, term, coordinator, instances: cards.iter().filter_map(read).collect() })
    }

    async fn seal(&self, exchange: Option<(&str, &str)>) -> Result<String, Fault> {
        let script = &self.server.scripts.seal;
        let (before, after) = exchange.unwrap_or_default();
        let mut cmd = self.server.fleet_call(script);
        cmd.arg(u8::from(exchange.is_some())).arg(before).arg(after);
        let seal = self.server.run(script, &cmd, Repeat::Safe).await?;
        redis::from_redis_value(seal).map_err(|_| reply::unexpected("the seal"))
    }

    async fn matrix(&self) -> Result<BTreeMap<InstanceId, KeptRow>, Fault> {
        matrix::all(&self.server).await
    }

    async fn row(&self, instance: &InstanceId) -> Result<Option<KeptRow>, Fault> {
        matrix::one(&self.server, instance).await
    }

    async fn set_row(&self, instance: &InstanceId, after: u64, row: &Row) -> Result<RowChange, Fault> {
        matrix::set(&self.server, instance, after, row).await
    }

    async fn ask(&self, id: &QuestionId, question: &Question, of: &[Owner], ms: u64) -> Result<bool, Fault> {
        questions::ask(&self.server, &self.watcher, id, question, of, ms).await
    }

    async fn take_questions(&self, owner: &Owner, known: &[QuestionId], limit: usize) -> Result<Vec<Asked>, Fault> {
        questions::take(&self.server, owner, known, limit).await
    }

    async fn answer(&self, id: &QuestionId, owner: &Owner, said: &Said) -> Result<bool, Fault> {
        questions::answer(&self.server, id, owner, said).await
    }

    async fn standings(&self, id: &QuestionId, of: &[Owner], close: bool) -> Result<Option<Vec<Standing>>, Fault> {
        questions::standings(&self.server, id, of, close).await
    }

    async fn holder(&self, topic: &Topic, key: &str) -> Result<Option<JobId>, Fault> {
        let id: Option<String> = self.command("GET", &format!("{}{topic}\n{key}", shard_keys::UNIQUE)).await?;
        Ok(id.and_then(|id| id.parse().ok()))
    }

    async fn heart(&self) -> Result<Box<dyn Heart>, Fault> {
        let server = Server::new(Connection::new(self.address.impatient(heart::PATIENCE)), self.namespace.clone());
        server.connection.open().await?;
        Ok(Box::new(heart::RedisHeart::new(server)))
    }

    fn nudges(&self) -> broadcast::Receiver<Nudge> {
        self.nudges.subscribe()
    }

    async fn erase(&self) -> Result<u64, Fault> {
        let (mut cursor, mut erased) = (0_u64, 0);
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(self.server.names.everything()).arg("COUNT").arg(ERASED_AT_ONCE);
            let value = self.server.connection.command(&scan).await?;
            let (next, keys): (u64, Vec<Vec<u8>>) =
                redis::from_redis_value(value).map_err(|_| reply::unexpected("SCAN"))?;
            if !keys.is_empty() {
                erased += keys.len() as u64;
                self.server.connection.command(redis::cmd("UNLINK").arg(keys)).await?;
            }
            if next == 0 {
                return Ok(erased);
            }
            cursor = next;
        }
    }

    async fn about(&self) -> Result<Vec<Fact>, Fault> {
        let value = self.server.connection.command(&redis::cmd("INFO")).await?;
        let text: String = redis::from_redis_value(value).map_err(|_| reply::unexpected("INFO"))?;
        Ok(about::facts(&text))
    }

    fn restarts(&self) -> u64 {
        self.server.connection.restarts()
    }

    async fn ping(&self) -> Result<u64, Fault> {
        let value = self.server.connection.command(&redis::cmd("TIME")).await?;
        let (seconds, micros): (u64, u64) =
            redis::from_redis_value(value).map_err(|_| reply::unexpected("the time"))?;
        Ok(seconds * 1_000 + micros / 1_000)
    }

    async fn scrub(&self, limit: usize) -> Result<Scrubbed, Fault> {
        scrub::step(&self.server, limit).await
    }

    async fn scrubbing(&self) -> Result<Scrubbing, Fault> {
        scrub::so_far(&self.server).await
    }

    async fn schedule(&self, name: &str) -> Result<Schedules, Fault> {
        schedules::named(&self.server, name).await
    }

    async fn find_schedules(&self, after: Option<&str>, limit: usize) -> Result<Schedules, Fault> {
        schedules::page(&self.server, after, limit).await
    }

    async fn due_schedules(&self, limit: usize) -> Result<DueSchedules, Fault> {
        schedules::due(&self.server, limit).await
    }

    async fn change_schedules(&self, changes: Vec<ScheduleChange>) -> Result<Vec<Changed>, Fault> {
        schedules::change(&self.server, &changes).await
    }
}
