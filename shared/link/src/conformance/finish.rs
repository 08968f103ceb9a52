//! How attempts end (T8 to T11), once and only under the current fence.

use super::bench::{Bench, LONG, answer, failed, finish, me, owner, permanent, succeeded};
use crate::error::NotAccepted;
use crate::store::{Accepted, Claim, Claimed, Finish, Finished, NewJob, Report};
use longshore_model::envelope::FileRef;
use longshore_model::id::{Fence, Generation, JobId};
use longshore_model::limits;
use longshore_model::record::{Reason, State};
use longshore_model::snapshot::Progress;
use longshore_model::transition::{Answer, FailureTerms, Verdict};

async fn commit(bench: &Bench, finish: Finish) -> Finished {
    bench.a.store.finish(vec![finish]).await.unwrap().remove(0)
}

pub async fn t8_success_keeps_result_outputs_and_last_report(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let output = FileRef { name: "out.png".into(), size: 3, sha256: "ab".repeat(32), inline: None };
    let report = Report {
        progress: Some(Progress { step: 4, steps: 4, eta: None, text: None }),
        properties: [("width".to_owned(), "640".to_owned())].into(),
        log: vec![("info".into(), "all done".into())],
        ..Report::default()
    };
    let verdict = Verdict::Succeeded { message: Some("fine".into()) };
    let whole = Finish {
        result: Some("{\"n\":1}".into()),
        outputs: vec![output.clone()],
        report: report.clone(),
        ..finish(id, fence, verdict)
    };
    let finished = commit(bench, whole).await;
    assert_eq!(answer(&finished), &Answer::Moved { state: State::Succeeded });
    let snapshot = bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!((snapshot.result.as_deref(), snapshot.outputs), (Some("{\"n\":1}"), vec![output]));
    assert_eq!((snapshot.progress, snapshot.properties), (report.progress, report.properties));
    assert_eq!((snapshot.log[0].level.as_str(), snapshot.log[0].text.as_str()), ("info", "all done"));
    let record = snapshot.record;
    assert_eq!((record.state, record.reason, record.message.as_deref()), (State::Succeeded, None, Some("fine")));
    assert_eq!((record.finished, record.lease, record.owner), (Some(record.since), None, Some(me())));
    assert!(snapshot.attempts.is_empty(), "the record itself tells of the last one");
}

pub async fn t9_a_failure_waits_for_its_back_off(bench: &Bench) {
    let (id, fence) = bench.running().await;
    assert_eq!(bench.finish(id, fence, failed(LONG)).await, Answer::Moved { state: State::Retrying });
    let record = bench.record(id).await;
    assert_eq!((record.reason, record.failures), (Some(Reason::Failed), 1));
    assert_eq!((record.due, record.outbox, record.lease), (Some(record.since + LONG), None, None));
    assert_eq!(record.message.as_deref(), Some("no luck"));
    let past = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap().attempts.remove(0);
    assert_eq!((past.number, past.instance.as_str(), past.outcome.as_str()), (1, "me", "failed"));
    assert_eq!(
        (past.error.as_deref(), Some(past.started), past.ended),
        (Some("no luck"), record.started, record.since)
    );
}

pub async fn t9_a_failure_without_delay_is_queued_again(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let finished = commit(bench, finish(id, fence, failed(0))).await;
    let Finished::Known { answer, generation, follow_ups, .. } = finished else { panic!("{finished:?}") };
    assert_eq!((answer, generation), (Answer::Moved { state: State::Queued }, Generation(2)));
    assert!(follow_ups.is_empty());
    let record = bench.record(id).await;
    assert_eq!((record.generation, record.reason), (Generation(2), Some(Reason::Failed)));
    assert!(record.outbox.is_some(), "entering `queued` and entering the outbox are one");
}

