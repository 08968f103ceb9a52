//! What Rust tells the scripts: jobs, verdicts and reports as flat arguments, in the order in which they read them.

use super::batches::ClaimItem;
use crate::error::{Fault, Service};
use crate::store::{Bound, Claim, Complete, Finish, NewJob, Report, Restore, Retention};
use longshore_model::id::Owner;
use longshore_model::indexed;
use longshore_model::limits;
use longshore_model::record::{Expiry, Start, State};
use longshore_model::transition::{FailureTerms, Verdict};
use redis::Cmd;
use serde_json::{Value, json};
use std::sync::Arc;

/// A text that may be absent, and may be empty: `+` and the text, or nothing.
fn optional(text: Option<&str>) -> String {
    text.map(|text| format!("+{text}")).unwrap_or_default()
}

/// Bytes that a job takes in a call.
pub(super) fn job_size(job: &NewJob) -> usize {
    job.envelope.len() + 512
}

/// Bytes that the end of an attempt takes in a call.
pub(super) fn finish_size(finish: &Finish) -> usize {
    let outputs: usize = finish.outputs.iter().map(|file| 256 + file.inline.as_ref().map_or(0, String::len)).sum();
    let follow_ups: usize = finish.follow_ups.iter().map(job_size).sum();
    finish.result.as_ref().map_or(0, String::len) + outputs + report_size(&finish.report) + follow_ups + 512
}

/// Bytes that a report takes in a call.
pub(super) fn report_size(report: &Report) -> usize {
    let properties: usize = report.properties.iter().map(|(name, value)| name.len() + value.len()).sum();
    let log: usize = report.log.iter().map(|(_, text)| text.len() + 64).sum();
    properties + log + 256
}

/// Whether a job asks for a unique key that nobody gave it before.
pub(super) fn asks_for_key(job: &NewJob) -> bool {
    job.admission.unique.is_some() && !job.again
}

/// As [`job`], of one that somebody sends.
pub(super) fn new_job(cmd: &mut Cmd, job: &NewJob) {
    job_with(cmd, job, if asks_for_key(job) { "?" } else { "" });
}

/// `read_job` of admit.lua.
pub(super) fn job(cmd: &mut Cmd, job: &NewJob) {
    job_with(cmd, job, "");
}

fn job_with(cmd: &mut Cmd, job: &NewJob, mark: &str) {
    let admission = &job.admission;
    let (start, start_ms) = match admission.start {
        Start::Now => ("now", 0),
        Start::After(ms) => ("after", ms),
        Start::At(ms) => ("at", ms),
        Start::Never => ("never", 0),
    };
    let (expiry, expiry_ms) = match admission.expires {
        None => ("none", 0),
        Some(Expiry::After(ms)) => ("after", ms),
        Some(Expiry::At(ms)) => ("at", ms),
    };
    cmd.arg(admission.id.to_string()).arg(admission.topic.as_str()).arg(&admission.queue);
    cmd.arg(start).arg(start_ms).arg(admission.max_retries).arg(admission.max_crashes).arg(expiry).arg(expiry_ms);
    cmd.arg(job.retry_of.map(|id| id.to_string()).unwrap_or_default());
    cmd.arg(job.labels.len() + job.fields.len());
    for (name, value) in &job.labels {
        cmd.arg(label(name, value));
    }
    for (path, value) in &job.fields {
        cmd.arg(indexed::term(path, value.as_ref()));
    }
    cmd.arg(admission.gates.lines()).arg(&admission.gates.turn).arg(admission.gates.priority.rank());
    cmd.arg(admission.site.as_ref().map(ToString::to_string).unwrap_or_default());
    cmd.arg(admission.unique.as_ref().map(|unique| format!("{mark}{}", unique.lines())).unwrap_or_default());
    cmd.arg(job.envelope.as_ref());
}

/// Bounded calls.
pub(super) fn parts(jobs: &[Restore]) -> Vec<&[Restore]> {
    let (mut parts, mut from, mut bytes) = (Vec::new(), 0, 0);
    for (at, restore) in jobs.iter().enumerate() {
        let size = job_size(&restore.job);
        if at > from && (at - from >= limits::BATCH || bytes + size > limits::BATCH_BYTES) {
            parts.push(&jobs[from..at]);
            (from, bytes) = (at, 0);
        }
        bytes += size;
    }
    if from < jobs.len() {
        parts.push(&jobs[from..]);
    }
    parts
}

/// One item of restore.lua.
pub(super) fn restore(cmd: &mut Cmd, restore: &Restore) {
    cmd.arg(restore.enqueued).arg(restore.copy.map_or(0, |copy| copy.0.max(1))).arg(restore.fence.0);
    job(cmd, &restore.job);
}

/// A label as its index spells it.
pub(super) fn label(name: &str, value: &str) -> String {
    format!("{name}={value}")
}

/// The claims of claim.lua. Those of one process have one owner, which is told once, and again where it offers to run a
/// job alone.
pub(super) fn claims(cmd: &mut Cmd, claims: &[ClaimItem]) {
    let mut owners: Vec<(&Arc<Owner>, bool)> = Vec::new();
    for ClaimItem { owner, claim, .. } in claims {
        if !owners.contains(&(owner, claim.alone)) {
            owners.push((owner, claim.alone));
        }
    }
    cmd.arg(owners.len());
    for (owner, alone) in &owners {
        self::owner(cmd, owner);
        cmd.arg(u8::from(*alone));
    }
    cmd.arg(claims.len());
    for ClaimItem { owner, lease_ms, claim } in claims {
        cmd.arg(claim.id.to_string());
        claim_terms(cmd, claim, *lease_ms);
        // In Lua positions begin at 1.
        cmd.arg(owners.iter().take_while(|other| **other != (owner, claim.alone)).count() + 1);
    }
}

