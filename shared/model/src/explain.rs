//! Why a job waits: every wait has a reason that can be asked for, with the remedy where a person can do something.
//!
//! Pure: it looks at the job's record, at who is live, and at how many jobs are ahead. It explains
//! what these say at one moment; it neither waits nor repairs.

use crate::gate::GateKind;
use crate::limits;
use crate::placement::Site;
use crate::record::{Reason, Record, State};
use crate::snapshot::Waiting;
use crate::span::{rfc3339, show};
use crate::topology::matrix::Stand;
use crate::topology::{Card, View};
use std::time::Duration;

/// How long after the relay may publish a job the broker is suspected, ms.
const PUBLISH_SUSPECT_MS: u64 = 4 * limits::OUTBOX_GRACE_MS;

/// What is known of the gate that a blocked job waits at.
#[derive(Debug, Clone)]
pub enum AtGate {
    /// The job that has the order now.
    Head(Box<Record>),
    /// Who paused it.
    Pause {
        /// Who.
        by: String,
        /// Why.
        why: String,
        /// Until when, ms; `None`: until somebody ends it.
        until: Option<u64>,
    },
}

/// Where the head of an order is, and until when it holds up those behind it.
#[must_use]
pub fn head(record: &Record, now: u64) -> String {
    let Record { id, state, .. } = record;
    let when = match (record.due, record.state) {
        (Some(due), State::Scheduled | State::Retrying) => {
            format!(" until {} (for {})", rfc3339(due), show(Duration::from_millis(due.saturating_sub(now))))
        }
        _ => String::new(),
    };
    let why = record.reason.map(|reason| format!(", {reason}")).unwrap_or_default();
    format!("job {id} is {state}{why}{when}")
}

/// Why a job that was read at `now` (ms since 1970, the store's clock) does not run; `None` when it runs or has ended.
/// `ahead` is how many jobs are before it in the lanes of its topic, where that is known.
#[must_use]
pub fn explain(
    record: &Record,
    payload_version: u32,
    view: &View,
    ahead: Option<u64>,
    gate: Option<&AtGate>,
    now: u64,
) -> Option<Waiting> {
    let (reason, detail) = match record.state {
        State::Scheduled | State::Retrying => waits_for_time(record, view, now),
        State::Blocked => {
            let (reason, detail) = blocked(record);
            (reason, detail + &at_gate(gate, now))
        }
        State::Queued => queued(record, payload_version, view, ahead, now),
        State::Active | State::Succeeded | State::Error | State::GivenUp | State::Stopped | State::Dropped => {
            return None;
        }
    };
    Some(Waiting { reason: reason.to_owned(), detail, since: rfc3339(record.since) })
}

/// Which gate holds it, and what opens it.
fn blocked(record: &Record) -> (&'static str, String) {
    let Some(gate) = record.waits_at.as_ref().map(|at| &at.gate) else {
        return ("limit", "a gate holds it, and it is not known which".to_owned());
    };
    match (gate.kind(), gate.of(), gate.key()) {
        (GateKind::Order, queue, "") => (
            "order",
            format!("queue {queue} runs one job at a time, in order; it goes on when those before it have ended"),
        ),
        (GateKind::Order, queue, key) => {
            let detail = format!(
                "jobs with the order key `{key}` in queue {queue} run one at a time; it goes on when those before it \
                 have ended"
            );
            ("order", detail)
        }
        (GateKind::Limit, limit, key) => {
            let share = if key.is_empty() { String::new() } else { format!(" for `{key}`") };
            let detail = format!(
                "limit {limit}{share} lets no more through now; it goes on when jobs before it leave it, or the limit is \
                 raised: `longshore limit list`"
            );
            ("limit", detail)
        }
        (GateKind::Pause, "all", _) => (
            "paused",
            "everything is paused; `longshore queue pauses` shows by whom and why, `longshore queue resume all` ends it"
                .to_owned(),
        ),
        (GateKind::Pause, what, name) => {
            let detail = format!(
                "{what} {name} is paused; `longshore queue pauses` shows by whom and why, `longshore queue resume` ends it"
            );
            ("paused", detail)
        }
    }
}

