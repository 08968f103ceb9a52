//! Placement in a simulated run: some jobs are to run near their sender, on the leader, where a label is, or on an
//! instance that never is.
//!
//! Whatever dies meanwhile: each of them ends as any other job does, so those of a site that is gone run elsewhere
//! and those of a label wait until somebody with it is back; and none that needs a label runs on a process without
//! it.

use longshore_consumer::Settings;
use longshore_model::placement::{Origin, Site};
use longshore_producer::JobBuilder;

/// The sender's cluster, of which the first process is.
const NEAR: &str = "near";
/// Processes with the label that jobs need are those before this one.
const LABELLED: usize = 2;
/// Sites whose lanes the nemesis knows.
const KNOWN: [&str; 3] = ["cluster:near", "leader", "label:zone=a"];

/// Who sends.
pub fn origin() -> Origin {
    Origin { cluster: Some(NEAR.into()), instance: None }
}

/// What the process of this number is.
pub fn settle(number: usize, settings: &mut Settings) {
    settings.instance.cluster = Some(if number == 0 { NEAR } else { "far" }.into());
    let zone = if number < LABELLED { "a" } else { "b" };
    settings.instance.labels.insert("zone".into(), zone.into());
}

/// What the job of this number asks.
const fn asked(number: usize) -> Option<&'static str> {
    match number % 8 {
        1 => Some("local_first"),
        3 => Some("label:zone=a"),
        5 => Some("leader"),
        6 => Some("prefer_label:zone=b"),
        7 => Some("target:nobody"),
        _ => None,
    }
}

/// Lets the job of this number ask.
pub fn ask(job: JobBuilder, number: usize) -> JobBuilder {
    match asked(number).and_then(|text| text.parse().ok()) {
        Some(placement) => job.placement(placement),
        None => job,
    }
}

/// What is wrong where the job of this number runs on the process of that number.
pub fn stray(job: usize, process: usize) -> Option<String> {
    let needs = asked(job).is_some_and(|placement| placement.starts_with("label:"));
    (needs && process >= LABELLED)
        .then(|| format!("job number {job} ran on process {process}, which has no such label"))
}

/// The site of one of the lanes that the nemesis knows; `None`: that of no site.
pub fn drawn(number: u64) -> Option<Site> {
    let place = usize::try_from(number).ok()?.checked_sub(1)?;
    KNOWN.get(place)?.parse().ok()
}

/// How many [`drawn`] knows.
pub const DRAWN: u64 = KNOWN.len() as u64 + 1;

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_producer::Placement;

    #[test]
    fn every_question_is_one_and_a_stray_is_seen() {
        let asked: Vec<Placement> = (0..8).filter_map(asked).map(|text| text.parse().unwrap()).collect();
        assert_eq!(asked.len(), 5);
        assert_eq!((1..DRAWN).filter(|number| drawn(*number).is_some()).count(), KNOWN.len());
        assert_eq!(drawn(0), None);
        assert!(stray(3, 2).unwrap().contains("no such label"));
        assert_eq!((stray(3, 1), stray(4, 2), stray(6, 0)), (None, None, None));
    }
}
