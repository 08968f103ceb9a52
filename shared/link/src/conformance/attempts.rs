//! What running attempts write, and how they stay alive (T7).

use super::bench::{Bench, LONG, failed, me, owner};
use crate::store::{Nudge, Renew, Renewed, Report};
use longshore_model::id::{Fence, JobId, Owner};
use longshore_model::limits;
use longshore_model::record::State;
use longshore_model::snapshot::Progress;

const BEAT: u64 = 20;
const LEASE: u64 = 200;

async fn renew_as(bench: &Bench, owner: Owner, lease_ms: u64, running: Vec<(JobId, Fence)>) -> Renewed {
    let mut heart = bench.a.store.heart().await.unwrap();
    heart.renew(&Renew { owner, lease_ms, beat_ms: LONG, running, known: None }).await.unwrap()
}

fn said(step: u64, property: &str) -> Report {
    Report {
        progress: Some(Progress { step, steps: 2, eta: Some(5), text: None }),
        properties: [("p".to_owned(), property.to_owned())].into(),
        log: vec![("warn".into(), format!("line {step}"))],
        ..Report::default()
    }
}

pub async fn reports_are_fenced(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let unknown = bench.a.world.job_id(None);
    let reports =
        vec![(id, Fence(fence.0 - 1), said(1, "1")), (unknown, fence, said(1, "1")), (id, fence, said(2, "2"))];
    assert_eq!(bench.a.store.report(reports).await.unwrap(), [false, false, true]);
    let snapshot = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!((snapshot.progress, snapshot.log.len()), (said(2, "2").progress, 1));
    bench.finish(id, fence, failed(0)).await;
    assert_eq!(bench.a.store.report(vec![(id, fence, said(9, "9"))]).await.unwrap(), [false]);
}

pub async fn the_log_is_bounded_and_stamped(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let line = |n: usize| ("info".to_owned(), format!("line {n}"));
    let before = bench.a.store.ping().await.unwrap();
    for from in [0, 150] {
        let log = (from..from + 150).map(line).collect();
        let report = Report { log, ..Report::default() };
        assert_eq!(bench.a.store.report(vec![(id, fence, report)]).await.unwrap(), [true]);
    }
    let log = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap().log;
    assert_eq!(log.len(), limits::LOG_LINES);
    assert_eq!((log[0].text.as_str(), log[199].text.as_str()), ("line 100", "line 299"));
    assert!(log.iter().all(|line| (before..=before + 60_000).contains(&line.at)), "by the store's clock");
}

pub async fn the_last_property_and_the_last_progress_win(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let mut other = said(2, "\"new\"");
    other.properties.insert("q".into(), "[1]".into());
    bench.a.store.report(vec![(id, fence, said(1, "\"old\"")), (id, fence, other)]).await.unwrap();
    bench.a.store.report(vec![(id, fence, Report::default())]).await.unwrap();
    let snapshot = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!(snapshot.progress.unwrap().step, 2);
    assert_eq!(snapshot.properties, [("p".into(), "\"new\"".into()), ("q".into(), "[1]".into())].into());
    assert_eq!(snapshot.log.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["line 1", "line 2"]);
}

pub async fn t7_a_renewal_keeps_the_lease(bench: &Bench) {
    let id = bench.queued().await;
    let fence = bench.run_for(&me(), id, 100).await;
    let renewed = renew_as(bench, me(), LONG, vec![(id, fence)]).await;
    assert!(renewed.lost.is_empty() && renewed.stop.is_empty());
    assert_eq!(bench.record(id).await.lease, Some(renewed.now + LONG));
    bench.sleep(150).await;
    assert!(bench.b.store.rescue(10, LONG).await.unwrap().runnable.is_empty());
    assert_eq!(bench.record(id).await.fence, fence);
}

