//! Lanes of sites: the store knows which there are from their first job on, how many jobs wait in each, and lets go
//! of them.

use super::bench::{Bench, LONG, at, finish, me, normal, succeeded, topic};
use super::membership::card;
use super::nudge::until;
use crate::error::NotAccepted;
use crate::store::{Adopt, Beat, Depleted, Finish, NewJob, Nudge, Outgoing, Query, Rebuild, Restore};
use longshore_model::id::{Fence, Generation, JobId};
use longshore_model::lane::Lane;
use longshore_model::limits;
use longshore_model::priority::Priority;
use longshore_model::record::{Start, State};
use longshore_model::transition::Verdict;
use longshore_model::unique::{Unique, UniqueMode};
use std::collections::BTreeMap;

fn placed(bench: &Bench, on: &str, site: &str) -> NewJob {
    let mut job = bench.job_on(on);
    job.admission.site = Some(site.parse().unwrap());
    job
}

fn pressing(mut job: NewJob) -> NewJob {
    job.admission.gates.priority = Priority::Urgent;
    job
}

fn high_at(on: &str, site: &str) -> Lane {
    Lane { high: true, ..at(on, site) }
}

async fn lanes(bench: &Bench) -> Vec<Lane> {
    bench.b.store.lanes().await.unwrap()
}

async fn queued(bench: &Bench, on: &str, site: &str) -> Option<u64> {
    bench.b.store.queued_at().await.unwrap().get(&at(on, site)).copied()
}

async fn version(bench: &Bench) -> u64 {
    let beat = Beat { card: card(me()), reached: 0, lease_ms: LONG };
    bench.b.store.heart().await.unwrap().beat(&beat).await.unwrap().topics
}

pub async fn p03_the_first_job_of_a_site_makes_its_lane_known(bench: &Bench) {
    bench.accept(bench.job_on("a")).await;
    let before = version(bench).await;
    let mut nudges = bench.b.store.nudges();
    bench.accept(placed(bench, "a", "cluster:c d")).await;
    until(bench, &mut nudges, Nudge::Topics).await;
    assert_eq!(lanes(bench).await, [normal("a"), at("a", "cluster:c d")]);
    let after = version(bench).await;
    assert_ne!(before, after, "who missed the nudge sees it with the next beat");
    bench.accept(placed(bench, "a", "cluster:c d")).await;
    assert_eq!(version(bench).await, after);
    bench.accept(pressing(placed(bench, "a", "cluster:c d"))).await;
    bench.accept(placed(bench, "new", "leader")).await;
    let known = [normal("a"), at("a", "cluster:c d"), high_at("a", "cluster:c d"), normal("new"), at("new", "leader")];
    assert_eq!(lanes(bench).await, known, "an urgent job of a site has nothing to do with those of none");
    assert_eq!(bench.a.store.topics().await.unwrap(), [topic("a"), topic("new")]);
}

pub async fn p03_however_a_placed_job_comes_in_its_lane_is_known(bench: &Bench) {
    let now = bench.a.store.ping().await.unwrap();
    let mut later = placed(bench, "delayed", "label:x=y");
    later.admission.start = Start::After(LONG);
    bench.accept(later).await;
    let job = placed(bench, "rebuilt", "label:x=y");
    let claim = bench.claim(job.admission.id);
    bench.a.store.rebuild(&me(), LONG, Rebuild { job, enqueued: now, claim }).await.unwrap();
    let job = placed(bench, "restored", "label:x=y");
    let restore = Restore { job, enqueued: now, copy: None, fence: Fence::default() };
    bench.a.store.restore(vec![restore], false).await.unwrap();
    let job = placed(bench, "adopted", "label:x=y");
    let (claim, fence) = (bench.claim(job.admission.id), Fence(7));
    let adopt = Adopt { job, enqueued: now, claim, fence, attempt: 1, failures: 0, crashes: 0 };
    bench.a.store.adopt(&me(), LONG, adopt).await.unwrap();
    let (parent, fence) = bench.running().await;
    let mut child = placed(bench, "followed", "label:x=y");
    child.admission.id = parent.follow_up(0);
    let whole = Finish { follow_ups: vec![child.clone()], ..finish(parent, fence, succeeded()) };
    bench.a.store.finish(vec![whole]).await.unwrap();
    let known = lanes(bench).await;
    for topic in ["delayed", "rebuilt", "restored", "adopted", "followed"] {
        assert!(known.contains(&at(topic, "label:x=y")), "{topic}: {known:?}");
    }
    assert_eq!(bench.record(child.admission.id).await.site, child.admission.site);
    // One that another stands for is published to its own lane where that one got its payload.
    let unique = |mut job: NewJob| {
        job.admission.unique = Some(Unique { mode: UniqueMode::UntilStarted, ms: 0, key: "k".into() });
        job
    };
    let first = bench.enqueue(unique(bench.job_on("u"))).await;
    let second = bench.enqueue(unique(placed(bench, "u", "leader"))).await;
    assert_eq!((second.id, second.existed, second.anywhere), (first.id, true, false));
    assert!(lanes(bench).await.contains(&at("u", "leader")));
}

