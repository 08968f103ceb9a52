//! What happens to the broker and the store.

use super::super::field::Field;
use super::lease;
use redis::Cmd;
use std::time::Duration;

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

/// The place of payload files is away, for less or for more than a lease.
pub async fn files_away(field: &mut Field) {
    field.fault("files away", "");
    let span = lease(field).mul_f64(0.5 + field.random.below(200) as f64 / 100.0);
    field.swap_place();
    field.wait(span).await;
    field.swap_place();
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
    field.rabbitmq.ctl(&["set_disk_free_limit", "9000GB"]).await;
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

/// Sets an option of the store.
pub async fn configure(field: &Field, name: &str, value: &str) {
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