fn at_gate(gate: Option<&AtGate>, now: u64) -> String {
    match gate {
        None => String::new(),
        Some(AtGate::Head(record)) => format!("; {}", head(record, now)),
        Some(AtGate::Pause { by, why, until }) => {
            let until = until.map(|until| format!(", until {}", rfc3339(until))).unwrap_or_default();
            format!("; paused by {by}{until}: {why}")
        }
    }
}

fn waits_for_time(record: &Record, view: &View, now: u64) -> (&'static str, String) {
    let due = record.due.unwrap_or(now);
    let when = if due > now {
        format!("{} (in {})", rfc3339(due), show(Duration::from_millis(due - now)))
    } else if view.instances.is_empty() {
        format!("{}, which has passed: no live instance is there to release it; start a consumer", rfc3339(due))
    } else {
        format!("{}, which has passed: it is being released", rfc3339(due))
    };
    if record.state == State::Retrying {
        let of = match record.max_retries {
            -1 => "without limit".to_owned(),
            retries => format!("of {retries}"),
        };
        let error = record.message.as_deref().map(|error| format!("; last error: {error}")).unwrap_or_default();
        return ("retry", format!("the last attempt failed; retry {} {of} at {when}{error}", record.failures));
    }
    if record.reason == Some(Reason::Files) {
        let why = record.message.as_deref().unwrap_or("the place of payload files is away");
        return ("files", format!("{why}; it is tried again at {when}, and spends no retry"));
    }
    let who = match record.reason {
        Some(Reason::Snoozed) => "its handler asked to be called again",
        Some(Reason::Interrupted) => "its attempt was interrupted; it runs again",
        _ => "it was sent to run",
    };
    ("time", format!("{who} at {when}"))
}

fn queued(record: &Record, version: u32, view: &View, ahead: Option<u64>, now: u64) -> (&'static str, String) {
    let topic = &record.topic;
    let capable: Vec<&Card> = view.capable(topic).collect();
    if capable.is_empty() {
        return ("no_capable_instance", nobody(record, view));
    }
    let lane = record.lane();
    let capable: Vec<&Card> = capable.into_iter().filter(|card| view.is_for(&lane, card)).collect();
    if capable.is_empty() {
        return ("placement", nobody_there(record, view));
    }
    let readers: Vec<&Card> = capable.iter().copied().filter(|card| card.reads(topic, version)).collect();
    if readers.is_empty() {
        let newest = capable.iter().filter_map(|card| card.newest(topic)).max().unwrap_or_default();
        let detail = format!(
            "its payload has version {version}, and the {} {topic} up to version {newest}; start a consumer of the \
             newer version",
            some(capable.len(), "live instance reads", "live instances read"),
        );
        return ("payload_version", detail);
    }
    match record.outbox {
        Some(at) if at > now && record.crashes > 1 && record.reason == Some(Reason::Crashed) => {
            let wait = show(Duration::from_millis(at - now));
            let detail = format!("its process went away {} times; it goes back to its lane in {wait}", record.crashes);
            return ("retry", detail);
        }
        Some(at) if now > at + PUBLISH_SUSPECT_MS => {
            let detail = format!(
                "it has not reached the broker since {}: is the broker reachable? `longshore doctor` checks it",
                rfc3339(record.since)
            );
            return ("publish", detail);
        }
        _ => {}
    }
    if record.is_suspect() {
        let detail = format!(
            "its process went away {} times, so it runs alone: it waits for an instance that has nothing else to \
             run; {}{}",
            record.crashes,
            some(readers.len(), "live instance takes it", "live instances take it"),
            there(record, view),
        );
        return ("alone", detail);
    }
    ("slot", slots(&readers, ahead) + &there(record, view))
}