pub async fn p03_queued_jobs_of_a_site_are_counted_from_step_to_step(bench: &Bench) {
    let (on, site) = ("a", "cluster:c");
    let first = bench.accept(placed(bench, on, site)).await;
    let second = bench.accept(pressing(placed(bench, on, site))).await;
    bench.accept(placed(bench, on, "leader")).await;
    bench.accept(bench.job_on(on)).await;
    let all = BTreeMap::from([(at(on, site), 2), (at(on, "leader"), 1)]);
    assert_eq!(bench.b.store.queued_at().await.unwrap(), all);
    let fence = bench.run(first).await;
    assert_eq!(queued(bench, on, site).await, Some(1));
    bench.finish(first, fence, Verdict::failed(20, "no")).await;
    assert_eq!((bench.state(first).await, queued(bench, on, site).await), (State::Retrying, Some(1)));
    bench.sleep(40).await;
    let again = bench.a.store.promote(10).await.unwrap().runnable;
    assert_eq!(again.iter().map(|job| &job.lane).collect::<Vec<_>>(), [&at(on, site)]);
    assert_eq!(queued(bench, on, site).await, Some(2));
    bench.run_for(&me(), second, 20).await;
    bench.sleep(60).await;
    assert_eq!(queued(bench, on, site).await, Some(1));
    assert_eq!(bench.rescue(10).await.runnable[0].lane, high_at(on, site));
    assert_eq!(queued(bench, on, site).await, Some(2));
    bench.stop(first).await;
    bench.remove(second).await;
    assert_eq!(queued(bench, on, site).await, None);
    // What waits at a gate is in no lane.
    let ordered = |mut job: NewJob| {
        job.admission.gates.order = Some(longshore_model::gate::GateName::order("main", "k"));
        job
    };
    let head = bench.accept(ordered(placed(bench, on, site))).await;
    let behind = bench.accept(ordered(placed(bench, on, site))).await;
    assert_eq!((bench.state(behind).await, queued(bench, on, site).await), (State::Blocked, Some(1)));
    bench.stop(head).await;
    assert_eq!((bench.state(behind).await, queued(bench, on, site).await), (State::Queued, Some(1)));
}

pub async fn p03_a_lane_that_nobody_uses_is_let_go_of_and_comes_back_with_its_next_job(bench: &Bench) {
    let forget = async |lanes: &[Lane], idle| bench.a.store.forget(lanes.to_vec(), idle).await.unwrap();
    let (busy, idle) = (at("a", "instance:i"), at("a", "instance:j"));
    let mut later = placed(bench, "a", "instance:j");
    later.admission.start = Start::After(60);
    let (waits, later) = (bench.accept(placed(bench, "a", "instance:i")).await, bench.accept(later).await);
    let both = [busy.clone(), idle.clone(), normal("a"), at("b", "instance:k")];
    assert_eq!(forget(&both, LONG).await, [], "somebody used them not long ago");
    let before = version(bench).await;
    let mut nudges = bench.b.store.nudges();
    assert_eq!(forget(&both, 0).await, std::slice::from_ref(&idle), "in the other one a job waits");
    until(bench, &mut nudges, Nudge::Topics).await;
    assert_ne!(version(bench).await, before);
    assert_eq!(lanes(bench).await, [normal("a"), busy.clone()]);
    assert_eq!(forget(&both, 0).await, []);
    bench.sleep(80).await;
    let runnable = bench.a.store.promote(10).await.unwrap().runnable;
    assert_eq!(runnable.iter().map(|job| (job.id, &job.lane)).collect::<Vec<_>>(), [(later, &idle)]);
    assert_eq!(lanes(bench).await, [normal("a"), busy.clone(), idle.clone()]);
    // A high lane and a normal one are let go of together.
    bench.stop(waits).await;
    bench.accept(pressing(placed(bench, "a", "instance:i"))).await;
    let pair = busy.pair();
    assert_eq!(forget(&pair, 0).await, []);
    let queued = bench.find(Query { states: vec![State::Queued], limit: 10, ..Query::default() }).await;
    for id in queued {
        bench.stop(id).await;
    }
    assert_eq!(forget(&pair, 0).await, pair);
    bench.a.store.know(vec![busy.clone()]).await.unwrap();
    assert_eq!(lanes(bench).await, [normal("a"), busy, idle], "who consumed it can say that it is there");
}

