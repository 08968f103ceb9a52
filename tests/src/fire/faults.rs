//! Faults: each begins, lasts a while, is over, and says so in the history.
//!
//! A fault is a function and a line in [`FAULTS`], which the soak draws from; scenarios repeat one, or call them in
//! their own order. Whom it hits and how long it lasts is drawn from the run's seed. None of them waits until work
//! goes on: that is for whoever calls it.

use super::field::Field;
use crate::proxy::{Direction, Rough};
use redis::Cmd;
use std::pin::Pin;
use std::time::Duration;

/// What a fault or a scenario does.
pub type Work<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// A kind of fault.
#[derive(Debug, Clone, Copy)]
pub struct Fault {
    /// Its name.
    pub kind: &'static str,
    /// How often the soak draws it, in relation to the others.
    pub weight: u64,
    /// Does it.
    pub strike: fn(&mut Field) -> Work<'_>,
}

/// Every kind of fault that keeps all promises.
pub const FAULTS: &[Fault] = &[
    Fault { kind: "consumer killed, started again", weight: 14, strike: |field| Box::pin(kill(field, false)) },
    Fault { kind: "consumer killed, missed for a lease", weight: 6, strike: |field| Box::pin(kill(field, true)) },
    Fault { kind: "coordinator killed", weight: 4, strike: |field| Box::pin(kill_coordinator(field)) },
    Fault { kind: "consumer asked to end, started again", weight: 8, strike: |field| Box::pin(terminate(field)) },
    Fault { kind: "consumer frozen for half a lease", weight: 6, strike: |field| Box::pin(freeze(field, 1, 2)) },
    Fault { kind: "consumer frozen for three leases", weight: 5, strike: |field| Box::pin(freeze(field, 3, 1)) },
    Fault { kind: "broker killed", weight: 3, strike: |field| Box::pin(broker_killed(field)) },
    Fault { kind: "broker restarted", weight: 2, strike: |field| Box::pin(broker_restarted(field)) },
    Fault { kind: "broker frozen", weight: 3, strike: |field| Box::pin(service_frozen(field, true)) },
    Fault { kind: "broker closes all connections", weight: 6, strike: |field| Box::pin(all_closed(field)) },
    Fault { kind: "broker out of memory", weight: 2, strike: |field| Box::pin(memory_alarm(field, 8)) },
    Fault { kind: "broker out of disk", weight: 2, strike: |field| Box::pin(disk_alarm(field, 8)) },
    Fault { kind: "store killed", weight: 4, strike: |field| Box::pin(store_killed(field)) },
    Fault { kind: "store restarted", weight: 3, strike: |field| Box::pin(store_restarted(field)) },
    Fault { kind: "store frozen", weight: 3, strike: |field| Box::pin(service_frozen(field, false)) },
    Fault { kind: "store drops its clients", weight: 4, strike: |field| Box::pin(store_says(field, Say::Drop)) },
    Fault { kind: "store forgets its scripts", weight: 4, strike: |field| Box::pin(store_says(field, Say::Scripts)) },
    Fault { kind: "store pauses its clients", weight: 3, strike: |field| Box::pin(store_says(field, Say::Pause)) },
    Fault { kind: "store rewrites its file", weight: 2, strike: |field| Box::pin(store_says(field, Say::Rewrite)) },
    Fault { kind: "store out of memory", weight: 3, strike: |field| Box::pin(store_full(field)) },
    Fault { kind: "store read-only", weight: 3, strike: |field| Box::pin(store_read_only(field)) },
    Fault { kind: "consumer cut off the store", weight: 5, strike: |field| Box::pin(cut(field, Line::Store, 2)) },
    Fault { kind: "consumer cut off the broker", weight: 5, strike: |field| Box::pin(cut(field, Line::Broker, 3)) },
    Fault { kind: "consumer cut off both", weight: 5, strike: |field| Box::pin(cut(field, Line::Both, 2)) },
    Fault { kind: "requests to the store vanish", weight: 3, strike: |f| Box::pin(one_way(f, Line::Store, true)) },
    Fault { kind: "replies of the store vanish", weight: 3, strike: |f| Box::pin(one_way(f, Line::Store, false)) },
    Fault { kind: "requests to the broker vanish", weight: 3, strike: |f| Box::pin(one_way(f, Line::Broker, true)) },
    Fault { kind: "replies of the broker vanish", weight: 3, strike: |f| Box::pin(one_way(f, Line::Broker, false)) },
    Fault { kind: "replies of the store held back", weight: 3, strike: |f| Box::pin(stall(f, Line::Store)) },
    Fault { kind: "replies of the broker held back", weight: 3, strike: |f| Box::pin(stall(f, Line::Broker)) },
    Fault { kind: "line to the store cut inside a frame", weight: 5, strike: |f| Box::pin(inside(f, Line::Store)) },
    Fault { kind: "line to the broker cut inside a frame", weight: 5, strike: |f| Box::pin(inside(f, Line::Broker)) },
    Fault { kind: "reply of the store lost", weight: 12, strike: |field| Box::pin(any_reply_lost(field)) },
    Fault { kind: "reply of the broker lost", weight: 8, strike: |field| Box::pin(any_confirm_lost(field)) },
    Fault { kind: "lossy lines", weight: 3, strike: |field| Box::pin(rough_lines(field, 6)) },
    Fault { kind: "narrow lines", weight: 3, strike: |field| Box::pin(narrow_lines(field, 6)) },
    Fault { kind: "producer cut off both", weight: 4, strike: |field| Box::pin(producer_cut(field)) },
];

