//! Whom a rescue blames for the end of a process (T12), and how suspects are kept from others.

use super::bench::{Bench, LONG, me, owner};
use crate::store::{Claim, Claimed, Renew, Report};
use longshore_model::id::{JobId, Owner};
use longshore_model::limits;
use longshore_model::record::{Crash, PastAttempt, Reason, State};
use longshore_model::snapshot::Progress;
use longshore_model::transition::Answer;

/// These jobs run in one process, which goes away. All of them are taken back.
async fn die_together(bench: &Bench, owner: &Owner, ids: &[JobId]) {
    for id in ids {
        bench.run_for(owner, *id, 1).await;
    }
    bench.sleep(10).await;
    bench.rescue(100).await;
}

/// A process that nobody heard of before.
fn fresh(bench: &Bench) -> Owner {
    owner("dead", bench.a.world.random.below(1_000_000_000))
}

async fn past(bench: &Bench, id: JobId) -> Vec<PastAttempt> {
    bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap().attempts
}

async fn dossier(bench: &Bench, id: JobId) -> Vec<Crash> {
    past(bench, id).await.into_iter().filter_map(|past| past.crash).collect()
}

pub async fn a_job_that_crashed_twice_is_run_by_who_runs_nothing_else(bench: &Bench) {
    let (id, other) = (bench.queued().await, bench.queued().await);
    for crashes in 1..=2 {
        let beside = Claim { alone: false, ..bench.claim(id) };
        assert!(matches!(bench.claim_as(&me(), 1, beside).await, Claimed::Known(Answer::Run { .. })), "{crashes}");
        bench.sleep(10).await;
        bench.rescue(10).await;
    }
    let before = bench.record(id).await;
    assert_eq!(before.crashes, limits::SUSPECT_CRASHES);
    let claims = vec![Claim { alone: false, ..bench.claim(id) }, Claim { alone: false, ..bench.claim(other) }];
    let answers = bench.a.store.claim(&me(), LONG, claims).await.unwrap();
    assert_eq!(answers[0], Claimed::Known(Answer::Elsewhere { crashes: 2 }));
    assert!(matches!(answers[1], Claimed::Known(Answer::Run { .. })), "{:?}", answers[1]);
    assert_eq!(bench.record(id).await, before, "nothing changed");
    assert!(matches!(
        bench.claim_as(&me(), LONG, bench.claim(id)).await,
        Claimed::Known(Answer::Run { attempt: 3, crashes: 2, .. })
    ));
}

pub async fn who_dies_alone_for_the_third_time_is_poison_and_has_a_dossier(bench: &Bench) {
    let (id, innocent) = (bench.queued().await, bench.queued().await);
    let owners = [fresh(bench), fresh(bench), fresh(bench)];
    die_together(bench, &owners[0], &[innocent, id]).await;
    die_together(bench, &owners[1], &[id, innocent]).await;
    let fence = bench.run_for(&owners[2], id, 200).await;
    let progress = Progress { step: 3, steps: 7, eta: None, text: Some("nearly".into()) };
    let report = Report { progress: Some(progress.clone()), ..Report::default() };
    bench.a.store.report(vec![(id, fence, report)]).await.unwrap();
    let mut ended = 0;
    bench
        .eventually("its lease ends", async || {
            ended += bench.rescue(10).await.ended;
            ended > 0
        })
        .await;
    let record = bench.record(id).await;
    assert_eq!((record.state, record.reason, record.crashes), (State::GivenUp, Some(Reason::Poison), 3));
    assert!(record.message.unwrap().contains("nothing else ran there"));
    let together = |owner: &Owner| Crash {
        incarnation: owner.incarnation.0.clone(),
        alone: false,
        beside: 1,
        neighbours: vec![innocent],
        progress: None,
    };
    let alone =
        Crash { alone: true, beside: 0, neighbours: Vec::new(), progress: Some(progress), ..together(&owners[2]) };
    assert_eq!(dossier(bench, id).await, [together(&owners[0]), together(&owners[1]), alone]);
    let instances: Vec<_> = past(bench, id).await.into_iter().map(|past| (past.number, past.instance)).collect();
    assert_eq!(instances, (1..=3).map(|number| (number, "dead".to_owned())).collect::<Vec<_>>());
    assert_eq!((bench.state(innocent).await, bench.record(innocent).await.crashes), (State::Queued, 2));
}

pub async fn who_always_had_company_is_given_up_at_the_tenth_crash_only(bench: &Bench) {
    let ids = [bench.queued().await, bench.queued().await];
    for crash in 1..=limits::SHARED_CRASHES {
        for id in ids {
            assert_eq!(bench.state(id).await, State::Queued, "before crash {crash}");
        }
        die_together(bench, &fresh(bench), &ids).await;
    }
    for id in ids {
        let record = bench.record(id).await;
        assert_eq!((record.state, record.reason), (State::GivenUp, Some(Reason::CrashesExhausted)));
    }
}

pub async fn company_that_was_taken_back_before_or_lives_longer_counts(bench: &Bench) {
    let mut early = bench.job();
    let mut late = bench.job();
    (early.admission.max_crashes, late.admission.max_crashes) = (1, 1);
    let (early, late) = (bench.accept(early).await, bench.accept(late).await);
    let both = fresh(bench);
    bench.run_for(&both, early, 1).await;
    bench.run_for(&both, late, 150).await;
    bench.sleep(10).await;
    bench.rescue(10).await;
    assert_eq!(bench.state(early).await, State::Queued, "another attempt of its process has not ended");
    bench
        .eventually("the other lease ends", async || {
            bench.rescue(10).await;
            bench.state(late).await != State::Active
        })
        .await;
    assert_eq!(bench.state(late).await, State::Queued, "another attempt was taken from its process");
    assert_eq!(dossier(bench, late).await[0].neighbours, [early]);
}

/// A job whose first crash ends it if it was alone.
async fn brittle(bench: &Bench) -> JobId {
    let mut job = bench.job();
    job.admission.max_crashes = 1;
    bench.accept(job).await
}

/// The owner renews, and has no attempt that it knows of.
async fn renews(bench: &Bench, owner: &Owner) {
    let renew = Renew { owner: owner.clone(), lease_ms: LONG, beat_ms: LONG, running: Vec::new(), known: None };
    bench.a.store.heart().await.unwrap().renew(&renew).await.unwrap();
}

pub async fn an_attempt_that_a_living_process_forgot_is_not_blamed(bench: &Bench) {
    let (id, owner) = (brittle(bench).await, fresh(bench));
    bench.run_for(&owner, id, 1).await;
    renews(bench, &owner).await;
    bench.sleep(10).await;
    bench.rescue(10).await;
    let record = bench.record(id).await;
    assert_eq!((record.state, record.crashes), (State::Queued, 1), "its process lives on");
    assert!(!dossier(bench, id).await[0].alone);
}

pub async fn a_process_that_is_proven_dead_is_silent_at_once(bench: &Bench) {
    let (id, dead, alive) = (brittle(bench).await, owner("one", 1), owner("one", 2));
    bench.run_for(&dead, id, LONG).await;
    renews(bench, &dead).await;
    assert_eq!(bench.a.store.bury(&alive).await.unwrap(), 1);
    bench.sleep(2).await;
    bench.rescue(10).await;
    assert_eq!(bench.record(id).await.reason, Some(Reason::Poison));
}