pub async fn s02_n_retries_are_n_plus_one_executions(bench: &Bench) {
    for (retries, executions) in [(0, 1), (2, 3)] {
        let mut job = bench.job();
        job.admission.max_retries = retries;
        let id = bench.accept(job).await;
        for number in 1..=executions {
            let Claimed::Known(Answer::Run { fence, attempt, failures, .. }) =
                bench.claim_as(&me(), LONG, bench.claim(id)).await
            else {
                panic!("execution {number} of {executions}")
            };
            assert_eq!((attempt, failures), (number, number - 1));
            let end = if number == executions { State::GivenUp } else { State::Queued };
            assert_eq!(bench.finish(id, fence, failed(0)).await, Answer::Moved { state: end });
        }
        assert_eq!(bench.record(id).await.reason, Some(Reason::RetriesExhausted));
    }
}

pub async fn s02_minus_one_retries_without_end(bench: &Bench) {
    let mut job = bench.job();
    job.admission.max_retries = -1;
    let id = bench.accept(job).await;
    for _ in 0..60 {
        let fence = bench.run(id).await;
        assert_eq!(bench.finish(id, fence, failed(0)).await, Answer::Moved { state: State::Queued });
    }
    let snapshot = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!(snapshot.record.failures, 60);
    let (first, last) = (snapshot.attempts.first().unwrap(), snapshot.attempts.last().unwrap());
    assert_eq!((first.number, last.number), (11, 60), "the newest attempts are kept");
}

pub async fn t10_a_permanent_error_ends_the_job(bench: &Bench) {
    for reason in [Reason::Permanent, Reason::Panicked, Reason::UnreadablePayload, Reason::BadResult] {
        let (id, fence) = bench.running().await;
        let verdict = Verdict::Fatal { reason, error: "no use".into() };
        assert_eq!(bench.finish(id, fence, verdict).await, Answer::Moved { state: State::Error });
        let record = bench.record(id).await;
        assert_eq!((record.reason, record.failures, record.message.as_deref()), (Some(reason), 0, Some("no use")));
    }
}

pub async fn t11_a_release_spends_no_attempt(bench: &Bench) {
    for (reason, delay_ms, state) in
        [(Reason::Interrupted, 0, State::Queued), (Reason::Snoozed, LONG, State::Scheduled)]
    {
        let (id, fence) = bench.running().await;
        let verdict = Verdict::Released { delay_ms, reason, message: "later".into() };
        assert_eq!(bench.finish(id, fence, verdict).await, Answer::Moved { state });
        let record = bench.record(id).await;
        assert_eq!((record.reason, record.failures, record.crashes), (Some(reason), 0, 0));
        assert_eq!(record.outbox.is_some(), state == State::Queued);
        assert_eq!(record.due.is_some(), state == State::Scheduled);
    }
}

pub async fn a_repeated_finish_is_answered_already(bench: &Bench) {
    for (verdict, state) in [
        (succeeded(), State::Succeeded),
        (failed(0), State::Queued),
        (failed(LONG), State::Retrying),
        (permanent(), State::Error),
    ] {
        let (id, fence) = bench.running().await;
        let whole = Finish { result: None, ..finish(id, fence, verdict) };
        commit(bench, whole.clone()).await;
        let record = bench.record(id).await;
        bench.sleep(5).await;
        let again = commit(bench, whole).await;
        assert_eq!(answer(&again), &Answer::Already { state });
        assert_eq!(bench.record(id).await, record);
    }
}

pub async fn a_finish_after_a_rescue_is_stale_and_changes_nothing(bench: &Bench) {
    let id = bench.queued().await;
    let fence = bench.run_for(&me(), id, 1).await;
    bench.sleep(10).await;
    assert_eq!(bench.rescue(10).await.runnable.len(), 1);
    let late = Finish {
        result: Some("1".into()),
        report: Report { log: vec![("info".into(), "late".into())], ..Report::default() },
        follow_ups: vec![bench.job()],
        ..finish(id, fence, succeeded())
    };
    let follow_up = late.follow_ups[0].admission.id;
    assert_eq!(answer(&commit(bench, late.clone()).await), &Answer::Stale { state: State::Queued });
    bench.run_for(&owner("other", 1), id, LONG).await;
    assert_eq!(answer(&commit(bench, late).await), &Answer::Stale { state: State::Active });
    let snapshot = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!((snapshot.result, snapshot.log.len()), (None, 0));
    assert_eq!(bench.maybe(follow_up).await, None);
}