/// Which line of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// To the store.
    Store,
    /// To the broker.
    Broker,
    /// Both.
    Both,
}

impl Line {
    const fn store(self) -> bool {
        matches!(self, Self::Store | Self::Both)
    }

    const fn broker(self) -> bool {
        matches!(self, Self::Broker | Self::Both)
    }
}

fn lease(field: &Field) -> Duration {
    field.setup.lease
}

/// A consumer is killed and started again, at once or when others have taken over.
pub async fn kill(field: &mut Field, missed: bool) {
    let name = field.any();
    field.fault(if missed { "consumer killed, missed for a lease" } else { "consumer killed, started again" }, &name);
    kill_one(field, &name, missed).await;
}

async fn kill_one(field: &mut Field, name: &str, missed: bool) {
    field.kill(name);
    let gap = if missed { lease(field) * 3 / 2 } else { Duration::from_millis(field.random.below(500)) };
    field.wait(gap).await;
    field.launch(name);
    field.ready(name).await;
}

/// The consumer that does most of the duties is killed.
pub async fn kill_coordinator(field: &mut Field) {
    let view = field.producer.topology().await.ok();
    let leader = view.and_then(|view| {
        let owner = view.coordinator?;
        Some(view.instances.into_iter().find(|card| card.owner == owner)?.name)
    });
    let name = leader.filter(|name| field.ways.contains_key(name)).unwrap_or_else(|| field.any());
    field.fault("coordinator killed", &name);
    kill_one(field, &name, true).await;
}

/// A consumer drains and comes back.
pub async fn terminate(field: &mut Field) {
    let name = field.any();
    field.fault("consumer asked to end, started again", &name);
    field.terminate(&name).await;
    field.launch(&name);
    field.ready(&name).await;
}

/// A consumer stands still for a part of a lease.
pub async fn freeze(field: &mut Field, times: u32, parts: u32) {
    let name = field.any();
    let long = times > parts;
    field.fault(if long { "consumer frozen for three leases" } else { "consumer frozen for half a lease" }, &name);
    field.freeze(&name);
    field.wait(lease(field) * times / parts).await;
    field.thaw(&name);
}

/// The broker dies and comes back.
pub async fn broker_killed(field: &mut Field) {
    field.fault("broker killed", "");
    field.rabbitmq.kill();
    field.rabbitmq.resume().await;
    field.healed();
}

/// The broker is stopped in order and comes back.
pub async fn broker_restarted(field: &mut Field) {
    field.fault("broker restarted", "");
    field.rabbitmq.restart().await;
    field.healed();
}

/// The broker is away for a while.
pub async fn broker_away(field: &mut Field, span: Duration) {
    field.fault("broker away", "");
    field.rabbitmq.stop().await;
    field.wait(span).await;
    field.rabbitmq.resume().await;
    field.healed();
}