/// Where it is to run, and whether it does.
fn there(record: &Record, view: &View) -> String {
    let Some(site) = &record.site else { return String::new() };
    let who = site.describe();
    let mut names = view.at(site, &record.topic).map(|card| card.name.as_str());
    let Some(first) = names.next() else {
        return format!("; it is preferred by {who}, and none of these takes it now, so that every instance does");
    };
    let more = match names.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("; it is to run on {who}: {first}{more}")
}

/// Why no instance of the site takes it, where it runs nowhere else.
fn nobody_there(record: &Record, view: &View) -> String {
    let topic = &record.topic;
    let Some(site) = &record.site else { return format!("no live instance takes {topic}") };
    if *site == Site::Leader {
        let leader = view.instances.iter().find(|card| site.has(card, view));
        return match leader {
            Some(leader) => format!(
                "only the leader runs it, and that is {}, which does not take {topic}; let it take the topic, or let an \
                 instance lead that does: instance.leader_preference",
                leader.name
            ),
            None => {
                "only the leader runs it, and nobody leads now; an instance comes to within a few seconds".to_owned()
            }
        };
    }
    let who = site.describe();
    let of_site: Vec<&Card> = view.instances.iter().filter(|card| site.has(card, view)).collect();
    if of_site.is_empty() {
        return format!("only {who} run it, and none is live; start one, or send it without that placement");
    }
    format!(
        "only {who} run it, and the {} {topic}; `longshore topic list` shows why",
        some(of_site.len(), "live one of these does not take", "live ones of these do not take"),
    )
}

/// Why no instance takes the topic, as far as it can be seen: of those that have a handler for it the one that is
/// easiest to change.
fn nobody(record: &Record, view: &View) -> String {
    let topic = &record.topic;
    let ease = |stand: Stand| match stand {
        Stand::Drained => 0,
        Stand::Disabled => 1,
        Stand::Excluded => 2,
        Stand::Denied => 3,
        Stand::Stopping => 4,
        Stand::Outside => 5,
        Stand::NoHandler | Stand::Takes => 6,
    };
    let stands = view.instances.iter().map(|card| (card, card.stand(topic)));
    let Some((near, stand)) = stands.filter(|(_, stand)| ease(*stand) < 6).min_by_key(|(_, stand)| ease(*stand)) else {
        return format!("no live instance takes {topic}; start a consumer with a handler for it");
    };
    let id = &near.owner.instance;
    let by = if near.row.by.is_empty() { String::new() } else { format!(" by {}", near.row.by) };
    let why = match stand {
        Stand::Drained => format!("was drained{by}; `longshore instance resume {id}` lets it take jobs again"),
        Stand::Disabled => format!(
            "the topic matrix has it disabled there{by}; `longshore topic set {id} {topic} enabled` lets it take them"
        ),
        Stand::Excluded => format!(
            "another topic is exclusive there in the topic matrix{by}; `longshore topic set {id} {topic} enabled` lets it \
             take both"
        ),
        Stand::Stopping => "is shutting down; it runs when an instance takes its place".to_owned(),
        Stand::Outside => "does not belong to the fleet: give it the fleet's keys (trust.keys)".to_owned(),
        _ => "is not allowed to take it; see its settings instance.allow and instance.deny".to_owned(),
    };
    format!("no live instance takes {topic}: {} has a handler for it and {why}", near.name)
}

fn slots(readers: &[&Card], ahead: Option<u64>) -> String {
    let slots: u64 = readers.iter().map(|card| u64::from(card.slots)).sum();
    let running: u64 = readers.iter().map(|card| u64::from(card.running)).sum();
    let instances = some(readers.len(), "instance that takes it", "instances that take it");
    let ahead = match ahead {
        None | Some(0) => String::new(),
        Some(1) => "; 1 job is ahead of it".to_owned(),
        Some(count) => format!("; {count} jobs are ahead of it"),
    };
    if running >= slots {
        let busy = some(usize::try_from(slots).unwrap_or(usize::MAX), "slot is busy", "slots are busy");
        return format!(
            "{busy} in the {instances}, and no other is there{ahead}; to go faster, add an instance or raise \
             instance.concurrency"
        );
    }
    let free = slots - running;
    format!(
        "it will be taken soon: {free} of {slots} slots of the {instances} are free{ahead}; if it stays so, a limit of \
         its queue or handler holds it"
    )
}