pub async fn t7_a_renewal_tells_what_was_lost(bench: &Bench) {
    let (kept, fence) = bench.running().await;
    let (removed, removed_fence) = bench.running().await;
    let (purged, purged_fence) = bench.running().await;
    let (ended, ended_fence) = bench.running().await;
    bench.remove(removed).await;
    bench.remove(purged).await;
    bench.remove(purged).await;
    bench.finish(ended, ended_fence, failed(0)).await;
    let lost = vec![(removed, removed_fence), (purged, purged_fence), (ended, ended_fence)];
    let running = [vec![(kept, fence)], lost.clone()].concat();
    assert_eq!(renew_as(bench, me(), LONG, running).await.lost, lost);
    assert_eq!(renew_as(bench, me(), LONG, vec![(kept, Fence(fence.0 - 1))]).await.lost.len(), 1);
    assert_eq!(bench.state(kept).await, State::Active);
}

pub async fn t16_a_renewal_tells_what_to_stop(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let (other, other_fence) = bench.running().await;
    bench.stop(id).await;
    let renewed = renew_as(bench, me(), LONG, vec![(id, fence), (other, other_fence)]).await;
    assert_eq!(renewed.stop, [(id, "an operator".to_owned())]);
    assert!(renewed.lost.is_empty(), "it still runs, and its lease goes on");
}

pub async fn t7_a_renewal_tells_of_expired_leases(bench: &Bench) {
    let (first, second) = (bench.queued().await, bench.queued().await);
    bench.run_for(&owner("dead", 1), first, 1).await;
    bench.run_for(&owner("dead", 1), second, 1).await;
    bench.running().await;
    bench.sleep(10).await;
    assert_eq!(renew_as(bench, me(), LONG, Vec::new()).await.expired, 2);
    bench.a.store.rescue(10, LONG).await.unwrap();
    assert_eq!(renew_as(bench, me(), LONG, Vec::new()).await.expired, 0);
}

/// A silence of more than two beats in which the lease of another instance's job ended. Answers the job.
async fn silence(bench: &Bench) -> JobId {
    let (mut other, mut survivor) = (bench.b.store.heart().await.unwrap(), bench.a.store.heart().await.unwrap());
    let id = bench.queued().await;
    bench.run_for(&owner("other", 1), id, LEASE).await;
    other.renew(&quiet("other", 1)).await.unwrap();
    survivor.renew(&quiet("survivor", 1)).await.unwrap();
    bench.sleep(LEASE + 3 * BEAT).await;
    id
}

/// A renewal of nothing.
fn quiet(instance: &str, start: u64) -> Renew {
    Renew { owner: owner(instance, start), lease_ms: LEASE, beat_ms: BEAT, running: Vec::new(), known: None }
}

pub async fn a_survivor_of_a_silence_brings_an_amnesty(bench: &Bench) {
    let id = silence(bench).await;
    // The incarnation proves it, not the heart: that one may have to be opened anew after an outage.
    let renewed = bench.a.store.heart().await.unwrap().renew(&quiet("survivor", 1)).await.unwrap();
    assert_eq!((renewed.amnesty, renewed.expired), (renewed.now + LEASE, 0), "nobody is declared dead");
    assert_eq!(bench.b.store.rescue(10, LONG).await.unwrap().runnable, []);
    assert_eq!(bench.state(id).await, State::Active);
    rescued_in_the_end(bench, "survivor", id).await;
}

/// One instance goes on beating, and the job of another is taken back.
async fn rescued_in_the_end(bench: &Bench, beats: &str, id: JobId) {
    let mut heart = bench.a.store.heart().await.unwrap();
    let mut rescued = Vec::new();
    bench
        .eventually("the job is rescued", async || {
            heart.renew(&quiet(beats, 1)).await.unwrap();
            rescued = bench.b.store.rescue(10, BEAT).await.unwrap().runnable;
            !rescued.is_empty()
        })
        .await;
    assert_eq!(rescued[0].id, id);
}

pub async fn a_newcomer_does_not_hide_a_silence_from_a_survivor(bench: &Bench) {
    silence(bench).await;
    let mut heart = bench.a.store.heart().await.unwrap();
    let first = bench.b.store.heart().await.unwrap().renew(&quiet("newcomer", 1)).await.unwrap();
    assert_eq!((first.amnesty, first.expired), (0, 1));
    let renewed = heart.renew(&quiet("survivor", 1)).await.unwrap();
    assert_eq!((renewed.amnesty, renewed.expired), (first.now + LEASE, 0));
}