/// The store is away for a while.
pub async fn store_away(field: &mut Field, span: Duration) {
    field.fault("store away", "");
    field.redis.stop().await;
    field.wait(span).await;
    field.redis.resume().await;
    field.healed();
}

/// A service stands still, for less or for more than a lease.
pub async fn service_frozen(field: &mut Field, broker: bool) {
    field.fault(if broker { "broker frozen" } else { "store frozen" }, "");
    let span = lease(field).mul_f64(0.2 + field.random.below(150) as f64 / 100.0);
    field.suspend_service(broker, true);
    field.wait(span).await;
    field.suspend_service(broker, false);
    field.healed();
}

/// The broker closes every connection.
pub async fn all_closed(field: &mut Field) {
    field.fault("broker closes all connections", "");
    field.rabbitmq.close_all_connections().await;
    field.healed();
}

/// The broker takes no publishes, for want of memory.
pub async fn memory_alarm(field: &mut Field, seconds: u64) {
    field.fault("broker out of memory", "");
    field.rabbitmq.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await;
    field.wait(Duration::from_secs(seconds)).await;
    field.rabbitmq.ctl(&["set_vm_memory_high_watermark", "0.4"]).await;
    field.healed();
}

/// The broker takes no publishes, for want of disk.
pub async fn disk_alarm(field: &mut Field, seconds: u64) {
    field.fault("broker out of disk", "");
    field.rabbitmq.ctl(&["set_disk_free_limit", "1000TB"]).await;
    field.wait(Duration::from_secs(seconds)).await;
    field.rabbitmq.ctl(&["set_disk_free_limit", "1MB"]).await;
    field.healed();
}

/// The store dies and comes back with its file.
pub async fn store_killed(field: &mut Field) {
    field.fault("store killed", "");
    field.redis.kill();
    let gap = Duration::from_millis(field.random.below(2_000));
    field.wait(gap).await;
    field.redis.resume().await;
    field.healed();
}

/// The store is stopped in order and comes back.
pub async fn store_restarted(field: &mut Field) {
    field.fault("store restarted", "");
    field.redis.restart().await;
    field.healed();
}

/// What the store is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// Close all connections of clients.
    Drop,
    /// Forget all scripts.
    Scripts,
    /// Answer nobody for two seconds.
    Pause,
    /// Write the append-only file anew.
    Rewrite,
}

/// Tells the store something.
pub async fn store_says(field: &mut Field, say: Say) {
    let mut command = Cmd::new();
    let kind = match say {
        Say::Drop => {
            command.arg("CLIENT").arg("KILL").arg("TYPE").arg("normal");
            "store drops its clients"
        }
        Say::Scripts => {
            command.arg("SCRIPT").arg("FLUSH");
            "store forgets its scripts"
        }
        Say::Pause => {
            command.arg("CLIENT").arg("PAUSE").arg(2_000);
            "store pauses its clients"
        }
        Say::Rewrite => {
            command.arg("BGREWRITEAOF");
            "store rewrites its file"
        }
    };
    field.fault(kind, "");
    // One that is under way already, or an answer that the command itself cuts off, is as good.
    let _ = command.query_async::<redis::Value>(&mut field.redis.connection().await).await;
    if say == Say::Pause {
        field.wait(Duration::from_secs(2)).await;
    }
    field.healed();
}

async fn configure(field: &Field, name: &str, value: &str) {
    let mut connection = field.redis.connection().await;
    let set = redis::cmd("CONFIG").arg("SET").arg(name).arg(value).query_async::<()>(&mut connection).await;
    set.expect("configure the store");
}

/// The store refuses whatever needs memory.
pub async fn store_full(field: &mut Field) {
    field.fault("store out of memory", "");
    configure(field, "maxmemory", "1mb").await;
    field.wait(Duration::from_secs(4)).await;
    configure(field, "maxmemory", "0").await;
    field.healed();
}

