//! What happens to the lines between processes and services.

use super::super::field::Field;
use super::lease;
use crate::proxy::{Direction, Rough};
use std::time::Duration;

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
