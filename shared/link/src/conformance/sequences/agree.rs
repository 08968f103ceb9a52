//! Whether what a store says lies between what the model says for the begin and for the end of a step.

use longshore_model::record::Record;
use longshore_model::transition::Answer;

/// Compares a record with the model's two, which differ in times and fences only.
pub(super) fn records(early: &Record, late: &Record, actual: &Record) -> Result<(), String> {
    type Time = fn(&Record) -> Option<u64>;
    let times: [(&str, Time); 12] = [
        ("created", |record| Some(record.created)),
        ("since", |record| Some(record.since)),
        ("due", |record| record.due),
        ("started", |record| record.started),
        ("finished", |record| record.finished),
        ("lease", |record| record.lease),
        ("expires", |record| record.expires),
        ("outbox", |record| record.outbox),
        ("published", |record| record.published),
        ("retry_until", |record| record.retry_until),
        ("fence", |record| Some(record.fence.0)),
        ("generation", |record| Some(record.generation.0)),
    ];
    for (name, time) in times {
        between(name, time(early), time(late), time(actual))?;
    }
    let timeless = |record: &Record| Record {
        created: 0,
        since: 0,
        due: None,
        started: None,
        finished: None,
        lease: None,
        expires: None,
        outbox: None,
        published: None,
        retry_until: None,
        fence: early.fence,
        ..record.clone()
    };
    let (expected, found) = (timeless(early), timeless(actual));
    if expected != found {
        return Err(format!("the record is {found:?}, expected {expected:?}"));
    }
    Ok(())
}

/// Compares an answer with the model's two.
pub(super) fn answers(early: &Answer, late: &Answer, actual: &Answer) -> Result<(), String> {
    let same = match (early, late, actual) {
        (
            Answer::Run { fence: from, attempt, failures, kinds, crashes, last },
            Answer::Run { fence: to, .. },
            Answer::Run { fence, attempt: a, failures: f, kinds: k, crashes: c, last: l },
        ) => (from..=to).contains(&fence) && (attempt, failures, kinds, crashes, last) == (a, f, k, c, l),
        (
            Answer::Busy { lease_left_ms: most },
            Answer::Busy { lease_left_ms: least },
            Answer::Busy { lease_left_ms: left },
        ) => (least..=most).contains(&left),
        (
            Answer::Waiting { state, left_ms: Some(most) },
            Answer::Waiting { left_ms: Some(least), .. },
            Answer::Waiting { state: found, left_ms: Some(left) },
        ) => state == found && (least..=most).contains(&left),
        _ => early == actual,
    };
    if same { Ok(()) } else { Err(format!("the answer is {actual:?}, expected {early:?} to {late:?}")) }
}

fn between(name: &str, early: Option<u64>, late: Option<u64>, actual: Option<u64>) -> Result<(), String> {
    let same = match (early, late, actual) {
        (Some(early), Some(late), Some(actual)) => (early..=late).contains(&actual),
        (None, None, None) => true,
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("`{name}` is {actual:?}, expected {early:?} to {late:?}")) }
}
