//! The statistics of the whole fleet as Prometheus text: the same on every instance that has read them.

use longshore_model::statistics::{Overview, Percentiles, Summary};
use std::fmt::Write as _;

/// Most queues that are shown, by name; a scrape must stay small.
const QUEUES: usize = 256;

/// What is shown of everything and of each queue: name, meaning, value.
type Gauge = (&'static str, &'static str, fn(&Summary) -> u64);

/// The eight numbers of M02.
const GAUGES: [Gauge; 8] = [
    ("finished", "Jobs that succeeded since the statistics were reset.", |summary| summary.finished),
    ("failed", "Attempts that failed and were followed by another one.", |summary| summary.failed),
    ("cancelled", "Jobs that ended as error, given_up or stopped.", |summary| summary.cancelled),
    ("processed", "Finished, failed and cancelled together.", |summary| summary.processed),
    ("queued", "Jobs that wait and whose topic a live instance takes.", |summary| summary.queued),
    ("active", "Jobs that run.", |summary| summary.active),
    ("average_waiting_milliseconds", "Mean time in the lane before an attempt.", |summary| summary.average_waiting),
    ("average_processing_milliseconds", "Mean time of successful attempts.", |summary| summary.average_processing),
];

/// The numbers beside these.
const MORE: [Gauge; 2] = [
    ("unassigned", "Jobs that wait and whose topic no live instance takes.", |summary| summary.unassigned),
    ("oldest_waiting_milliseconds", "Age of the job that has been queued or blocked for longest.", |summary| {
        summary.oldest_waiting_age
    }),
];

/// A time with its percentiles.
type Timed = (&'static str, &'static str, fn(&Summary) -> Percentiles);

const TIMES: [Timed; 2] = [
    ("waiting_milliseconds", "Time in the lane before an attempt; within an eighth.", |summary| summary.waiting),
    ("processing_milliseconds", "Time of successful attempts; within an eighth.", |summary| summary.processing),
];

pub(super) fn render(text: &mut String, overview: &Overview) {
    let queues = || overview.queues.iter().take(QUEUES);
    for (name, help, value) in GAUGES.iter().chain(&MORE) {
        let all = format!("longshore_jobs_{name}");
        let _ = write!(text, "# HELP {all} {help}\n# TYPE {all} gauge\n{all} {}\n", value(&overview.all));
        if overview.queues.is_empty() {
            continue;
        }
        let each = format!("longshore_queue_jobs_{name}");
        let _ = write!(text, "# HELP {each} {help}\n# TYPE {each} gauge\n");
        for (queue, summary) in queues() {
            let _ = writeln!(text, "{each}{{queue=\"{}\"}} {}", escaped(queue), value(summary));
        }
    }
    for (name, help, value) in TIMES {
        let name = format!("longshore_queue_jobs_{name}");
        let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n");
        for (queue, summary) in queues() {
            let Percentiles { p50, p90, p99 } = value(summary);
            for (quantile, ms) in [("0.5", p50), ("0.9", p90), ("0.99", p99)] {
                let _ = writeln!(text, "{name}{{queue=\"{}\",quantile=\"{quantile}\"}} {ms}", escaped(queue));
            }
        }
    }
    let name = "longshore_schedules";
    let _ = write!(text, "# HELP {name} Schedules.\n# TYPE {name} gauge\n{name} {}\n", overview.schedules);
}

/// The value of a label, which ends at a quotation mark and a line.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m02_st_07_one_queue_has_sixteen_numbers_and_names_are_escaped() {
        let mut overview = Overview::default();
        overview.all.finished = 3;
        overview.queues.insert("a \"b\"\\c".into(), Summary { queued: 2, ..Summary::default() });
        let mut text = String::new();
        render(&mut text, &overview);
        let of_m02 = GAUGES.map(|(name, ..)| format!("_jobs_{name}"));
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let shown =
            series.filter(|line| of_m02.iter().any(|name| line.split(['{', ' ']).next().unwrap().ends_with(name)));
        assert_eq!(shown.count(), 16, "{text}");
        assert!(text.contains("\nlongshore_jobs_finished 3\n"), "{text}");
        assert!(text.contains("\nlongshore_queue_jobs_queued{queue=\"a \\\"b\\\"\\\\c\"} 2\n"), "{text}");
    }
}
