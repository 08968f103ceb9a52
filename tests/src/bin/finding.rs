//! How long it takes to find 100 of many jobs: `finding [JOBS] [ROUNDS]`, a million and 20 if not said otherwise.
//!
//! It starts a private Redis, fills it through the store's own operations (2 KB of memory a job), and prints a line for
//! each question: the median and the longest of all rounds, of the whole answer as a producer gives it, and how long Redis
//! spent in scripts for one.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for the terminal: what fails ends it")]

use bytes::Bytes;
use longshore_link::store::Claimed;
use longshore_link::store::{Claim, Finish, NewJob, Report};
use longshore_link::{Link, World};
use longshore_model::envelope::Envelope;
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::queue::Queues;
use longshore_model::record::{Reason, Start, State};
use longshore_model::secret::Secret;
use longshore_model::settings::Settings;
use longshore_model::topic::Topic;
use longshore_model::transition::{Answer, Verdict};
use longshore_producer::{Find, Producer, ProducerOptions, Time};
use longshore_tests::services::Redis;
use serde_json::value::RawValue;
use std::time::{Duration, Instant};

/// Jobs in one call, and calls at once.
const PART: usize = 200;
const AT_ONCE: usize = 4;
const HOUR_MS: u64 = 3_600_000;

#[tokio::main]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let (jobs, rounds) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(20));
    let server = Redis::start().await;
    let mut settings = Settings::default();
    settings.store.url = Secret::new(server.url());
    settings.broker.url = Secret::new("amqp://127.0.0.1/".to_owned());
    settings.store.call_timeout = Duration::from_secs(60);
    let link = Link::connect_store(&settings, World::system()).await.unwrap();
    let mut connection = server.connection().await;
    // Only reading is measured: what is filled in need not be kept.
    let _: String =
        redis::cmd("CONFIG").arg("SET").arg("appendonly").arg("no").query_async(&mut connection).await.unwrap();
    let begun = Instant::now();
    let half = fill(&link, jobs).await;
    let info: String = redis::cmd("INFO").arg("memory").query_async(&mut connection).await.unwrap();
    let memory = info.lines().find_map(|line| line.strip_prefix("used_memory:")).unwrap().trim().to_owned();
    println!(
        "{jobs} jobs in {:.0} s, {} bytes of memory each",
        begun.elapsed().as_secs_f64(),
        memory.parse::<usize>().unwrap() / jobs
    );

    let producer = Producer::connect_with(link, ProducerOptions::default());
    println!("| Question | Jobs found | Median (ms) | Longest (ms) | In Redis (ms) |\n|---|---|---|---|---|");
    for (name, find) in questions(&producer, jobs, half) {
        let (mut times, mut found) = (Vec::new(), 0);
        let in_redis = scripts_ms(&mut connection).await;
        for _ in 0..rounds {
            let begun = Instant::now();
            let answer = find.clone().limit(100).list().await.unwrap();
            times.push(begun.elapsed());
            assert!(answer.damaged.is_empty() && !answer.partial, "{name}");
            found = answer.jobs.len();
        }
        let in_redis = (scripts_ms(&mut connection).await - in_redis) / rounds as f64;
        times.sort();
        let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
        let (median, longest) = (ms(times[times.len() / 2]), ms(times[times.len() - 1]));
        println!("| {name} | {found} | {median:.1} | {longest:.1} | {in_redis:.1} |");
    }
}

/// How long the server spent in scripts so far, ms.
async fn scripts_ms(connection: &mut redis::aio::MultiplexedConnection) -> f64 {
    let info: String = redis::cmd("INFO").arg("commandstats").query_async(connection).await.unwrap();
    let line = info.lines().find(|line| line.starts_with("cmdstat_evalsha:")).unwrap();
    let us = line.split("usec=").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    us.parse::<f64>().unwrap() / 1_000.0
}

/// Every kind of question, and combinations; some for jobs that all came last, behind many others.
fn questions(producer: &Producer, jobs: usize, half: u64) -> Vec<(&'static str, Find)> {
    let all = || producer.jobs();
    let images = || all().topic("media/image");
    let number = |part: f64| (jobs as f64 * part) as usize;
    vec![
        ("all", all()),
        ("state queued (most)", all().state(State::Queued)),
        ("state scheduled (1 of 10)", all().state(State::Scheduled)),
        ("state error (1 of 500)", all().state(State::Error)),
        ("history", all().history()),
        ("queue slow (1 of 20)", all().queue("slow")),
        ("topic media/rare (1 of 1 000)", all().topic("media/rare")),
        ("topic pattern media/*", all().topic("media/*")),
        ("topic pattern rare/** (20 topics, 1 of 50)", all().topic("rare/**")),
        ("label tenant=7 (1 of 1 000)", all().label("tenant", "7")),
        ("label colour=red (half)", all().label("colour", "red")),
        ("label late=yes (the last tenth)", all().label("late", "yes")),
        ("second half by time", all().since(Time::from_unix_ms(half))),
        ("field width=77 (1 of 2 000)", images().matching(["width=77"])),
        ("field width>=1000 (half)", images().matching(["width>=1000"])),
        ("field width>=1998 (1 of 1 000)", images().matching(["width>=1998"])),
        ("field 500<=width<520 (1 of 100)", images().matching(["width>=500", "width<520"])),
        ("field name=asset-77 (1 of 5 000)", images().matching(["name=asset-77"])),
        ("field name>=asset-9 (1 of 10)", images().matching(["name>=asset-9"])),
        ("field n of the last 1 of 200", images().matching([format!("n>={}", number(0.995))])),
        ("field n of the last 1 of 10", images().matching([format!("n>={}", number(0.9))])),
        ("state error and topic media/image", images().state(State::Error)),
        ("state scheduled and label tenant=7", all().state(State::Scheduled).label("tenant", "7")),
        ("queue slow and label colour=red", all().queue("slow").label("colour", "red")),
        (
            "history, label colour=red, second half",
            all().history().label("colour", "red").since(Time::from_unix_ms(half)),
        ),
        (
            "state queued, width>=1000, label colour=red",
            images().state(State::Queued).matching(["width>=1000"]).label("colour", "red"),
        ),
        (
            "width=77, or width>=1998 and name>=asset-5",
            images().matching(["width=77"]).matching(["width>=1998", "name>=asset-5"]),
        ),
        ("history and label late=yes", all().history().label("late", "yes")),
        ("state queued and label late=yes", all().state(State::Queued).label("late", "yes")),
        ("nothing fits: width>=1000 and label tenant=none", images().matching(["width>=1000"]).label("tenant", "none")),
    ]
}