/// `one instance …`, `2 instances …`.
fn some(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("one {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::{GateName, Gates, Pausable};
    use crate::id::{Incarnation, InstanceId, JobId, Owner};
    use crate::record::{Admission, Start, WaitsAt};
    use crate::topic::{Topic, TopicPattern};
    use crate::topology::Capability;
    use crate::topology::matrix::{Row, Rule};

    const NOW: u64 = 1_763_719_000_000;

    fn job(change: impl FnOnce(&mut Record)) -> Record {
        let admission = Admission {
            id: JobId::new(1, [1; 16], 0),
            topic: Topic::new("media/raw").unwrap(),
            queue: "main".into(),
            start: Start::Now,
            max_retries: 10,
            max_crashes: 3,
            expires: None,
            gates: Gates::default(),
            site: None,
            unique: None,
        };
        let mut record = Record::admit(&admission, NOW);
        record.outbox = None;
        change(&mut record);
        record
    }

    fn card(pattern: &str, change: impl FnOnce(&mut Card)) -> Card {
        let pattern = TopicPattern::new(pattern).unwrap();
        let owner = Owner { instance: InstanceId("i1".into()), incarnation: Incarnation("n1".into()) };
        let mut card = Card {
            name: "worker-1".into(),
            cluster: "c".into(),
            version: "0".into(),
            capabilities: vec![Capability { pattern, version: 2 }],
            slots: 4,
            ..Card::bare(owner)
        };
        change(&mut card);
        card
    }

    fn check(record: &Record, cards: Vec<Card>, now: u64, reason: &str, parts: &[&str]) {
        let view = View { instances: cards, ..View::default() };
        let waiting = explain(record, 2, &view, Some(7), None, now).unwrap();
        assert_eq!(waiting.reason, reason, "{}", waiting.detail);
        for part in parts {
            assert!(waiting.detail.contains(part), "`{part}` is not in: {}", waiting.detail);
        }
        assert_eq!(waiting.since, rfc3339(record.since));
    }

    #[test]
    fn jobs_that_run_or_have_ended_do_not_wait() {
        for state in State::ALL {
            let waits = explain(&job(|record| record.state = state), 1, &View::default(), None, None, NOW).is_some();
            assert_eq!(waits, !state.is_terminal() && state != State::Active, "{state}");
        }
    }

    #[test]
    fn a_scheduled_job_waits_for_its_time() {
        let scheduled = |reason| {
            job(|record| {
                record.state = State::Scheduled;
                record.reason = Some(reason);
                record.due = Some(NOW + 90_000);
            })
        };
        check(&scheduled(Reason::Delayed), vec![], NOW, "time", &["sent to run at 2025-11-21T09:58", "(in 1m30s)"]);
        check(&scheduled(Reason::Snoozed), vec![], NOW, "time", &["its handler asked"]);
        let waits = Record { message: Some("blob store not shared".into()), ..scheduled(Reason::Files) };
        check(&waits, vec![], NOW, "files", &["blob store not shared; it is tried again at 2025", "no retry"]);
        check(&scheduled(Reason::Delayed), vec![], NOW + 95_000, "time", &["no live instance", "start a consumer"]);
        let late = [card("x", |_| ())].to_vec();
        check(&scheduled(Reason::Delayed), late, NOW + 95_000, "time", &["is being released"]);
    }

    #[test]
    fn a_failed_job_waits_for_its_back_off_and_says_what_failed() {
        let retrying = job(|record| {
            record.state = State::Retrying;
            record.due = Some(NOW + 2_000);
            record.failures = 3;
            record.message = Some("disk full".into());
        });
        check(&retrying, vec![], NOW, "retry", &["retry 3 of 10 at", "(in 2s)", "last error: disk full"]);
        let endless = Record { max_retries: -1, ..retrying };
        check(&endless, vec![], NOW, "retry", &["retry 3 without limit"]);
    }

    #[test]
    fn a_blocked_job_waits_for_its_gate() {
        let at = |gate| {
            job(|record| {
                record.state = State::Blocked;
                record.waits_at = Some(WaitsAt { gate, turn: String::new() });
            })
        };
        check(&at(GateName::order("q", "")), vec![], NOW, "order", &["queue q runs one job at a time"]);
        check(&at(GateName::order("q", "k")), vec![], NOW, "order", &["order key `k` in queue q"]);
        check(&at(GateName::limit("l", "")), vec![], NOW, "limit", &["limit l lets no more through"]);
        check(&at(GateName::limit("l", "k")), vec![], NOW, "limit", &["limit l for `k`"]);
        let paused = GateName::pause(&Pausable::Topic("a/b".into()));
        check(&at(paused), vec![], NOW, "paused", &["topic a/b is paused", "longshore queue resume"]);
    }

    #[test]
    fn q19_a_job_behind_a_failing_head_says_until_when() {
        let blocked = job(|record| {
            record.state = State::Blocked;
            record.waits_at = Some(WaitsAt { gate: GateName::order("q", ""), turn: String::new() });
        });
        let head = job(|record| {
            record.state = State::Retrying;
            record.reason = Some(Reason::Failed);
            record.due = Some(NOW + 90_000);
        });
        let id = head.id;
        let said = |gate: &AtGate| explain(&blocked, 1, &View::default(), None, Some(gate), NOW).unwrap().detail;
        let text = said(&AtGate::Head(Box::new(head)));
        let expected = format!("; job {id} is retrying, failed until 2025-11-21T09:58");
        assert!(text.contains(&expected) && text.ends_with("(for 1m30s)"), "{text}");
        let running = job(|record| record.state = State::Active);
        assert!(said(&AtGate::Head(Box::new(running))).ends_with(&format!("; job {id} is active")));
        let pause = AtGate::Pause { by: "ann".into(), why: "a reason".into(), until: Some(NOW) };
        let text = said(&pause);
        assert!(text.contains("; paused by ann, until 2025-11-21T") && text.ends_with(": a reason"), "{text}");
    }

    #[test]
    fn jh_09_a_job_that_nobody_takes_says_so_with_the_remedy() {
        let queued = job(|_| ());
        let message = "no live instance takes media/raw; start a consumer with a handler for it";
        check(&queued, vec![], NOW, "no_capable_instance", &[message]);
        check(&queued, vec![card("media/thumbnail", |_| ())], NOW, "no_capable_instance", &[message]);
        let draining = card("media/*", |card| card.draining = true);
        check(&queued, vec![draining], NOW, "no_capable_instance", &["worker-1", "is shutting down"]);
        let denied = card("media/*", |card| card.allowed.deny = vec![TopicPattern::everything()]);
        check(&queued, vec![denied], NOW, "no_capable_instance", &["worker-1", "instance.deny"]);
    }

    #[test]
    fn o08_a_job_that_the_matrix_keeps_from_everybody_names_it() {
        let queued = job(|_| ());
        let row = |topic: &str, rule| {
            let row = Row::default().set(&TopicPattern::new(topic).unwrap(), rule, "ann").unwrap();
            card("media/*", |card| card.row = row)
        };
        let disabled = ["worker-1", "topic matrix has it disabled there by ann", "topic set i1 media/raw enabled"];
        check(&queued, vec![row("media/raw", Rule::Disabled)], NOW, "no_capable_instance", &disabled);
        let excluded =
            ["another topic is exclusive there in the topic matrix by ann", "topic set i1 media/raw enabled"];
        check(&queued, vec![row("x", Rule::Exclusive)], NOW, "no_capable_instance", &excluded);
        // Of several the one that is easiest to change.
        let drained = card("media/*", |card| card.row = Row::default().drain(true, ""));
        let expected = ["was drained; `longshore instance resume i1`"];
        check(&queued, vec![row("x", Rule::Exclusive), drained], NOW, "no_capable_instance", &expected);
    }

    #[test]
    fn pa_02_a_payload_that_nobody_reads_waits_with_that_reason() {
        let old = card("media/*", |card| card.capabilities[0].version = 1);
        let expected = ["has version 2", "one live instance reads media/raw up to version 1", "newer version"];
        check(&job(|_| ()), vec![old.clone()], NOW, "payload_version", &expected);
        check(&job(|_| ()), vec![old.clone(), card("media/*", |_| ())], NOW, "slot", &["of the one instance"]);
        let any = card("media/*", |card| card.capabilities[0].version = 0);
        check(&job(|_| ()), vec![old, any], NOW, "slot", &[]);
    }

    #[test]
    fn a_job_that_did_not_reach_the_broker_says_so() {
        let unpublished = job(|record| record.outbox = Some(NOW + 2_000));
        let takes = vec![card("**", |_| ())];
        check(&unpublished, takes.clone(), NOW + 60_000, "publish", &["is the broker reachable?"]);
        check(&unpublished, takes.clone(), NOW + 1_000, "slot", &[]);
        let crashed = job(|record| {
            record.outbox = Some(NOW + 5_000);
            record.crashes = 3;
            record.reason = Some(Reason::Crashed);
        });
        check(&crashed, takes.clone(), NOW, "retry", &["went away 3 times", "in 5s"]);
        let suspect = Record { outbox: None, ..crashed };
        check(&suspect, takes, NOW, "alone", &["went away 3 times", "nothing else to run; one live instance takes it"]);
    }

    #[test]
    fn a_placed_job_says_who_is_to_run_it_and_who_is_missing() {
        let at = |site: &str| job(|record| record.site = Some(site.parse().unwrap()));
        let two = || {
            let mut second = card("**", |card| card.name = "worker-2".into());
            (second.owner.instance, second.cluster) = (InstanceId("i2".into()), "d".into());
            second.labels.insert("gpu".into(), "yes".into());
            vec![card("media/*", |_| {}), second]
        };
        check(&at("cluster:c"), two(), NOW, "slot", &["4 of 4 slots of the one", "the cluster c: worker-1"]);
        check(
            &at("cluster:gone"),
            two(),
            NOW,
            "slot",
            &["8 of 8", "preferred by the cluster gone", "every instance does"],
        );
        check(&at("label:gpu=yes"), two(), NOW, "slot", &["instances with the label gpu=yes: worker-2"]);
        check(&at("label:gpu=no"), two(), NOW, "placement", &["the label gpu=no run it, and none is live"]);
        check(&at("leader"), two(), NOW, "placement", &["nobody leads now"]);
        let other =
            vec![card("media/*", |_| {}), card("x", |card| drop(card.labels.insert("gpu".into(), "no".into())))];
        check(&at("label:gpu=no"), other, NOW, "placement", &["one live one of these does not take media/raw"]);
        let mut view = View { instances: two(), ..View::default() };
        view.instances[0].capabilities.clear();
        view.coordinator = Some(view.instances[0].owner.clone());
        let waiting = explain(&at("leader"), 1, &view, None, None, NOW).unwrap();
        assert!(waiting.detail.contains("that is worker-1, which does not take media/raw"), "{}", waiting.detail);
    }

    #[test]
    fn a_job_that_waits_for_a_slot_says_how_many_are_ahead() {
        let busy = || card("media/raw", |card| card.running = 4);
        let expected = ["8 slots are busy in the 2 instances that take it", "7 jobs are ahead", "add an instance"];
        check(&job(|_| ()), vec![busy(), busy(), card("x", |_| ())], NOW, "slot", &expected);
        let free = card("media/raw", |card| card.running = 1);
        check(&job(|_| ()), vec![free], NOW, "slot", &["taken soon: 3 of 4 slots", "a limit of its queue or handler"]);
    }
}