/// A claim without its job and its owner.
pub(super) fn claim_terms(cmd: &mut Cmd, claim: &Claim, lease_ms: u64) {
    cmd.arg(&claim.nonce).arg(claim.generation.0).arg(claim.floor.0).arg(lease_ms);
}

/// Who claims.
pub(super) fn owner(cmd: &mut Cmd, owner: &Owner) {
    cmd.arg(&owner.instance.0).arg(&owner.incarnation.0);
}

/// The bounds of purge.lua: general ones, then those of queues.
pub(super) fn retention(cmd: &mut Cmd, retention: &Retention) {
    let bounds = |cmd: &mut Cmd, of: &dyn Fn(State) -> Bound| {
        for bound in [State::Succeeded, State::Error, State::GivenUp, State::Stopped, State::Dropped].map(of) {
            cmd.arg(bound.age_ms);
            match bound.count {
                Some(count) => cmd.arg(count),
                None => cmd.arg(-1),
            };
        }
    };
    bounds(cmd, &|state| retention.general(state));
    cmd.arg(retention.queues.len());
    for (queue, keep) in &retention.queues {
        cmd.arg(queue);
        bounds(cmd, &|state| retention.bound(keep, state));
    }
}

/// A verdict: its name, delay, reason and message.
fn verdict(verdict: &Verdict) -> (&'static str, u64, &'static str, Option<&str>) {
    match verdict {
        Verdict::Succeeded { message } => ("succeeded", 0, "", message.as_deref()),
        Verdict::Failed { delay_ms, error, .. } => ("failed", *delay_ms, "", Some(error.as_str())),
        Verdict::Fatal { reason, error } => ("fatal", 0, reason.as_str(), Some(error.as_str())),
        Verdict::Released { delay_ms, reason, message } => {
            ("released", *delay_ms, reason.as_str(), Some(message.as_str()))
        }
    }
}

/// `read_terms` of verdict.lua.
fn terms(verdict: &Verdict) -> String {
    let Verdict::Failed { terms, .. } = verdict else { return String::new() };
    if *terms == FailureTerms::default() {
        return String::new();
    }
    let FailureTerms { kind, retries, retry_for_ms } = terms;
    let text = |number: Option<i64>| number.map(|number| number.to_string()).unwrap_or_default();
    let retry_for = retry_for_ms.and_then(|ms| i64::try_from(ms).ok());
    format!("{}\n{}\n{}", kind.as_deref().unwrap_or_default(), text(retries.map(i64::from)), text(retry_for))
}

/// The arguments of complete.lua.
pub(super) fn complete(cmd: &mut Cmd, complete: &Complete) {
    let Complete { token, mark, verdict, result } = complete;
    let terms = terms(verdict);
    let (verdict, delay_ms, reason, message) = self::verdict(verdict);
    cmd.arg(token.id.to_string()).arg(token.fence.0).arg(&token.nonce).arg(mark).arg(verdict);
    cmd.arg(optional(message)).arg(optional(result.as_deref())).arg(delay_ms).arg(reason).arg(terms);
}

/// One item of finish.lua.
pub(super) fn finish(cmd: &mut Cmd, finish: &Finish) -> Result<(), Fault> {
    let (verdict, delay_ms, reason, message) = verdict(&finish.verdict);
    let outputs = if finish.outputs.is_empty() { String::new() } else { json(&finish.outputs)? };
    cmd.arg(finish.id.to_string()).arg(finish.fence.0).arg(verdict);
    cmd.arg(optional(message)).arg(optional(finish.result.as_deref()));
    if verdict == "succeeded" && finish.outputs.is_empty() && finish.report.is_empty() && finish.follow_ups.is_empty() {
        cmd.arg(0);
        return Ok(());
    }
    cmd.arg(1).arg(delay_ms).arg(reason).arg(terms(&finish.verdict)).arg(outputs);
    report(cmd, &finish.report)?;
    cmd.arg(finish.follow_ups.len());
    for follow_up in &finish.follow_ups {
        job(cmd, follow_up);
    }
    Ok(())
}

/// `read_report` of job.lua.
pub(super) fn report(cmd: &mut Cmd, report: &Report) -> Result<(), Fault> {
    let progress = report.progress.as_ref().map(json).transpose()?.unwrap_or_default();
    cmd.arg(progress).arg(report.properties.len() * 2);
    for (name, value) in &report.properties {
        cmd.arg(property(name)).arg(value);
    }
    cmd.arg(report.log.len());
    if !report.log.is_empty() {
        cmd.arg(report.keep.unwrap_or(limits::LOG_LINES).min(limits::LOG_LINES)).arg(report.dropped);
    }
    for (level, line) in &report.log {
        // The script puts the time in front, by its own clock.
        let line: Value = json!({ "level": level, "text": limits::cut(line, limits::LOG_LINE_BYTES) });
        cmd.arg(&line.to_string()[1..]);
    }
    Ok(())
}

/// The field under which a property is kept.
fn property(name: &str) -> String {
    format!("{PROPERTY}{name}")
}

/// What the fields of properties begin with.
pub(super) const PROPERTY: &str = "v:";

/// A value as JSON.
pub(super) fn json(value: &impl serde::Serialize) -> Result<String, Fault> {
    // None of these types can fail; if one ever does, nothing has been sent.
    serde_json::to_string(value).map_err(|error| Fault::refused(Service::Store, error.to_string()))
}