/// Accepts the jobs, ends some of them, and answers when half of them were there.
async fn fill(link: &Link, jobs: usize) -> u64 {
    let mut half = 0;
    for round in (0..jobs).step_by(PART * AT_ONCE) {
        let parts = (0..AT_ONCE).map(|part| round + part * PART).filter(|from| *from < jobs);
        let filling = parts.map(|from| fill_part(link, from, PART.min(jobs - from), jobs));
        futures_util::future::join_all(filling).await;
        if half == 0 && round * 2 >= jobs {
            half = link.store.ping().await.unwrap();
        }
    }
    half
}

async fn fill_part(link: &Link, from: usize, count: usize, all: usize) {
    let made: Vec<NewJob> = (from..from + count).map(|n| job(link, n, all)).collect();
    let ids: Vec<JobId> = made.iter().map(|job| job.admission.id).collect();
    link.store.enqueue(made).await.unwrap();
    // Of ten, two succeed; of five hundred, one is an error.
    let ended = |n: usize| n % 10 < 2 || n % 500 == 5;
    let (numbers, ended): (Vec<usize>, Vec<JobId>) = (from..).zip(ids).filter(|(n, _)| ended(*n)).unzip();
    let owner = Owner { instance: InstanceId("fill".into()), incarnation: Incarnation::new(1, [7; 16]) };
    let claim =
        |id: &JobId| Claim { id: *id, nonce: "n".into(), generation: Generation(0), floor: Fence(0), alone: true };
    let claims = ended.iter().map(claim).collect();
    let claimed = link.store.claim(&owner, HOUR_MS, claims).await.unwrap();
    let finishes = numbers.iter().zip(&ended).zip(claimed).map(|((n, id), claimed)| {
        let Claimed::Known(Answer::Run { fence, .. }) = claimed else { panic!("{claimed:?}") };
        let verdict = match n % 500 {
            5 => Verdict::Fatal { reason: Reason::Permanent, error: "no use".into() },
            _ => Verdict::Succeeded { message: None },
        };
        let (report, outputs, follow_ups) = (Report::default(), Vec::new(), Vec::new());
        Finish { id: *id, fence, verdict, result: None, outputs, report, follow_ups }
    });
    link.store.finish(finishes.collect()).await.unwrap();
}

/// The nth job: most are images, with three indexed fields.
fn job(link: &Link, n: usize, all: usize) -> NewJob {
    let (topic, payload, indexed) = match n % 1_000 {
        1 => ("media/rare".to_owned(), "{}".to_owned(), Vec::new()),
        k if k % 50 == 2 => (format!("rare/{}", k / 50), "{}".to_owned(), Vec::new()),
        _ => {
            let payload = format!(r#"{{"width":{},"name":"asset-{}","n":{n}}}"#, n * 7 % 2_000, n * 11 % 5_000);
            ("media/image".to_owned(), payload, ["width", "name", "n"].map(str::to_owned).to_vec())
        }
    };
    let colour = if n.is_multiple_of(2) { "red" } else { "blue" };
    let mut labels = vec![("tenant", (n * 13 % 1_000).to_string()), ("colour", colour.to_owned())];
    if n >= all / 10 * 9 {
        labels.push(("late", "yes".to_owned()));
    }
    let envelope = Envelope {
        queue: Some(if n % 20 == 3 { "slow" } else { "main" }.to_owned()),
        labels: labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        indexed,
        ..Envelope::new(link.world.job_id(None), Topic::new(topic).unwrap(), RawValue::from_string(payload).unwrap())
    };
    let mut admission = envelope.admission(&Queues::default());
    if n % 10 == 9 {
        admission.start = Start::After(24 * HOUR_MS);
    }
    let (bytes, fields) = (Bytes::from(envelope.encode().unwrap()), envelope.fields());
    NewJob { admission, envelope: bytes, labels: envelope.labels, fields, again: false, retry_of: None }
}
