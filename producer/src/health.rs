//! A short report on the health of an installation: each finding with what to do about it.

use crate::connect::Producer;
use crate::rebuild::{BrokerRebuild, last_seen};
use longshore_link::broker::Letters;
use longshore_link::error::Fault;
use longshore_link::scrub::{Mended, Scrubbing};
use longshore_link::store::{Loss, LossKind};
use longshore_link::trusted::{Seen, Trust};
use longshore_model::ledger::ADVICE;
use longshore_model::span;
use longshore_model::topology::Card;
use longshore_model::trust::{Ignored, refusals};
use serde::{Deserialize, Serialize};

/// A clock that is this far from the store's is worth a word, ms.
const SKEW_MS: u64 = 1_000;

/// A deviation that was mended is worth a word for so long, ms: a day.
const RECENT_MS: u64 = 86_400_000;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Somebody should look at it.
    Warn,
    /// It does not work, or something is lost.
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was looked at: `store`, `broker`, `queues`, `ledger`, `scrubber`, `copies`, `losses`, `letters`, `files`,
    /// `trust`, `instances`.
    pub about: String,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub detail: String,
    /// What to do, where there is something to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn new(about: &str, severity: Severity, detail: impl Into<String>, advice: &str) -> Self {
        let advice = (!advice.is_empty()).then(|| advice.to_owned());
        Self { about: about.to_owned(), severity, detail: detail.into(), advice }
    }
}

impl Producer {
    /// Looks at everything, and answers what it found. A service that does not answer is a finding.
    pub async fn examine(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.examine_store(&mut findings).await.inspect_err(|fault| findings.push(away("store", fault))).is_err() {
            return findings;
        }
        if let Err(fault) = self.examine_broker(&mut findings).await {
            findings.push(away("broker", &fault));
        }
        findings.push(self.examine_files().await);
        findings
    }

    /// Whether this process sees the place of payload files that the fleet uses.
    async fn examine_files(&self) -> Finding {
        let link = self.link();
        if !link.blobs.is_somewhere() {
            let detail = "there is no place for them (`blobs.url`): only those that fit into a message travel";
            return Finding::new("files", Severity::Ok, detail, "");
        }
        match link.check_files().await {
            Ok(()) => {
                Finding::new("files", Severity::Ok, "their place answers, and is the one that the fleet uses", "")
            }
            Err(fault) => {
                let advice = "mount or name the same place everywhere; jobs wait for their files meanwhile, and spend no \
                              retry. After files were moved: `longshore files adopt`";
                Finding::new("files", Severity::Fail, fault.to_string(), advice)
            }
        }
    }

    async fn examine_store(&self, findings: &mut Vec<Finding>) -> Result<(), Fault> {
        let link = self.link();
        let now = link.store.ping().await?;
        let skew = link.world.clock.unix_ms().abs_diff(now);
        findings.push(if skew < SKEW_MS {
            Finding::new("store", Severity::Ok, "it answers", "")
        } else {
            let advice = "let both synchronise their clocks; decisions go by the store's";
            let detail = format!("it answers; its clock and this machine's are {skew} ms apart");
            Finding::new("store", Severity::Warn, detail, advice)
        });
        for fact in link.store.about().await? {
            let severity = if fact.advice.is_some() { Severity::Fail } else { Severity::Ok };
            findings.push(Finding { about: "store".into(), severity, detail: fact.detail, advice: fact.advice });
        }
        let ledger = link.store.ledger().await?;
        let drifts = ledger.drifts();
        findings.extend(drifts.iter().map(|drift| Finding::new("ledger", Severity::Fail, drift.to_string(), ADVICE)));
        if drifts.is_empty() {
            let accepted = ledger.total().accepted;
            let detail = format!("in balance: each of {accepted} accepted jobs has ended, waits or runs");
            findings.push(Finding::new("ledger", Severity::Ok, detail, ""));
        }
        findings.push(scrubbed(&link.store.scrubbing().await?, now));
        findings.extend(link.store.losses().await?.iter().map(lost));
        let Seen { view, ignored } = link.seen().await?;
        findings.extend(sealed(&link.trust, &link.store.seal(None).await?));
        findings.extend(ignored.iter().map(stranger));
        findings.extend(refusals(&view).into_iter().map(|(by, of)| refused(by, of)));
        findings.extend(view.instances.iter().filter(|card| card.outside).map(outside));
        let instances = view.instances;
        findings.push(if instances.is_empty() {
            let advice = "start a consumer; until then nothing runs, and no delay or lost copy is looked after";
            Finding::new("instances", Severity::Warn, "no instance is live", advice)
        } else {
            let names: Vec<&str> = instances.iter().map(|card| card.name.as_str()).collect();
            Finding::new("instances", Severity::Ok, format!("{} live: {}", names.len(), names.join(", ")), "")
        });
        Ok(())
    }