pub async fn a_finish_after_a_removal_is_stale(bench: &Bench) {
    let (id, fence) = bench.running().await;
    bench.remove(id).await;
    assert_eq!(bench.finish(id, fence, succeeded()).await, Answer::Stale { state: State::Dropped });
    assert_eq!(bench.state(id).await, State::Dropped);
}

pub async fn a_finish_without_a_record_is_missing(bench: &Bench) {
    let unknown = bench.a.world.job_id(None);
    assert_eq!(commit(bench, finish(unknown, Fence(1), succeeded())).await, Finished::Missing);
}

fn follow_ups(finished: &Finished) -> &[Result<Accepted, NotAccepted>] {
    match finished {
        Finished::Known { follow_ups, .. } => follow_ups,
        other => panic!("expected an answer: {other:?}"),
    }
}

fn child(bench: &Bench, parent: JobId, index: u32) -> NewJob {
    let mut job = bench.job_on("test/child");
    job.admission.id = parent.follow_up(index);
    job
}

pub async fn follow_ups_are_sent_exactly_once(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let whole = Finish { follow_ups: vec![child(bench, id, 0), child(bench, id, 1)], ..finish(id, fence, succeeded()) };
    let first = commit(bench, whole.clone()).await;
    assert!(follow_ups(&first).iter().all(|answer| !answer.as_ref().unwrap().existed));
    for index in 0..2 {
        let record = bench.record(id.follow_up(index)).await;
        assert_eq!((record.state, record.generation), (State::Queued, Generation(1)));
        assert!(record.outbox.is_some());
    }
    // One of them runs meanwhile: the repeat must not disturb it.
    let running = bench.run(id.follow_up(0)).await;
    let again = commit(bench, whole).await;
    assert_eq!(answer(&again), &Answer::Already { state: State::Succeeded });
    assert!(follow_ups(&again).iter().all(|answer| answer.as_ref().unwrap().existed));
    assert_eq!(bench.record(id.follow_up(0)).await.fence, running);
}

pub async fn follow_ups_of_a_failure_are_not_sent(bench: &Bench) {
    for verdict in [failed(0), permanent()] {
        let (id, fence) = bench.running().await;
        let whole = Finish { follow_ups: vec![child(bench, id, 0)], ..finish(id, fence, verdict) };
        for _ in 0..2 {
            assert!(follow_ups(&commit(bench, whole.clone()).await).is_empty());
        }
        assert_eq!(bench.maybe(id.follow_up(0)).await, None);
    }
}

pub async fn a_follow_up_that_is_refused_does_not_hold_up_its_siblings(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let mut taken = child(bench, id, 0);
    taken.admission.topic = super::bench::topic("test/other");
    bench.accept(taken).await;
    let whole = Finish { follow_ups: vec![child(bench, id, 0), child(bench, id, 1)], ..finish(id, fence, succeeded()) };
    let finished = commit(bench, whole).await;
    assert_eq!(answer(&finished), &Answer::Moved { state: State::Succeeded });
    assert_eq!(follow_ups(&finished)[0], Err(NotAccepted::IdTaken(id.follow_up(0))));
    assert_eq!(follow_ups(&finished)[1].as_ref().unwrap().state, State::Queued);
    let claim = Claim { generation: Generation(1), ..bench.claim(id.follow_up(1)) };
    assert!(matches!(bench.claim_as(&me(), LONG, claim).await, Claimed::Known(Answer::Run { .. })));
}

fn ruled(delay_ms: u64, kind: &str, retries: Option<i32>, retry_for_ms: Option<u64>) -> Verdict {
    let terms = FailureTerms { kind: Some(kind.into()), retries, retry_for_ms };
    Verdict::Failed { delay_ms, error: "no luck".into(), terms }
}