/// The store refuses writes, as a replica does.
pub async fn store_read_only(field: &mut Field) {
    field.fault("store read-only", "");
    let mut connection = field.redis.connection().await;
    // A replica of nobody: what it holds stays, as nobody answers there.
    let replica = redis::cmd("REPLICAOF").arg("127.0.0.1").arg(1).query_async::<()>(&mut connection).await;
    replica.expect("make the store a replica");
    field.wait(Duration::from_secs(3)).await;
    let mut connection = field.redis.connection().await;
    let master = redis::cmd("REPLICAOF").arg("NO").arg("ONE").query_async::<()>(&mut connection).await;
    master.expect("make the store a master");
    field.healed();
}

/// A consumer's lines are cut and stay so for some leases.
pub async fn cut(field: &mut Field, line: Line, leases: u32) {
    let span = lease(field) * leases;
    cut_for(field, line, span).await;
}

/// A consumer's lines are cut and stay so.
pub async fn cut_for(field: &mut Field, line: Line, span: Duration) {
    let name = field.any();
    let kind = match line {
        Line::Store => "consumer cut off the store",
        Line::Broker => "consumer cut off the broker",
        Line::Both => "consumer cut off both",
    };
    field.fault(kind, &name);
    let way = &field.ways[&name];
    if line.store() {
        way.store.refuse().await;
        way.store.cut();
    }
    if line.broker() {
        way.broker.refuse().await;
        way.broker.cut();
    }
    field.wait(span).await;
    field.ways[&name].heal().await;
    field.healed();
}

/// One direction of a consumer's line leads nowhere for two leases; then the line breaks, as its ends find out.
pub async fn one_way(field: &mut Field, line: Line, requests: bool) {
    let name = field.any();
    let (whom, what) =
        (if line.store() { "store" } else { "broker" }, if requests { "requests to" } else { "replies of" });
    field.fault(&format!("{what} the {whom} vanish"), &name);
    let way = &field.ways[&name];
    let proxy = if line.store() { &way.store } else { &way.broker };
    proxy.swallow(if requests { Direction::ToService } else { Direction::ToClient });
    let span = lease(field) * 2;
    field.wait(span).await;
    let way = &field.ways[&name];
    way.heal().await;
    // What was swallowed is missing in the middle: no real line goes on from there.
    (if line.store() { &way.store } else { &way.broker }).cut();
    field.healed();
}

/// What a service says to a consumer is held back for a while, then comes at once.
pub async fn stall(field: &mut Field, line: Line) {
    let name = field.any();
    field.fault(if line.store() { "replies of the store held back" } else { "replies of the broker held back" }, &name);
    let way = &field.ways[&name];
    (if line.store() { &way.store } else { &way.broker }).stall(Direction::ToClient);
    let span = lease(field).mul_f64(0.2 + field.random.below(180) as f64 / 100.0);
    field.wait(span).await;
    field.ways[&name].heal().await;
    field.healed();
}

/// A line is cut after a number of bytes that nobody chose.
pub async fn inside(field: &mut Field, line: Line) {
    let name = field.any();
    let whom = if line.store() { "store" } else { "broker" };
    field.fault(&format!("line to the {whom} cut inside a frame"), &name);
    let direction = if field.random.below(2) == 0 { Direction::ToService } else { Direction::ToClient };
    let bytes = 1 + field.random.below(4_000) as usize;
    let way = &field.ways[&name];
    let proxy = if line.store() { &way.store } else { &way.broker };
    let before = proxy.cuts();
    proxy.cut_after(direction, bytes);
    until_cut(field, &name, line, before).await;
    field.healed();
}

/// Waits until a proxy has cut, or it is clear that nothing will pass that way soon.
async fn until_cut(field: &mut Field, name: &str, line: Line, before: u64) -> bool {
    for _ in 0..60 {
        let way = field.ways.get(name).unwrap_or(&field.own_way);
        if (if line.store() { &way.store } else { &way.broker }).cuts() > before {
            return true;
        }
        field.wait(Duration::from_millis(50)).await;
    }
    field.ways.get(name).unwrap_or(&field.own_way).heal().await;
    false
}

/// The reply to the next request with these bytes is lost; answers whether there was one. `name` is a consumer, or
/// anything else for the producer.
pub async fn reply_lost(field: &mut Field, name: &str, line: Line, marker: &[u8]) -> bool {
    let way = field.ways.get(name).unwrap_or(&field.own_way);
    let proxy = if line.store() { &way.store } else { &way.broker };
    let before = proxy.cuts();
    proxy.cut_before_reply(marker);
    until_cut(field, name, line, before).await
}

