//! Random walks through the searched model, each step also done by a store: both must agree on every job, on where it
//! waits, and on how many each limit let through.
//!
//! That holds the model's gates against the product's. Steps that need time to pass are left out, and what a change of a
//! limit or the end of a pause makes possible is looked at at once.

use super::super::explore::Space;
use super::Model;
use super::gates::{name, paused};
use super::plan::Plan;
use super::system::{Flow, Gate};
use crate::search::store::verdict;
use bytes::Bytes;
use longshore_link::Link;
use longshore_link::store::{Claim, Claimed, Finish, NewJob, PauseOrder, Report};
use longshore_model::gate::{GateName, Gates, Length, LimitPolicy};
use longshore_model::id::{Fence, Generation, Incarnation, InstanceId, JobId, Owner};
use longshore_model::limits;
use longshore_model::record::{Admission, Start};
use longshore_model::transition::Answer;
use longshore_model::unique::Unique;
use std::collections::BTreeMap;
use std::time::Duration;

const LEASE_MS: u64 = 600_000;
const LOOKS: &str = "gates are looked at";
const LEFT_OUT: [&str; 3] = ["a limit is looked at much later", "a period passes", "its time for retries passes"];

struct Walk<'a> {
    plan: &'a Plan,
    link: &'a Link,
    ids: Vec<JobId>,
    fences: BTreeMap<u8, Fence>,
}

/// The own limit of the queue of all jobs.
fn own_limit() -> GateName {
    GateName::limit("queue.main", "")
}

/// Walks until nothing can happen any more; answers the number of steps.
///
/// # Panics
/// When the store does something else than the model.
pub async fn walk(plan: &Plan, link: &Link) -> usize {
    let model = Model::new(plan, None, None);
    let ids = plan.asks.iter().map(|_| link.world.job_id(None)).collect();
    let mut walk = Walk { plan, link, ids, fences: BTreeMap::new() };
    let (mut state, mut way, mut next) = (model.initial(), Vec::new(), Vec::new());
    for limit in 0..state.limits.len() as u8 {
        walk.set_limit(limit, plan.max).await;
    }
    walk.set_queue().await;
    loop {
        model.next(&state, &mut next);
        next.retain(|step| !LEFT_OUT.contains(&step.label.what) && (state.due == 0 || step.label.what == LOOKS));
        if next.is_empty() {
            return way.len();
        }
        let step = next.swap_remove(link.world.random.below(next.len() as u64) as usize);
        next.clear();
        way.push(step.label.to_string());
        state = step.state;
        walk.take(step.label.what, step.label.who, &state).await;
        let (model, store) = (walk.model(&state), walk.store().await);
        assert_eq!(model, store, "the model (left) and the store differ after\n  {}", way.join("\n  "));
    }
}