    async fn examine_broker(&self, findings: &mut Vec<Finding>) -> Result<(), Fault> {
        let link = self.link();
        let found = self.compare_lanes().await?;
        let status = link.broker.status();
        findings.push(match status.blocked {
            Some(why) => {
                let advice = "free memory or disk on the broker; accepted jobs wait in the outbox meanwhile";
                Finding::new("broker", Severity::Fail, format!("it takes no messages: {why}"), advice)
            }
            None => Finding::new("broker", Severity::Ok, "it answers", ""),
        });
        queues(&found, findings);
        for place in Letters::ALL {
            let (name, advice) = match place {
                Letters::Unrouted => ("unrouted", "start a consumer that takes their topics"),
                Letters::Dead => ("dead", "`longshore letters dead list`, then replay or drop them"),
                Letters::Quarantine => {
                    ("quarantine", "`longshore letters quarantine list`; mend and replay, or drop them")
                }
            };
            let count = link.broker.count_letters(place).await?;
            if count > 0 {
                findings.push(Finding::new("letters", Severity::Warn, format!("{count} {name}"), advice));
            }
        }
        Ok(())
    }
}

/// Whether joining needs a signature, and whether this process can tell who has the right one.
fn sealed(trust: &Trust, seal: &str) -> Option<Finding> {
    let finding = |severity, detail, advice| Some(Finding::new("trust", severity, detail, advice));
    match (trust.membership(seal), trust.has_keys(), seal.is_empty()) {
        (Ok(()), false, _) => None,
        (Ok(()), true, false) => finding(Severity::Ok, "the fleet is sealed: instances need a signature to join", ""),
        (Ok(()), true, true) => finding(
            Severity::Warn,
            "there are keys here, and the fleet is not sealed: any instance may join",
            "normal while keys are given to a fleet, or taken from it: `trust.required = \"on\"` seals it",
        ),
        (Err(_), false, _) => finding(
            Severity::Ok,
            "the fleet is sealed: instances need a signature to join; without keys nobody can tell here who has one",
            "set trust.keys here as well",
        ),
        (Err(_), true, _) => finding(
            Severity::Warn,
            "the fleet is sealed with a key that trust.keys does not have here: its instances look like strangers",
            "compare trust.keys with those of the fleet",
        ),
    }
}

fn stranger(ignored: &Ignored) -> Finding {
    let advice = "whoever has keys ignores it; give it the fleet's, or stop it";
    Finding::new("trust", Severity::Warn, format!("an instance does not belong to the fleet: {ignored}"), advice)
}

fn outside(card: &Card) -> Finding {
    let detail = format!("{} ({}) is outside the fleet and takes no work", card.name, card.owner.instance);
    Finding::new("trust", Severity::Warn, detail, "its log says why; give it the fleet's keys (trust.keys), or stop it")
}

fn refused(by: &Card, of: &Card) -> Finding {
    let detail = format!("{} does not accept the signature of {}", by.name, of.name);
    let advice = "while keys are changed: add the new one behind the old one everywhere before anybody signs with it";
    Finding::new("trust", Severity::Warn, detail, advice)
}

fn away(about: &str, fault: &Fault) -> Finding {
    let advice = "start it, or correct its address; nothing that was accepted is lost by its being away";
    Finding::new(about, Severity::Fail, fault.to_string(), advice)
}

