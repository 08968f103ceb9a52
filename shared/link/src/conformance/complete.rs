//! An attempt is ended by its token (S07): once, from anywhere, and by nothing but the token.

use super::bench::{Bench, LONG, failed, finish, me, permanent, succeeded};
use crate::store::{Claim, Claimed, Complete, Completed, Nudge};
use longshore_model::id::{Fence, JobId};
use longshore_model::record::{Reason, State};
use longshore_model::token::Token;
use longshore_model::transition::{Answer, Verdict};
use std::collections::BTreeMap;

/// A job that runs, and the token of its attempt.
async fn given(bench: &Bench) -> (JobId, Token) {
    given_for(bench, LONG).await
}

/// A job that runs with a lease of so many milliseconds, and the token of its attempt.
async fn given_for(bench: &Bench, lease_ms: u64) -> (JobId, Token) {
    let id = bench.queued().await;
    let claim = Claim { nonce: "secret".into(), ..bench.claim(id) };
    let Claimed::Known(Answer::Run { fence, attempt, .. }) = bench.claim_as(&me(), lease_ms, claim).await else {
        panic!("{id} should run")
    };
    (id, Token { id, attempt, fence, delay_ms: 0, retry_for_ms: None, kinds: BTreeMap::new(), nonce: "secret".into() })
}

fn with(token: &Token, mark: &str, verdict: Verdict) -> Complete {
    let result = matches!(verdict, Verdict::Succeeded { .. }).then(|| "[7]".to_owned());
    Complete { token: token.clone(), mark: mark.into(), verdict, result }
}

/// By another process than the one that runs it.
async fn complete(bench: &Bench, completion: Complete) -> Completed {
    bench.b.store.complete(completion).await.unwrap()
}

fn known(answer: Answer) -> Completed {
    Completed::Known(answer)
}

pub async fn s07_a_token_ends_its_attempt_once_with_any_verdict(bench: &Bench) {
    for (verdict, state, reason) in [
        (succeeded(), State::Succeeded, None),
        (failed(0), State::Queued, Some(Reason::Failed)),
        (failed(LONG), State::Retrying, Some(Reason::Failed)),
        (permanent(), State::Error, Some(Reason::Permanent)),
    ] {
        let (id, token) = given(bench).await;
        let first = with(&token, "one", verdict.clone());
        assert_eq!(complete(bench, first.clone()).await, known(Answer::Moved { state }));
        let record = bench.record(id).await;
        assert_eq!((record.state, record.reason, record.lease), (state, reason, None));
        let snapshot = bench.a.store.load(vec![id]).await.unwrap().remove(0).unwrap();
        assert_eq!(snapshot.result.as_deref(), (state == State::Succeeded).then_some("[7]"));
        assert_eq!(snapshot.attempts.len(), usize::from(state != State::Succeeded));
        // A repeat whose first answer was lost, and somebody else who comes too late.
        assert_eq!(complete(bench, first).await, known(Answer::Already { state }));
        assert_eq!(complete(bench, with(&token, "two", permanent())).await, known(Answer::Stale { state }));
        assert_eq!(bench.record(id).await, record, "neither changes anything");
    }
}

pub async fn s07_only_the_token_of_the_current_attempt_ends_it(bench: &Bench) {
    let (id, token) = given(bench).await;
    let forged = Token { nonce: "guessed".into(), ..token.clone() };
    assert_eq!(complete(bench, with(&forged, "one", succeeded())).await, known(Answer::Nothing));
    let newer = Token { fence: Fence(token.fence.0 + 1), ..token.clone() };
    assert_eq!(complete(bench, with(&newer, "one", succeeded())).await, Completed::Behind);
    let older = Token { fence: Fence(token.fence.0 - 1), ..token.clone() };
    assert_eq!(complete(bench, with(&older, "one", succeeded())).await, known(Answer::Stale { state: State::Active }));
    let other = Token { id: bench.a.world.job_id(None), ..token.clone() };
    assert_eq!(complete(bench, with(&other, "one", succeeded())).await, Completed::Missing);
    assert_eq!(bench.state(id).await, State::Active);
    // What the instance itself said first counts.
    assert_eq!(bench.finish(id, token.fence, failed(0)).await, Answer::Moved { state: State::Queued });
    assert_eq!(complete(bench, with(&token, "one", succeeded())).await, known(Answer::Stale { state: State::Queued }));
    bench.run(id).await;
    assert_eq!(complete(bench, with(&token, "one", succeeded())).await, known(Answer::Stale { state: State::Active }));
}

pub async fn s07_a_token_of_an_attempt_that_was_taken_away_ends_nothing(bench: &Bench) {
    let (id, token) = given_for(bench, 1).await;
    bench.sleep(10).await;
    assert_eq!(bench.rescue(10).await.runnable.len(), 1);
    assert_eq!(complete(bench, with(&token, "one", succeeded())).await, known(Answer::Stale { state: State::Queued }));
    bench.remove(id).await;
    assert_eq!(complete(bench, with(&token, "one", succeeded())).await, known(Answer::Stale { state: State::Dropped }));
}

pub async fn s07_a_failure_by_token_after_a_stop_is_a_stop(bench: &Bench) {
    let (id, token) = given(bench).await;
    bench.stop(id).await;
    let answer = complete(bench, with(&token, "one", failed(LONG))).await;
    assert_eq!(answer, known(Answer::Moved { state: State::Stopped }));
    assert_eq!(bench.record(id).await.reason, Some(Reason::StopRequested));
}

pub async fn s07_the_instance_hears_of_it_and_its_own_end_changes_nothing(bench: &Bench) {
    let (id, token) = given(bench).await;
    let mut nudges = bench.a.store.nudges();
    complete(bench, with(&token, "one", succeeded())).await;
    let hears = async { while nudges.recv().await.unwrap() != Nudge::Stop(id) {} };
    bench.within("the instance is told", hears).await;
    let record = bench.record(id).await;
    let late = finish(id, token.fence, failed(0));
    let finished = bench.a.store.finish(vec![late]).await.unwrap().remove(0);
    assert_eq!(super::bench::answer(&finished), &Answer::Already { state: State::Succeeded });
    assert_eq!(bench.record(id).await, record);
}