pub async fn a_newcomer_after_a_silence_brings_none(bench: &Bench) {
    let id = silence(bench).await;
    let renewed = bench.a.store.heart().await.unwrap().renew(&quiet("newcomer", 1)).await.unwrap();
    assert_eq!((renewed.amnesty, renewed.expired), (0, 1), "a fleet of one that restarts is not an outage");
    rescued_in_the_end(bench, "newcomer", id).await;
}

pub async fn a_rescue_after_a_silence_that_a_newcomer_ended_waits_for_the_others(bench: &Bench) {
    let id = silence(bench).await;
    bench.a.store.heart().await.unwrap().renew(&quiet("newcomer", 1)).await.unwrap();
    assert_eq!(bench.b.store.rescue(10, LONG).await.unwrap().runnable, [], "they may live and beat next");
    assert_eq!(bench.state(id).await, State::Active);
    let renewed = bench.b.store.heart().await.unwrap().renew(&quiet("survivor", 1)).await.unwrap();
    assert!(renewed.amnesty > renewed.now, "{renewed:?}");
}

pub async fn a_rescue_after_a_silence_does_not_wait_for_the_dead(bench: &Bench) {
    let id = bench.queued().await;
    bench.run_for(&owner("one", 1), id, LEASE).await;
    let mut heart = bench.a.store.heart().await.unwrap();
    heart.renew(&quiet("one", 1)).await.unwrap();
    bench.sleep(LEASE + 3 * BEAT).await;
    assert_eq!(bench.a.store.bury(&owner("one", 2)).await.unwrap(), 0, "its lease has ended");
    heart.renew(&quiet("one", 2)).await.unwrap();
    assert_eq!(bench.b.store.rescue(10, LONG).await.unwrap().runnable[0].id, id, "nobody else was there");
}

pub async fn nobody_is_taken_back_before_anybody_renewed(bench: &Bench) {
    let id = bench.queued().await;
    bench.run_for(&owner("other", 1), id, 1).await;
    bench.sleep(10).await;
    assert_eq!(bench.b.store.rescue(10, LONG).await.unwrap().runnable, []);
    assert_eq!(bench.state(id).await, State::Active);
    assert_eq!(bench.rescue(10).await.runnable[0].id, id);
}

pub async fn a_rescue_after_a_standstill_waits_for_a_renewal(bench: &Bench) {
    let id = silence(bench).await;
    assert_eq!(bench.b.store.rescue(10, BEAT).await.unwrap().runnable, [], "whoever renews first may know better");
    assert_eq!(bench.state(id).await, State::Active);
    let renewed = bench.a.store.heart().await.unwrap().renew(&quiet("survivor", 1)).await.unwrap();
    assert!(renewed.amnesty > renewed.now, "all stood still: {renewed:?}");
    assert_eq!(bench.b.store.rescue(10, LONG).await.unwrap().runnable, []);
    assert_eq!(bench.state(id).await, State::Active);
}

pub async fn u07_u08_what_an_attempt_reported_is_kept_beside_the_next_ones(bench: &Bench) {
    let mut job = bench.job();
    job.admission.max_retries = -1;
    let id = bench.accept(job).await;
    let load = async || bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    let attempts = limits::PAST_REPORTS + 3;
    for attempt in 1..=attempts {
        let fence = bench.run(id).await;
        // The second one says nothing.
        if attempt != 2 {
            let report = said(u64::from(attempt), "1");
            assert_eq!(bench.a.store.report(vec![(id, fence, report)]).await.unwrap(), [true]);
        }
        bench.finish(id, fence, failed(0)).await;
    }
    let snapshot = load().await;
    let last = u64::from(attempts);
    assert_eq!((snapshot.log[0].text.clone(), snapshot.progress), (format!("line {last}"), said(last, "").progress));
    // The last one's is in its own place; of those before it the newest are kept, as many as the bound says.
    let kept: Vec<u32> = snapshot.past.keys().copied().collect();
    assert_eq!(kept, (3..attempts).collect::<Vec<_>>());
    for (number, report) in snapshot.past {
        assert_eq!(report.progress, said(number.into(), "").progress);
        assert_eq!((report.log.len(), report.log[0].text.clone()), (1, format!("line {number}")));
    }
    bench.remove(id).await;
    bench.remove(id).await;
    assert!(bench.b.store.load(vec![id]).await.unwrap()[0].is_none());
}