fn queues(found: &BrokerRebuild, findings: &mut Vec<Finding>) {
    let rebuild = "`longshore doctor --rebuild-from store` (any producer or consumer that starts does it as well)";
    let lanes = found.lanes.iter().filter(|lane| lane.lane.is_none() && lane.queued > 0).count();
    findings.push(if found.missing_queues > 0 {
        Finding::new("queues", Severity::Fail, format!("{} fixed queues are missing", found.missing_queues), rebuild)
    } else if lanes > 0 {
        Finding::new("queues", Severity::Fail, format!("{lanes} topics with queued jobs have no lane"), rebuild)
    } else {
        Finding::new("queues", Severity::Ok, "all are there", "")
    });
    let (missing, parked) = (found.missing(), found.parked);
    findings.push(if missing > 0 {
        let advice = "normal while jobs move; what stays for more than 10 minutes is lost: consumers give it new copies, \
                      or `longshore doctor --rebuild-from store` does it now";
        let detail = format!("{missing} queued jobs without a copy in a lane, with an instance, at rest or on its way");
        Finding::new("copies", Severity::Warn, detail, advice)
    } else {
        let detail = format!("every queued job can have its copy ({parked} copies rest)");
        Finding::new("copies", Severity::Ok, detail, "")
    });
}

/// What scrubbing found. A while after the last deviation it is history.
fn scrubbed(scrubbing: &Scrubbing, now: u64) -> Finding {
    let Scrubbing { rounds, last_round, mended, last_mended } = scrubbing;
    let ended = last_round.map_or_else(String::new, |at| format!(", the last at {}", span::rfc3339(at)));
    let rounds = format!("{rounds} rounds{ended}");
    let Some(at) = last_mended else {
        return Finding::new("scrubber", Severity::Ok, format!("nothing had to be mended in {rounds}"), "");
    };
    let Mended { indexes, entries, keys, holders } = mended;
    let detail = format!(
        "{} deviations from records were mended in {rounds}: {indexes} in indexes, {entries} entries without a job, \
         {keys} unique keys, {holders} places at gates; the last at {}",
        mended.total(),
        span::rfc3339(*at)
    );
    let advice = "somebody wrote to the store from outside, or this is a fault of Longshore: look into the log of the \
                  coordinator at that time, and report it";
    let recent = now.saturating_sub(*at) < RECENT_MS;
    Finding::new(
        "scrubber",
        if recent { Severity::Warn } else { Severity::Ok },
        detail,
        if recent { advice } else { "" },
    )
}

/// What a loss means. A store that is new looks like one that lost everything, of which nobody knows anything.
fn lost(loss: &Loss) -> Finding {
    let to = span::rfc3339(loss.to);
    let from = last_seen(loss).map_or_else(String::new, |seen| format!("between {} and ", span::rfc3339(seen)));
    let Some(before) = loss.before else {
        let detail = match loss.kind {
            LossKind::Wiped => format!("the store began empty at {to}; nobody says that it held anything before"),
            LossKind::Restarted => format!("the store restarted before {to}; it may have lost its last second"),
            LossKind::RolledBack => format!("the store went back to an older state before {to}"),
        };
        return Finding::new("losses", Severity::Ok, detail, "");
    };
    let counts = format!(
        "{} scheduled, {} retrying, {} queued, {} active, {} waiting at gates",
        before.scheduled, before.retrying, before.queued, before.active, before.blocked
    );
    let rebuild = "consumers bring back what has a message or runs; `longshore doctor --rebuild-from broker` does it for \
                   topics without a consumer and reads the journal, where there is one (`broker.journal`). Without it \
                   scheduled jobs have to be sent again";
    match loss.kind {
        LossKind::Wiped => {
            let detail = format!(
                "{from}{to} the store lost everything: up to {} scheduled jobs. It had {counts}",
                before.scheduled
            );
            Finding::new("losses", Severity::Fail, detail, rebuild)
        }
        LossKind::RolledBack => {
            let detail = format!("{from}{to} the store went back to an older state. It had {counts}");
            if loss.held {
                let held = format!(
                    "everything was paused then, because what ran since would run again: remove or stop what must not, \
                     then `longshore queue resume all`; {rebuild}"
                );
                return Finding::new("losses", Severity::Fail, detail, &held);
            }
            Finding::new("losses", Severity::Fail, detail, rebuild)
        }
        LossKind::Restarted => {
            let detail = format!("the store restarted before {to}; it may have lost its last second. It had {counts}");
            Finding::new("losses", Severity::Ok, detail, "")
        }
    }
}
