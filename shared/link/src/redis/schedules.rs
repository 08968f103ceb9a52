//! Schedules: what is asked of their scripts, and what they answer.
//!
//! The scripts compare revisions and keep what they are given as text. One whose text cannot be read is
//! reported, and kept out of the way of others.

use super::args;
use super::connection::Repeat;
use super::reply::{self, Items};
use super::server::Server;
use crate::error::{Fault, Service};
use crate::schedules::{Changed, DueSchedules, Expect, Kept, ScheduleChange, Schedules};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::schedule::Schedule;
use redis::Cmd;

/// Schedules that are exchanged in one call.
const AT_ONCE: usize = limits::BATCH;

/// A schedule as it was read, or its name and what is wrong with it.
type Read = Result<Kept, (String, String)>;

/// Reads one.
pub(super) async fn named(server: &Server, name: &str) -> Result<Schedules, Fault> {
    let script = &server.scripts.schedules;
    let mut cmd = server.call(script);
    cmd.arg("named").arg(name);
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    let (now, found) = (answer.number()?, answer.items()?.each(read)?);
    let kept = found.into_iter().map(|read| {
        read.map_err(|(name, why)| {
            let remedy = "remove it and define it anew";
            Fault::refused(Service::Store, format!("schedule `{name}` is damaged: {why}; {remedy}"))
        })
    });
    Ok(Schedules { now, kept: kept.collect::<Result<_, _>>()?, next: None })
}

/// Reads a page of all.
pub(super) async fn page(server: &Server, after: Option<&str>, limit: usize) -> Result<Schedules, Fault> {
    let script = &server.scripts.schedules;
    let mut cmd = server.call(script);
    let from = after.map_or_else(|| "-".to_owned(), |name| format!("({name}"));
    cmd.arg("page").arg(from).arg(limit.min(limits::BATCH)).arg(limits::BATCH_BYTES);
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    let (now, found) = (answer.number()?, answer.items()?.each(read)?);
    let last = found.last().map(|read| match read {
        Ok(kept) => kept.schedule.spec.name.clone(),
        Err((name, _)) => name.clone(),
    });
    let more = answer.flag()?;
    Ok(Schedules { now, kept: whole(found).0, next: last.filter(|_| more) })
}

/// Reads those whose time has come.
pub(super) async fn due(server: &Server, limit: usize) -> Result<DueSchedules, Fault> {
    let script = &server.scripts.due_schedules;
    let mut cmd = server.call(script);
    cmd.arg(limit.min(limits::BATCH)).arg(limits::BATCH_BYTES);
    let mut answer = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    let now = answer.number()?;
    let (kept, damaged) = whole(answer.items()?.each(read)?);
    if !damaged.is_empty() {
        let mut cmd = server.call(&server.scripts.change_schedules);
        cmd.arg(damaged.len());
        for name in &damaged {
            terms(&mut cmd, name, Expect::Anything, None);
            cmd.arg("shelve").arg(-1).arg("").arg("").arg(0);
        }
        server.run(&server.scripts.change_schedules, &cmd, Repeat::Safe).await?;
    }
    Ok(DueSchedules { now, kept, next: u64::try_from(answer.signed()?).ok(), more: answer.flag()? })
}