impl Walk<'_> {
    fn new_job(&self, job: u8) -> NewJob {
        let (ask, id) = (self.plan.asks[usize::from(job)], self.ids[usize::from(job)]);
        let admission = Admission {
            id,
            topic: format!("search/{}", ask.topic).parse().expect("a topic"),
            queue: "main".into(),
            start: Start::Now,
            max_retries: self.plan.retries,
            max_crashes: self.plan.max_crashes,
            site: None,
            expires: None,
            gates: Gates {
                order: ask.order.map(|order| name(Gate::Order(order))),
                limits: ask.limits.iter().map(|limit| name(Gate::Limit(*limit))).chain([own_limit()]).collect(),
                turn: ask.turn.to_string(),
                priority: ask.priority,
            },
            unique: ask.unique.map(|mode| Unique { key: "k".into(), mode, ms: 0 }),
        };
        let envelope = Bytes::from(format!("{{\"v\":1,\"id\":\"{id}\"}}"));
        NewJob { admission, envelope, labels: BTreeMap::new(), fields: BTreeMap::new(), again: false, retry_of: None }
    }

    async fn set_limit(&self, limit: u8, max: u8) {
        let policy = LimitPolicy { max: Some(max.into()), over: self.plan.over, ..LimitPolicy::default() };
        let policy = Some(&policy).filter(|_| max > 0);
        self.link.store.set_limit(name(Gate::Limit(limit)).of(), policy).await.expect("it is set");
    }

    /// What the queue of all jobs says.
    async fn set_queue(&self) {
        let length = self.plan.length.map(|length| Length { max: length.max.into(), full: length.full });
        let policy = LimitPolicy { length, on_failure: self.plan.on_failure, ..LimitPolicy::default() };
        self.link.store.set_limit(own_limit().of(), Some(&policy)).await.expect("it is set");
    }

    async fn pause(&self, what: u8, on: bool) {
        let what = paused(what);
        let order = PauseOrder { by: "walk".into(), why: "to see".into(), until: None };
        self.link.store.set_pause(&what, on.then_some(&order)).await.expect("it is paused");
    }

    async fn take(&mut self, what: &str, who: u8, state: &Flow) {
        let store = &self.link.store;
        let id = self.ids.get(usize::from(who)).copied();
        let id = || id.expect("a job");
        match what {
            "a job is sent" => drop(store.enqueue(vec![self.new_job(who)]).await.expect("an answer")),
            "a minute passes" => self.link.world.clock.sleep(Duration::from_millis(limits::AGEING_MS + 1)).await,
            LOOKS => drop(store.promote(100).await.expect("an answer")),
            "somebody pauses" | "a pause ends" => self.pause(who, what == "somebody pauses").await,
            "somebody changes a limit" => self.set_limit(who, state.limits[usize::from(who)].max).await,
            "somebody stops" => drop(store.stop("walk", vec![id()]).await.expect("an answer")),
            "somebody removes" => drop(store.remove(vec![id()]).await.expect("an answer")),
            "a slot claims" => {
                let incarnation = Incarnation::new(1_700_000_000_000, [7; 16]);
                let owner = Owner { instance: InstanceId("walk".into()), incarnation };
                let (generation, floor) = (Generation::default(), Fence::default());
                let claim = Claim { id: id(), nonce: "n".into(), generation, floor, alone: true };
                let claimed = store.claim(&owner, LEASE_MS, vec![claim]).await.expect("an answer").remove(0);
                if let Claimed::Known(Answer::Run { fence, .. }) = claimed {
                    self.fences.insert(who, fence);
                }
            }
            ending => {
                let ending = self.plan.endings.iter().find(|it| it.what() == ending).expect("a known step");
                let finish = Finish {
                    id: id(),
                    fence: self.fences[&who],
                    verdict: verdict(*ending),
                    result: None,
                    outputs: Vec::new(),
                    report: Report::default(),
                    follow_ups: Vec::new(),
                };
                drop(store.finish(vec![finish]).await.expect("an answer"));
            }
        }
    }

    fn model(&self, state: &Flow) -> Vec<String> {
        let jobs = state.jobs.iter().take(self.ids.len());
        let mut lines: Vec<String> =
            jobs.map(|job| format!("{:?} {:?}", job.state(), job.waits.map(|gate| name(gate).to_string()))).collect();
        for (number, limit) in state.limits.iter().enumerate().filter(|(_, limit)| limit.max > 0) {
            let waiting = state.waiting(Gate::Limit(number as u8)).count();
            lines.push(format!("limit {number}: {} {waiting}", limit.holders.count_ones()));
        }
        lines
    }

    async fn store(&self) -> Vec<String> {
        let records = self.link.store.records(self.ids.clone()).await.expect("an answer");
        let line = |record: &Option<longshore_model::record::Record>| {
            let waits = record.as_ref().and_then(|record| record.waits_at.as_ref());
            let waits = waits.map(|waits| waits.gate.to_string());
            format!("{:?} {waits:?}", record.as_ref().map(|record| record.state))
        };
        let mut lines: Vec<String> = records.iter().map(line).collect();
        let limits = self.link.store.limits().await.expect("an answer");
        for (number, limit) in limits.iter().filter(|limit| limit.name != own_limit().of()).enumerate() {
            let (passed, waiting) = limit.shown.first().map_or((0, 0), |key| (key.passed, key.waiting));
            let number = if limit.name.ends_with('0') { 0 } else { number.max(1) };
            lines.push(format!("limit {number}: {passed} {waiting}"));
        }
        lines
    }
}
