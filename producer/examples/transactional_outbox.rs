//! Recipe: send a job exactly when a transaction of your own database commits.
//!
//! Sending inside the transaction is wrong in both orders: a rollback leaves a job that should not be,
//! a crash after the commit loses one that should. So the transaction writes the job, with its id, into
//! a table beside what it decides; a forwarder sends what is in the table, under that same id, and
//! deletes the row once the job is accepted. It may be killed between any two steps and may run many
//! times at once: sending an id again makes no second job.
//!
//! Here with SQLite; any database with transactions will do. Run it with
//! `cargo run -p longshore-producer --example transactional_outbox`.

use longshore_producer::{Job, JobId, NotAccepted, Producer, Refusal, SendError, Settings};
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};
use std::error::Error;

/// The job: confirm an order by mail.
#[derive(Debug, Serialize, Deserialize, Job)]
#[job(topic = "shop/confirm")]
pub struct Confirm {
    /// The order.
    pub order: i64,
}

/// The application's tables, and the outbox beside them.
pub const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS job_outbox (
        id TEXT PRIMARY KEY, topic TEXT NOT NULL, payload TEXT NOT NULL, refused TEXT);
";

/// Puts a job into the outbox, as a part of the caller's transaction.
pub fn enqueue<J: Job>(tx: &Transaction<'_>, id: JobId, job: &J) -> Result<(), Box<dyn Error>> {
    let sql = "INSERT INTO job_outbox (id, topic, payload) VALUES (?1, ?2, ?3)";
    tx.execute(sql, params![id.to_string(), J::TOPIC, serde_json::to_string(job)?])?;
    Ok(())
}

/// What the application does: an order, and the job that follows from it, both or neither.
pub fn place_order(db: &mut Connection, producer: &Producer, customer: &str) -> Result<JobId, Box<dyn Error>> {
    let tx = db.transaction()?;
    tx.execute("INSERT INTO orders (customer) VALUES (?1)", [customer])?;
    let (id, job) = (producer.new_id(), Confirm { order: tx.last_insert_rowid() });
    enqueue(&tx, id, &job)?;
    tx.commit()?;
    Ok(id)
}

/// A row of the outbox.
#[derive(Debug)]
pub struct Waiting {
    /// The job's id.
    pub id: JobId,
    /// Its topic.
    pub topic: String,
    /// Its payload, JSON.
    pub payload: String,
}

/// The rows to be sent, oldest first.
pub fn waiting(db: &Connection) -> Result<Vec<Waiting>, Box<dyn Error>> {
    let sql = "SELECT id, topic, payload FROM job_outbox WHERE refused IS NULL ORDER BY rowid LIMIT 200";
    let mut query = db.prepare(sql)?;
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?, row.get(2)?)))?;
    rows.map(|row| {
        let (id, topic, payload) = row?;
        Ok(Waiting { id: id.parse()?, topic, payload })
    })
    .collect()
}

/// Sends what waits, once; to be called every second, and after each commit if it should be fast. Answers how many
/// rows are done with.
pub async fn forward(db: &mut Connection, producer: &Producer) -> Result<usize, Box<dyn Error>> {
    let rows = waiting(db)?;
    let jobs: Vec<_> = rows.iter().map(|row| producer.raw(&row.topic, &row.payload).id(row.id)).collect();
    // Being killed here: the rows are sent again, under the same ids.
    let answers = producer.send_all(jobs).await;
    // Being killed here: likewise.
    let mut done = 0;
    for (row, answer) in rows.iter().zip(answers) {
        done += settle(db, row.id, answer.map(drop))?;
    }
    Ok(done)
}

/// Takes an answer into account: 1 when the row is done with.
pub fn settle(db: &Connection, id: JobId, answer: Result<(), SendError>) -> Result<usize, Box<dyn Error>> {
    match answer {
        // Accepted, now or by an earlier run of which the job has even ended and been removed.
        Ok(()) | Err(SendError::Refused(Refusal::NotAccepted(NotAccepted::Ended(_)))) => {
            Ok(db.execute("DELETE FROM job_outbox WHERE id = ?1", [id.to_string()])?)
        }
        // Never accepted, and never will be: for a person. It must not hold up the others.
        Err(SendError::Refused(refusal)) => {
            let sql = "UPDATE job_outbox SET refused = ?2 WHERE id = ?1";
            Ok(db.execute(sql, params![id.to_string(), refusal.to_string()])?)
        }
        // Not accepted, or unknown: the next run sends it again.
        Err(SendError::Unreachable { .. } | SendError::NotSpooled { .. } | SendError::Unknown { .. }) => Ok(0),
    }
}

#[tokio::main(flavor = "current_thread")]
#[allow(clippy::print_stdout, dead_code, reason = "an example shows what it does; its test uses the rest of the file")]
async fn main() -> Result<(), Box<dyn Error>> {
    let producer = Producer::connect(&Settings::embedded("transactional-outbox")).await?;
    let mut db = Connection::open_in_memory()?;
    db.execute_batch(TABLES)?;
    let id = place_order(&mut db, &producer, "Ada")?;
    println!("order committed, job {id} is in the outbox; forwarded: {}", forward(&mut db, &producer).await?);
    let job = producer.show(id).await?.ok_or("the job is not there")?;
    println!("job {id} is {} with payload {}", job.state, job.payload.get());
    Ok(())
}
