//! The recipe "send a job exactly when my transaction commits", executed: killed between any two steps, there is
//! one job for each committed order and none for any other.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../examples/transactional_outbox.rs"]
#[allow(unreachable_pub, reason = "an example is a program")]
mod recipe;

use longshore_link::World;
use longshore_link::embedded::Embedded;
use longshore_producer::{Producer, ProducerOptions, testing};
use recipe::{Confirm, TABLES, enqueue, forward, place_order, settle, waiting};
use rusqlite::Connection;
use std::path::Path;

/// A process of the application: killed when it is dropped. Database and backend outlive it.
struct Process {
    db: Connection,
    producer: Producer,
}

fn start(file: &Path, backend: &Embedded, world: &World) -> Process {
    let db = Connection::open(file).unwrap();
    db.execute_batch(TABLES).unwrap();
    Process { db, producer: Producer::connect_with(backend.link(world.process()), ProducerOptions::default()) }
}

async fn orders_with_a_job(producer: &Producer) -> Vec<i64> {
    let mut orders: Vec<i64> = testing::enqueued::<Confirm>(producer).await.iter().map(|job| job.order).collect();
    orders.sort_unstable();
    orders
}

#[tokio::test(start_paused = true)]
async fn one_job_for_each_commit_whenever_the_process_dies() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("shop.db");
    let world = World::simulated(1);
    let backend = Embedded::new(&world);

    // Killed before the commit: neither order nor job.
    let mut dies = start(&file, &backend, &world);
    let tx = dies.db.transaction().unwrap();
    tx.execute("INSERT INTO orders (customer) VALUES ('nobody')", []).unwrap();
    enqueue(&tx, dies.producer.new_id(), &Confirm { order: tx.last_insert_rowid() }).unwrap();
    drop(tx);
    assert_eq!(forward(&mut dies.db, &dies.producer).await.unwrap(), 0);
    drop(dies);

    // Killed after the commit, before sending.
    let mut dies = start(&file, &backend, &world);
    place_order(&mut dies.db, &dies.producer, "Ada").unwrap();
    drop(dies);

    // Killed after the job was accepted, before the row was deleted; twice.
    for _ in 0..2 {
        let dies = start(&file, &backend, &world);
        let row = waiting(&dies.db).unwrap().remove(0);
        dies.producer.raw(&row.topic, &row.payload).id(row.id).send().await.unwrap();
        drop(dies);
    }

    // Killed while the answer was on its way: unknown to everybody.
    let mut dies = start(&file, &backend, &world);
    place_order(&mut dies.db, &dies.producer, "Grace").unwrap();
    backend.lose_store_answers(u32::MAX);
    assert_eq!(forward(&mut dies.db, &dies.producer).await.unwrap(), 0, "an unknown outcome settles nothing");
    backend.lose_store_answers(0);
    drop(dies);

    // Two forwarders at once, on what is left.
    let (mut one, mut two) = (start(&file, &backend, &world), start(&file, &backend, &world));
    let (a, b) = tokio::join!(forward(&mut one.db, &one.producer), forward(&mut two.db, &two.producer));
    assert_eq!(a.unwrap() + b.unwrap(), 2);
    assert!(waiting(&one.db).unwrap().is_empty());
    let orders = one.db.query_row("SELECT count(*) FROM orders", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(orders, 2);
    assert_eq!(orders_with_a_job(&one.producer).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_ended_long_ago_is_not_sent_again_and_a_refused_one_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::simulated(2);
    let backend = Embedded::new(&world);
    let Process { mut db, producer } = start(&dir.path().join("shop.db"), &backend, &world);
    let id = place_order(&mut db, &producer, "Ada").unwrap();
    let row = waiting(&db).unwrap().remove(0);
    producer.raw(&row.topic, &row.payload).id(id).send().await.unwrap();
    // It ended and was removed before the forwarder came to delete its row.
    producer.remove([id]).await.unwrap();
    producer.remove([id]).await.unwrap();
    db.execute(
        "INSERT INTO job_outbox (id, topic, payload) VALUES (?1, 'no topic', '1')",
        [producer.new_id().to_string()],
    )
    .unwrap();
    let last = place_order(&mut db, &producer, "Grace").unwrap();
    assert_eq!(forward(&mut db, &producer).await.unwrap(), 3);
    assert_eq!(orders_with_a_job(&producer).await, [2]);
    assert!(producer.show(last).await.unwrap().is_some());
    let refused: String = db.query_row("SELECT refused FROM job_outbox", [], |row| row.get(0)).unwrap();
    assert!(refused.contains("illegal topic `no topic`"), "{refused}");
    assert_eq!(settle(&db, last, Ok(())).unwrap(), 0, "settling twice is harmless");
}
