//! Lanes: the store knows of which topics there are urgent jobs, so that somebody consumes their high lanes, and into
//! which lane a job is to be published.

use super::bench::{Bench, LONG, finish, high, me, normal, succeeded, topic, urgent};
use super::membership::beat_for;
use super::nudge::until;
use crate::store::{Adopt, Depleted, Finish, NewJob, Nudge, Rebuild, Restore, Restored};
use longshore_model::id::{Fence, Generation, JobId};
use longshore_model::lane::Lane;
use longshore_model::priority::Priority;
use longshore_model::record::Start;
use longshore_model::unique::{Unique, UniqueMode};

async fn lanes(bench: &Bench) -> Vec<Lane> {
    bench.b.store.lanes().await.unwrap()
}

async fn version(bench: &Bench) -> u64 {
    beat_for(bench, &me(), LONG).await.topics
}

pub async fn q13_the_first_urgent_job_of_a_topic_makes_its_high_lane_known(bench: &Bench) {
    for priority in [Priority::Normal, Priority::Low] {
        let mut job = bench.job_on("a");
        job.admission.gates.priority = priority;
        bench.accept(job).await;
    }
    bench.accept(bench.job_on("b")).await;
    assert_eq!(lanes(bench).await, [normal("a"), normal("b")]);
    let before = version(bench).await;
    let mut nudges = bench.b.store.nudges();
    let id = bench.accept(urgent(bench.job_on("a"))).await;
    until(bench, &mut nudges, Nudge::Topics).await;
    assert_eq!(lanes(bench).await, [normal("a"), high("a"), normal("b")]);
    assert_eq!(bench.a.store.topics().await.unwrap(), [topic("a"), topic("b")]);
    let after = version(bench).await;
    assert_ne!(before, after, "who missed the nudge sees it with the next beat");
    bench.accept(urgent(bench.job_on("a"))).await;
    assert_eq!(version(bench).await, after);
    // Whatever becomes of them.
    bench.remove(id).await;
    bench.remove(id).await;
    assert_eq!(lanes(bench).await, [normal("a"), high("a"), normal("b")]);
    bench.accept(urgent(bench.job_on("new"))).await;
    assert_eq!(lanes(bench).await[3..], [normal("new"), high("new")]);
}

pub async fn q13_however_an_urgent_job_comes_in_its_high_lane_is_known(bench: &Bench) {
    let now = bench.a.store.ping().await.unwrap();
    let mut later = urgent(bench.job_on("delayed"));
    later.admission.start = Start::After(LONG);
    bench.accept(later).await;
    let job = urgent(bench.job_on("rebuilt"));
    let claim = bench.claim(job.admission.id);
    bench.a.store.rebuild(&me(), LONG, Rebuild { job, enqueued: now, claim }).await.unwrap();
    let job = urgent(bench.job_on("restored"));
    let restore = Restore { job, enqueued: now, copy: None, fence: Fence::default() };
    let restored = bench.a.store.restore(vec![restore.clone()], true).await.unwrap().remove(0);
    assert!(matches!(restored, Restored::Made(_)), "{restored:?}");
    assert!(!lanes(bench).await.contains(&high("restored")), "nothing was done yet");
    bench.a.store.restore(vec![restore], false).await.unwrap();
    let job = urgent(bench.job_on("adopted"));
    let (claim, fence) = (bench.claim(job.admission.id), Fence(7));
    let adopt = Adopt { job, enqueued: now, claim, fence, attempt: 1, failures: 0, crashes: 0 };
    bench.a.store.adopt(&me(), LONG, adopt).await.unwrap();
    let (parent, fence) = bench.running().await;
    let mut child = urgent(bench.job_on("followed"));
    child.admission.id = parent.follow_up(0);
    let whole = Finish { follow_ups: vec![child], ..finish(parent, fence, succeeded()) };
    bench.a.store.finish(vec![whole]).await.unwrap();
    let known = lanes(bench).await;
    for topic in ["delayed", "rebuilt", "restored", "adopted", "followed"] {
        assert!(known.contains(&high(topic)), "{topic}: {known:?}");
    }
}

pub async fn q13_an_urgent_job_that_another_stands_for_makes_the_lane_known_too(bench: &Bench) {
    // Its sender publishes it under the other one's id where that got its payload.
    let unique = |mut job: NewJob| {
        job.admission.unique = Some(Unique { mode: UniqueMode::UntilStarted, ms: 0, key: "k".into() });
        job
    };
    let first = bench.enqueue(unique(bench.job_on("a"))).await;
    assert_eq!(lanes(bench).await, [normal("a")]);
    let second = bench.enqueue(unique(urgent(bench.job_on("a")))).await;
    assert_eq!((second.id, second.existed), (first.id, true));
    assert_eq!(lanes(bench).await, [normal("a"), high("a")]);
    let again = bench.job_on("b");
    bench.accept(again.clone()).await;
    assert!(bench.enqueue(urgent(again)).await.existed);
    assert!(lanes(bench).await.contains(&high("b")));
}

pub async fn q13_a_consumer_can_say_what_lanes_there_are(bench: &Bench) {
    let before = version(bench).await;
    let mut nudges = bench.b.store.nudges();
    bench.a.store.know(vec![high("b"), normal("a"), normal("b"), high("b")]).await.unwrap();
    until(bench, &mut nudges, Nudge::Topics).await;
    assert_eq!(lanes(bench).await, [normal("a"), normal("b"), high("b")]);
    let after = version(bench).await;
    assert_ne!(before, after);
    bench.a.store.know(vec![normal("a"), high("b"), normal("b")]).await.unwrap();
    assert_eq!((lanes(bench).await.len(), version(bench).await), (3, after), "once more changes nothing");
    bench.a.store.know(vec![high("a")]).await.unwrap();
    assert_eq!(lanes(bench).await, [normal("a"), high("a"), normal("b"), high("b")]);
}

pub async fn q13_what_is_handed_out_names_its_lane(bench: &Bench) {
    let handed = |found: Vec<crate::store::Outgoing>| {
        let mut found: Vec<(JobId, Lane)> = found.into_iter().map(|job| (job.id, job.lane)).collect();
        found.sort();
        found
    };
    let mut jobs = Vec::new();
    for mut job in [urgent(bench.job_on("a")), bench.job_on("a"), urgent(bench.job_on("b"))] {
        job.admission.start = Start::After(20);
        let lane = job.admission.lane();
        jobs.push((bench.accept(job).await, lane));
    }
    let mut low = bench.job_on("a");
    (low.admission.start, low.admission.gates.priority) = (Start::After(20), Priority::Low);
    jobs.push((bench.accept(low).await, normal("a")));
    jobs.sort();
    bench.sleep(40).await;
    assert_eq!(handed(bench.b.store.promote(10).await.unwrap().runnable), jobs);
    // Nobody knows where they were published before.
    let generations = jobs.iter().map(|(id, _)| (*id, Generation(1))).collect();
    bench.a.store.published(generations).await.unwrap();
    bench.sleep(5).await;
    let lost = ["a", "b"].map(|on| Depleted { lane: normal(on), copies: None });
    assert_eq!(bench.b.store.republish(&lost, 1, 0, 100).await.unwrap().jobs, 4);
    assert_eq!(handed(bench.b.store.outbox(10, LONG).await.unwrap()), jobs);
    for (id, _) in &jobs {
        bench.run_for(&me(), *id, 20).await;
    }
    bench.sleep(60).await;
    assert_eq!(handed(bench.rescue(10).await.runnable), jobs);
    assert_eq!(bench.record(jobs[0].0).await.lane(), jobs[0].1);
}