/// Exchanges schedules, in bounded calls.
pub(super) async fn change(server: &Server, changes: &[ScheduleChange]) -> Result<Vec<Changed>, Fault> {
    let script = &server.scripts.change_schedules;
    let mut answers = Vec::with_capacity(changes.len());
    let (mut from, mut at, mut bytes) = (0, 0, 0);
    while from < changes.len() {
        let mut items: Vec<(&ScheduleChange, String)> = Vec::new();
        while let Some(change) = changes.get(at).filter(|_| at - from < AT_ONCE) {
            let definition = change.next.as_ref().map(args::json).transpose()?.unwrap_or_default();
            let size = definition.len() + change.jobs.iter().map(args::job_size).sum::<usize>() + 512;
            if !items.is_empty() && bytes + size > limits::BATCH_BYTES {
                break;
            }
            bytes += size;
            items.push((change, definition));
            at += 1;
        }
        let mut cmd = server.call(script);
        cmd.arg(items.len());
        for (change, definition) in &items {
            item(&mut cmd, change, definition);
        }
        // Repeated by itself it would only say that something differs: by now it does.
        let found = Items::of(server.run(script, &cmd, Repeat::Never).await?)?;
        let mut asked = items.iter();
        let found = found.each(|items| {
            let jobs = asked.next().map_or(&[][..], |(change, _)| change.jobs.as_slice());
            changed(items, &reply::ids(jobs))
        })?;
        if found.len() != items.len() {
            return Err(reply::unexpected("another number of answers"));
        }
        answers.extend(found);
        (from, bytes) = (at, 0);
    }
    Ok(answers)
}

fn item(cmd: &mut Cmd, change: &ScheduleChange, definition: &str) {
    terms(cmd, &change.name, change.expect, change.open);
    match &change.next {
        Some(next) => {
            cmd.arg("put").arg(next.due.map_or(-1, |due| i64::try_from(due).unwrap_or(i64::MAX))).arg(definition);
            cmd.arg(next.last().map(|job| job.to_string()).unwrap_or_default());
        }
        None => drop(cmd.arg("remove").arg(-1).arg("").arg("")),
    }
    cmd.arg(change.jobs.len());
    for job in &change.jobs {
        args::job(cmd, job);
    }
}

fn terms(cmd: &mut Cmd, name: &str, expect: Expect, open: Option<(JobId, bool)>) {
    let revision = match expect {
        Expect::Absent => 0,
        Expect::Revision(revision) => i64::try_from(revision).unwrap_or(i64::MAX),
        Expect::Anything => -1,
    };
    cmd.arg(name).arg(revision);
    match open {
        Some((job, open)) => cmd.arg(job.to_string()).arg(if open { "open" } else { "ended" }),
        None => cmd.arg("").arg("any"),
    };
}

fn read(mut items: Items) -> Result<Read, Fault> {
    let kind = items.text()?;
    let name = items.text()?;
    if kind != "ok" {
        return Ok(Err((name, items.text()?)));
    }
    let revision = items.number()?;
    let (text, open) = (items.bytes()?, items.flag()?);
    Ok(match serde_json::from_slice::<Schedule>(&text) {
        Ok(schedule) if schedule.spec.name == name => Ok(Kept { schedule, revision, open }),
        Ok(_) => Err((name, "its definition has another name".into())),
        Err(error) => Err((name, limits::cut(&error.to_string(), 300))),
    })
}

/// Those that can be read, and the names of the others, which are reported.
fn whole(found: Vec<Read>) -> (Vec<Kept>, Vec<String>) {
    let (mut kept, mut damaged) = (Vec::new(), Vec::new());
    for read in found {
        match read {
            Ok(one) => kept.push(one),
            Err((schedule, why)) => {
                tracing::error!(schedule, why, "the store holds a damaged schedule");
                damaged.push(schedule);
            }
        }
    }
    (kept, damaged)
}

fn changed(mut items: Items, jobs: &[JobId]) -> Result<Changed, Fault> {
    Ok(match items.text()?.as_str() {
        "done" => {
            let mut ids = jobs.iter();
            let answers = items.items()?.each(|items| {
                let id = ids.next().ok_or_else(|| reply::unexpected("another number of answers"))?;
                reply::admitted(items, *id)
            })?;
            Changed::Done(answers)
        }
        "differs" => Changed::Differs,
        "full" => Changed::Full,
        "refused" => {
            let id = items.parsed()?;
            match reply::admitted(items.items()?, id)? {
                Err(refused) => Changed::Refused(refused),
                Ok(_) => return Err(reply::unexpected("a refusal that is none")),
            }
        }
        other => return Err(reply::unexpected(other)),
    })
}