pub async fn u08_of_an_earlier_log_the_end_is_kept(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let report = |lines: Vec<String>| Report {
        log: lines.into_iter().map(|line| ("info".to_owned(), line)).collect(),
        ..Report::default()
    };
    let many = (0..limits::PAST_LOG_LINES + 9).map(|n| format!("line {n}")).collect();
    assert_eq!(bench.a.store.report(vec![(id, fence, report(many))]).await.unwrap(), [true]);
    bench.finish(id, fence, failed(0)).await;
    let fence = bench.run(id).await;
    let large = (0..9).map(|n| format!("{n}{}", "x".repeat(limits::LOG_LINE_BYTES - 100))).collect();
    assert_eq!(bench.a.store.report(vec![(id, fence, report(large))]).await.unwrap(), [true]);
    bench.finish(id, fence, failed(0)).await;
    bench.run(id).await;
    let past = bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap().past;
    assert_eq!((past[&1].log.len(), past[&1].log[0].text.as_str()), (limits::PAST_LOG_LINES, "line 9"));
    assert_eq!((past[&2].log.len(), past[&2].log[0].text.as_bytes()[0]), (4, b'5'), "no more than fit");
}

pub async fn u08_pr_01_as_many_lines_are_kept_as_the_report_says_and_the_others_counted(bench: &Bench) {
    let lines = |from: usize| (from..from + 10).map(|n| ("info".to_owned(), format!("line {n}"))).collect::<Vec<_>>();
    for (keep, first, dropped) in [(Some(10), 10, 10 + 3), (Some(7), 13, 13 + 3), (None, 0, 3), (Some(9_999), 0, 3)] {
        let (id, fence) = bench.running().await;
        for from in [0, 10] {
            let report = Report { log: lines(from), keep, dropped: u64::from(from > 0) * 3, ..Report::default() };
            assert_eq!(bench.a.store.report(vec![(id, fence, report)]).await.unwrap(), [true]);
        }
        let snapshot = bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap();
        assert_eq!(snapshot.log.first().unwrap().text, format!("line {first}"), "{keep:?}");
        assert_eq!(
            (snapshot.log.last().unwrap().text.as_str(), snapshot.log_dropped),
            ("line 19", dropped),
            "{keep:?}"
        );
        bench.finish(id, fence, failed(0)).await;
        bench.run(id).await;
        assert_eq!(bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap().log_dropped, 0, "of each attempt");
    }
}

pub async fn u07_u08_whoever_follows_a_job_hears_of_every_change(bench: &Bench) {
    let id = bench.queued().await;
    let mut nudges = bench.b.store.nudges();
    assert_eq!(bench.b.store.follow(id).await.unwrap(), Some(State::Queued));
    assert_eq!(bench.b.store.follow(bench.a.world.job_id(None)).await.unwrap(), None);
    let mut heard = async |expected: Nudge| {
        let hearing = async { while nudges.recv().await.unwrap() != expected {} };
        bench.within(&format!("{expected:?}"), hearing).await;
    };
    let fence = bench.run(id).await;
    heard(Nudge::Changed(id)).await;
    assert_eq!(bench.a.store.report(vec![(id, fence, said(1, "1"))]).await.unwrap(), [true]);
    heard(Nudge::Changed(id)).await;
    bench.finish(id, fence, failed(LONG)).await;
    heard(Nudge::Changed(id)).await;
    bench.stop(id).await;
    heard(Nudge::Ended(id)).await;
}