pub async fn s02_a_kind_with_retries_of_its_own_is_counted_by_itself(bench: &Bench) {
    let id = bench.queued().await;
    let mut counts = Vec::new();
    for (n, kind) in ["busy", "odd", "busy", "slow"].into_iter().enumerate() {
        let claim = bench.claim(id);
        let Claimed::Known(Answer::Run { fence, kinds, failures, .. }) = bench.claim_as(&me(), LONG, claim).await
        else {
            panic!("attempt {n} should run")
        };
        counts.push((kinds.of("busy"), kinds.total(), failures));
        let retries = (kind != "odd").then_some(2);
        assert_eq!(
            bench.finish(id, fence, ruled(0, kind, retries, None)).await,
            Answer::Moved { state: State::Queued }
        );
    }
    assert_eq!(counts, [(0, 0, 0), (1, 1, 0), (1, 1, 1), (2, 2, 1)]);
    let record = bench.record(id).await;
    assert_eq!(
        (record.failures, record.kinds.of("busy"), record.kinds.of("slow"), record.all_failures()),
        (1, 2, 1, 4)
    );
    let fence = bench.run(id).await;
    let end = bench.finish(id, fence, ruled(LONG, "busy", Some(2), None)).await;
    assert_eq!(end, Answer::Moved { state: State::GivenUp });
    let snapshot = bench.b.store.load(vec![id]).await.unwrap().remove(0).unwrap();
    assert_eq!(snapshot.record.reason, Some(Reason::KindRetriesExhausted));
    let kinds: Vec<_> = snapshot.attempts.iter().map(|past| past.kind.as_deref().unwrap()).collect();
    assert_eq!(kinds, ["busy", "odd", "busy", "slow", "busy"]);
}

pub async fn s02_no_more_kinds_are_counted_than_the_bound(bench: &Bench) {
    let mut job = bench.job();
    job.admission.max_retries = -1;
    let id = bench.accept(job).await;
    for n in 0..limits::KINDS + 2 {
        let fence = bench.run(id).await;
        bench.finish(id, fence, ruled(0, &format!("kind-{n}"), Some(-1), None)).await;
    }
    let record = bench.record(id).await;
    assert_eq!(
        (record.kinds.total() as usize, record.failures),
        (limits::KINDS, 2),
        "the others are charged to the job"
    );
}

pub async fn s02_what_would_begin_after_the_time_for_retries_is_given_up(bench: &Bench) {
    let (id, fence) = bench.running().await;
    let started = bench.record(id).await.started.unwrap();
    assert_eq!(bench.finish(id, fence, ruled(0, "x", None, Some(LONG))).await, Answer::Moved { state: State::Queued });
    assert_eq!(bench.record(id).await.retry_until, Some(started + LONG), "from the start of the first that failed");
    let fence = bench.run(id).await;
    let end = bench.finish(id, fence, ruled(2 * LONG, "x", None, Some(3 * LONG))).await;
    assert_eq!(end, Answer::Moved { state: State::GivenUp }, "what was said first holds");
    assert_eq!(bench.record(id).await.reason, Some(Reason::RetryTimeOver));
}

pub async fn s02_a_claim_after_the_time_for_retries_gives_the_job_up(bench: &Bench) {
    let (id, fence) = bench.running().await;
    assert_eq!(bench.finish(id, fence, ruled(0, "x", None, Some(300))).await, Answer::Moved { state: State::Queued });
    bench.sleep(350).await;
    let claimed = bench.claim_as(&me(), LONG, bench.claim(id)).await;
    assert_eq!(claimed, Claimed::Known(Answer::Ended { state: State::GivenUp }));
    let record = bench.record(id).await;
    assert_eq!((record.reason, record.message.as_deref()), (Some(Reason::RetryTimeOver), Some("no luck")));
    assert_eq!((record.attempts, record.finished), (1, Some(record.since)));
}