/// The reply to the next request with these bytes is lost, whoever makes it; answers whether anybody did.
pub async fn any_ones_reply_lost(field: &mut Field, line: Line, marker: &[u8]) -> bool {
    let cuts = |field: &Field| -> u64 {
        let ways = field.ways.values().chain([&field.own_way]);
        ways.map(|way| (if line.store() { &way.store } else { &way.broker }).cuts()).sum()
    };
    let before = cuts(field);
    for way in field.ways.values().chain([&field.own_way]) {
        (if line.store() { &way.store } else { &way.broker }).cut_before_reply(marker);
    }
    for _ in 0..120 {
        if cuts(field) > before {
            break;
        }
        field.wait(Duration::from_millis(50)).await;
    }
    for way in field.ways.values().chain([&field.own_way]) {
        way.heal().await;
    }
    cuts(field) > before
}

/// The reply to some call of the store is lost.
pub async fn any_reply_lost(field: &mut Field) {
    let scripts = longshore_link::redis::hashes();
    // What is called all the time; the scenario F24 takes the others as well.
    let often = ["enqueue", "published", "claim", "finish", "renew", "beat"];
    let often: Vec<_> = scripts.into_iter().filter(|(name, _)| often.contains(name)).collect();
    let (script, hash) = &often[field.random.below(often.len() as u64) as usize];
    let own = matches!(*script, "enqueue");
    let name = if own { "producer".to_owned() } else { field.any() };
    field.fault("reply of the store lost", &format!("{name}: {script}"));
    reply_lost(field, &name, Line::Store, hash.as_bytes()).await;
    field.healed();
}

/// Methods of AMQP whose answers can be lost: class and method, as they are on the wire.
pub const METHODS: &[(&str, [u8; 4])] =
    &[("publish", [0, 60, 0, 40]), ("acknowledge", [0, 60, 0, 80]), ("declare", [0, 50, 0, 10])];

/// The confirm of a publish, or whatever follows an acknowledgement, is lost.
pub async fn any_confirm_lost(field: &mut Field) {
    let (method, marker) = METHODS[field.random.below(2) as usize];
    let own = method == "publish" && field.random.below(2) == 0;
    let name = if own { "producer".to_owned() } else { field.any() };
    field.fault("reply of the broker lost", &format!("{name}: {method}"));
    reply_lost(field, &name, Line::Broker, &marker).await;
    field.healed();
}

/// All lines lose and delay.
pub async fn rough_lines(field: &mut Field, seconds: u64) {
    field.fault("lossy lines", "");
    let rough = Rough { spread: Duration::from_millis(50), lost_per_mille: 50, resend: Duration::from_millis(200) };
    for way in field.ways.values().chain([&field.own_way]) {
        for proxy in [&way.broker, &way.store] {
            for direction in [Direction::ToService, Direction::ToClient] {
                proxy.delay(direction, Duration::from_millis(50));
                proxy.roughen(direction, rough);
            }
        }
    }
    field.wait(Duration::from_secs(seconds)).await;
    heal_all(field).await;
}

/// All lines carry 256 kbit/s.
pub async fn narrow_lines(field: &mut Field, seconds: u64) {
    field.fault("narrow lines", "");
    for way in field.ways.values().chain([&field.own_way]) {
        for proxy in [&way.broker, &way.store] {
            proxy.throttle(Direction::ToService, 32_000);
            proxy.throttle(Direction::ToClient, 32_000);
        }
    }
    field.wait(Duration::from_secs(seconds)).await;
    heal_all(field).await;
}

async fn heal_all(field: &mut Field) {
    for way in field.ways.values().chain([&field.own_way]) {
        way.heal().await;
    }
    field.healed();
}

/// The producer reaches nobody for a while.
pub async fn producer_cut(field: &mut Field) {
    field.fault("producer cut off both", "producer");
    for proxy in [&field.own_way.broker, &field.own_way.store] {
        proxy.refuse().await;
        proxy.cut();
    }
    field.wait(Duration::from_secs(3)).await;
    field.own_way.heal().await;
    field.healed();
}