pub async fn p03_beyond_the_most_lanes_a_preference_is_given_up_and_a_need_is_refused(bench: &Bench) {
    let all: Vec<Lane> = (0..limits::SITES).map(|n| at("a", &format!("label:n={n}"))).collect();
    for some in all.chunks(limits::BATCH) {
        bench.a.store.know(some.to_vec()).await.unwrap();
    }
    bench.a.store.know(vec![at("a", "label:n=more")]).await.unwrap();
    assert_eq!(lanes(bench).await.len(), limits::SITES + 1, "with the topic's own");
    let rather = placed(bench, "a", "cluster:c");
    let accepted = bench.enqueue(rather.clone()).await;
    assert!(accepted.anywhere && !accepted.existed, "{accepted:?}");
    assert_eq!(accepted.lane(&rather.admission), normal("a"));
    assert_eq!(bench.record(accepted.id).await.site, None);
    let again = bench.enqueue(rather.clone()).await;
    assert_eq!((again.anywhere, again.existed), (true, true), "sent again, it is published to the same lane");
    let needs = placed(bench, "a", "label:n=more");
    let refused = bench.a.store.enqueue(vec![needs.clone()]).await.unwrap().remove(0);
    assert_eq!(refused, Err(NotAccepted::TooManyLanes(needs.admission.lane().to_string())));
    assert_eq!(bench.maybe(needs.admission.id).await, None);
    let there = bench.enqueue(placed(bench, "a", "label:n=7")).await;
    assert!(!there.anywhere, "a lane that is there stays");
    // A job that is at hand is made all the same.
    let now = bench.a.store.ping().await.unwrap();
    let claim = bench.claim(needs.admission.id);
    let rebuild = Rebuild { job: needs.clone(), enqueued: now, claim };
    bench.a.store.rebuild(&me(), LONG, rebuild).await.unwrap();
    assert_eq!(bench.record(needs.admission.id).await.site, needs.admission.site);
    let urgent = pressing(placed(bench, "a", "cluster:c"));
    let accepted = bench.enqueue(urgent.clone()).await;
    assert_eq!(accepted.lane(&urgent.admission), Lane::high(topic("a")));
    assert!(lanes(bench).await.contains(&Lane::high(topic("a"))), "it is published there");
}

pub async fn p03_what_is_handed_out_names_its_lane_and_lost_copies_are_those_of_one_site(bench: &Bench) {
    let handed = |found: Vec<Outgoing>| {
        let mut found: Vec<(JobId, Lane)> = found.into_iter().map(|job| (job.id, job.lane)).collect();
        found.sort();
        found
    };
    let mut jobs = Vec::new();
    for job in [
        bench.job_on("a"),
        placed(bench, "a", "cluster:c"),
        pressing(placed(bench, "a", "cluster:c")),
        placed(bench, "a", "prefer_label:x"),
    ] {
        let lane = job.admission.lane();
        jobs.push((bench.accept(job).await, lane));
    }
    let generations = || jobs.iter().map(|(id, _)| (*id, Generation(1))).collect::<Vec<_>>();
    bench.a.store.published(generations()).await.unwrap();
    bench.sleep(5).await;
    let lost = async |lane: Lane, copies| {
        let lost = [Depleted { lane, copies }];
        bench.b.store.republish(&lost, 1, 0, 100).await.unwrap().jobs
    };
    assert_eq!(lost(at("a", "leader"), None).await, 0);
    assert_eq!(lost(at("a", "cluster:c"), Some(2)).await, 0, "the broker has both");
    assert_eq!(lost(normal("a"), Some(1)).await, 0, "those of sites do not count");
    assert_eq!(lost(at("a", "cluster:c"), Some(1)).await, 1);
    assert_eq!(lost(normal("a"), None).await, 1);
    assert_eq!(lost(at("a", "cluster:c"), None).await, 1);
    assert_eq!(lost(at("a", "prefer_label:x"), None).await, 1);
    let mut sorted = jobs.clone();
    sorted.sort();
    assert_eq!(handed(bench.b.store.outbox(10, LONG).await.unwrap()), sorted);
    // Each goes before those that are to run at the same site alone.
    let ahead = async |at: usize| bench.a.store.ahead(jobs[at].0).await.unwrap();
    assert_eq!([ahead(0).await, ahead(1).await, ahead(2).await, ahead(3).await], [Some(0); 4]);
    let behind = bench.accept(placed(bench, "a", "cluster:c")).await;
    assert_eq!(bench.a.store.ahead(behind).await.unwrap(), Some(2));
}
