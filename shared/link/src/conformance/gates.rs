//! Who passes the gates, and who waits: orders, limits, pauses (T14).

use super::bench::{Bench, LONG, answer, failed, finish, me, owner, permanent, succeeded};
use crate::error::NotAccepted;
use crate::store::{Claimed, Controlled, Finished, LimitState, Outgoing, PauseOrder};
use longshore_model::gate::{GateName, LimitPolicy, Over, Pausable, Rate};
use longshore_model::id::JobId;
use longshore_model::limits;
use longshore_model::priority::Priority;
use longshore_model::record::{Expiry, Reason, Start, State};
use longshore_model::transition::{Answer, Verdict};

const QUEUE: &str = "main";

fn at_once(max: u32) -> LimitPolicy {
    LimitPolicy { max: Some(max), ..LimitPolicy::default() }
}

async fn ordered(bench: &Bench, key: &str) -> JobId {
    let mut job = bench.job();
    job.admission.gates.order = Some(GateName::order(QUEUE, key));
    bench.accept(job).await
}

async fn limited(bench: &Bench, limit: &str, key: &str, turn: &str) -> JobId {
    let mut job = bench.job();
    job.admission.gates.limits = vec![GateName::limit(limit, key)];
    job.admission.gates.turn = turn.to_owned();
    bench.accept(job).await
}

async fn set(bench: &Bench, limit: &str, policy: &LimitPolicy) {
    bench.b.store.set_limit(limit, Some(policy)).await.unwrap();
    look(bench).await;
}

/// What promoters do until nothing is due.
async fn look(bench: &Bench) {
    while bench.a.store.promote(100).await.unwrap().more {}
}

async fn states(bench: &Bench, ids: &[JobId]) -> Vec<State> {
    let records = bench.a.store.records(ids.to_vec()).await.unwrap();
    records.into_iter().map(|record| record.unwrap().state).collect()
}

async fn end(bench: &Bench, id: JobId) {
    end_and_take(bench, id).await;
}

/// Ends a job, and answers those that were let through.
async fn end_and_take(bench: &Bench, id: JobId) -> Vec<Outgoing> {
    let fence = bench.run(id).await;
    let mut finished = bench.a.store.finish(vec![finish(id, fence, succeeded())]).await.unwrap().remove(0);
    assert_eq!(*answer(&finished), Answer::Moved { state: State::Succeeded });
    finished.take_let_through()
}

fn order() -> PauseOrder {
    PauseOrder { by: "an operator".into(), why: "a test".into(), until: None }
}

async fn pause(bench: &Bench, what: &Pausable, order: Option<&PauseOrder>) -> bool {
    let before = bench.b.store.set_pause(what, order).await.unwrap();
    look(bench).await;
    before
}

pub async fn q02_an_order_lets_one_through_at_a_time_in_order(bench: &Bench) {
    let ids = [ordered(bench, "k").await, ordered(bench, "k").await, ordered(bench, "k").await];
    let other = ordered(bench, "l").await;
    assert_eq!(states(bench, &ids).await, [State::Queued, State::Blocked, State::Blocked]);
    assert_eq!(bench.state(other).await, State::Queued, "keys are apart");
    let blocked = bench.record(ids[1]).await;
    assert_eq!((blocked.reason, blocked.outbox), (Some(Reason::Order), None));
    assert_eq!(blocked.waits_at.unwrap().gate, GateName::order(QUEUE, "k"));
    end(bench, ids[0]).await;
    assert_eq!(states(bench, &ids).await, [State::Succeeded, State::Queued, State::Blocked]);
    let next = bench.record(ids[1]).await;
    assert!(next.outbox.is_some() && next.waits_at.is_none() && next.reason.is_none(), "{next:?}");
    end(bench, ids[1]).await;
    end(bench, ids[2]).await;
}

/// Whoever ends what others wait for publishes them at once, and has some time for that; who is let through by an
/// operator is for the relay.
pub async fn q02_who_is_let_through_is_handed_to_whoever_let_it_through(bench: &Bench) {
    let ids = [ordered(bench, "k").await, ordered(bench, "k").await, ordered(bench, "k").await];
    let others = [ordered(bench, "l").await, ordered(bench, "l").await];
    let taken = end_and_take(bench, ids[0]).await;
    let next = bench.record(ids[1]).await;
    let expected = Outgoing {
        id: ids[1],
        lane: next.lane(),
        generation: next.generation,
        fence: next.fence,
        created: next.created,
        envelope: bench.job().envelope,
    };
    assert_eq!(taken, [expected]);
    bench.remove(others[0]).await;
    let relayed: Vec<JobId> = bench.b.store.outbox(10, LONG).await.unwrap().into_iter().map(|out| out.id).collect();
    assert_eq!(relayed, [others[1]], "the relay leaves the first one alone");
    let fences = [bench.run(ids[1]).await, bench.run(others[1]).await];
    let both = vec![finish(ids[1], fences[0], succeeded()), finish(others[1], fences[1], succeeded())];
    let mut ended = bench.b.store.finish(both.clone()).await.unwrap();
    let taken: Vec<JobId> = ended.iter_mut().flat_map(Finished::take_let_through).map(|out| out.id).collect();
    assert_eq!(taken, [ids[2]], "once for all of a call");
    let again = bench.b.store.finish(both).await.unwrap().iter_mut().flat_map(Finished::take_let_through).count();
    assert_eq!(again, 0, "whoever repeats a call leaves it to the relay");
}

pub async fn q02_a_failing_head_holds_up_its_order_until_it_has_ended(bench: &Bench) {
    let ids = [ordered(bench, "k").await, ordered(bench, "k").await];
    let fence = bench.run(ids[0]).await;
    bench.finish(ids[0], fence, failed(20)).await;
    assert_eq!(states(bench, &ids).await, [State::Retrying, State::Blocked]);
    let third = ordered(bench, "k").await;
    bench.sleep(40).await;
    look(bench).await;
    assert_eq!(states(bench, &[ids[0], ids[1], third]).await, [State::Queued, State::Blocked, State::Blocked]);
    let fence = bench.run(ids[0]).await;
    let snooze = Verdict::Released { delay_ms: 20, reason: Reason::Snoozed, message: String::new() };
    bench.finish(ids[0], fence, snooze).await;
    assert_eq!(states(bench, &ids).await, [State::Scheduled, State::Blocked], "it keeps its order (G5, G6)");
    bench.sleep(40).await;
    look(bench).await;
    let fence = bench.run(ids[0]).await;
    bench.finish(ids[0], fence, permanent()).await;
    assert_eq!(states(bench, &ids).await, [State::Error, State::Queued]);
}

pub async fn a_delayed_job_takes_its_place_when_its_time_has_come(bench: &Bench) {
    let mut job = bench.job();
    job.admission.gates.order = Some(GateName::order(QUEUE, "k"));
    job.admission.start = Start::After(30);
    let late = bench.accept(job).await;
    let first = ordered(bench, "k").await;
    assert_eq!(states(bench, &[late, first]).await, [State::Scheduled, State::Queued]);
    bench.sleep(50).await;
    look(bench).await;
    assert_eq!(bench.state(late).await, State::Blocked);
    end(bench, first).await;
    assert_eq!(bench.state(late).await, State::Queued);
}

pub async fn who_leaves_a_line_makes_room_in_it(bench: &Bench) {
    let ids =
        [ordered(bench, "k").await, ordered(bench, "k").await, ordered(bench, "k").await, ordered(bench, "k").await];
    assert_eq!(bench.stop(ids[1]).await, Controlled::Known(Answer::Moved { state: State::Stopped }));
    assert_eq!(bench.remove(ids[0]).await, Controlled::Known(Answer::Moved { state: State::Dropped }));
    assert_eq!(states(bench, &ids[2..]).await, [State::Queued, State::Blocked]);
    assert_eq!(bench.remove(ids[3]).await, Controlled::Known(Answer::Moved { state: State::Dropped }));
    end(bench, ids[2]).await;
    let again = ordered(bench, "k").await;
    assert_eq!(bench.state(again).await, State::Queued, "the line is empty");
}

pub async fn a_blocked_job_that_comes_too_late_is_dropped(bench: &Bench) {
    let head = ordered(bench, "k").await;
    let mut job = bench.job();
    job.admission.gates.order = Some(GateName::order(QUEUE, "k"));
    job.admission.expires = Some(Expiry::After(20));
    let late = bench.accept(job).await;
    let last = ordered(bench, "k").await;
    bench.sleep(40).await;
    end(bench, head).await;
    let record = bench.record(late).await;
    assert_eq!((record.state, record.reason), (State::Dropped, Some(Reason::Expired)));
    assert_eq!(bench.state(last).await, State::Queued);
}

pub async fn a_crash_keeps_the_order_and_the_limit(bench: &Bench) {
    set(bench, "two", &at_once(1)).await;
    let mut job = bench.job();
    job.admission.gates.order = Some(GateName::order(QUEUE, "k"));
    job.admission.gates.limits = vec![GateName::limit("two", "")];
    let mut twin = bench.job();
    twin.admission.gates = job.admission.gates.clone();
    let (head, next) = (bench.accept(job).await, bench.accept(twin).await);
    bench.run_for(&owner("gone", 1), head, 1).await;
    bench.sleep(10).await;
    assert_eq!(bench.rescue(10).await.runnable.len(), 1);
    assert_eq!(states(bench, &[head, next]).await, [State::Queued, State::Blocked]);
    end(bench, head).await;
    assert_eq!(bench.state(next).await, State::Queued);
}

pub async fn q09_a_limit_is_never_exceeded_and_changes_while_jobs_wait(bench: &Bench) {
    set(bench, "lim", &at_once(2)).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(limited(bench, "lim", "", "").await);
    }
    let (q, b) = (State::Queued, State::Blocked);
    assert_eq!(states(bench, &ids).await, [q, q, b, b, b]);
    assert_eq!(bench.record(ids[2]).await.reason, Some(Reason::Limit));
    let fence = bench.run(ids[0]).await;
    assert_eq!(bench.state(ids[2]).await, b, "a claim frees nothing");
    bench.finish(ids[0], fence, failed(LONG)).await;
    assert_eq!(states(bench, &ids[1..]).await, [q, q, b, b], "a job that waits for a retry does not count");
    set(bench, "lim", &at_once(1)).await;
    end(bench, ids[1]).await;
    assert_eq!(states(bench, &ids[2..]).await, [q, b, b], "what passed stays, nobody follows");
    set(bench, "lim", &at_once(2)).await;
    assert_eq!(states(bench, &ids[2..]).await, [q, q, b]);
    bench.b.store.set_limit("lim", None).await.unwrap();
    look(bench).await;
    assert_eq!(states(bench, &ids[2..]).await, [q, q, q], "without a limit all may pass");
}

pub async fn q09_a_limit_counts_who_runs_when_it_is_set(bench: &Bench) {
    let ids = [limited(bench, "new", "", "").await, limited(bench, "new", "", "").await];
    let fence = bench.run(ids[0]).await;
    set(bench, "new", &at_once(1)).await;
    assert_eq!(bench.b.store.limits().await.unwrap()[0].shown[0].passed, 1, "what runs is counted");
    let later = limited(bench, "new", "", "").await;
    assert_eq!(bench.state(later).await, State::Blocked, "it does not run beside it");
    let claimed = bench.claim_as(&me(), LONG, bench.claim(ids[1])).await;
    assert!(matches!(claimed, Claimed::Known(Answer::Waiting { .. })), "nor does what was queued: {claimed:?}");
    bench.finish(ids[0], fence, succeeded()).await;
    let states = states(bench, &[later, ids[1]]).await;
    assert_eq!(states, [State::Queued, State::Blocked], "one at a time");
}

pub async fn an_order_is_no_limit_whatever_its_key_reads_like(bench: &Bench) {
    let mut job = bench.job();
    job.admission.gates.order = Some(GateName::order("mail", "new:x"));
    let id = bench.accept(job).await;
    bench.run(id).await;
    set(bench, "new", &at_once(1)).await;
    let other = limited(bench, "new", "x", "").await;
    assert_eq!(bench.state(other).await, State::Queued, "nobody is counted at the limit");
}

pub async fn places_that_are_freed_together_go_to_those_who_can_pass(bench: &Bench) {
    set(bench, "lim", &at_once(3)).await;
    set(bench, "other", &at_once(1)).await;
    limited(bench, "other", "", "").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(limited(bench, "lim", "", "").await);
    }
    let mut both = bench.job();
    both.admission.gates.limits = vec![GateName::limit("lim", ""), GateName::limit("other", "")];
    let both = bench.accept(both).await;
    let mut late = bench.job();
    late.admission.gates.limits = vec![GateName::limit("lim", "")];
    late.admission.expires = Some(Expiry::After(20));
    let late = bench.accept(late).await;
    let mut rest = Vec::new();
    for _ in 0..5 {
        rest.push(limited(bench, "lim", "", "").await);
    }
    bench.sleep(40).await;
    let mut ends = Vec::new();
    for id in held {
        ends.push(finish(id, bench.run(id).await, succeeded()));
    }
    let ended = bench.a.store.finish(ends).await.unwrap();
    assert!(ended.iter().all(|ended| *answer(ended) == Answer::Moved { state: State::Succeeded }), "{ended:?}");
    let (q, b) = (State::Queued, State::Blocked);
    assert_eq!(states(bench, &[both, late]).await, [b, State::Dropped], "one waits elsewhere, one came too late");
    assert_eq!(states(bench, &rest).await, [q, q, q, b, b]);
    for id in &rest[..3] {
        end(bench, *id).await;
    }
    assert_eq!(states(bench, &rest[3..]).await, [q, q]);
}

pub async fn limits_count_each_key_by_itself_and_are_shown(bench: &Bench) {
    set(bench, "per", &at_once(1)).await;
    let ids = [
        limited(bench, "per", "a", "").await,
        limited(bench, "per", "a", "").await,
        limited(bench, "per", "b", "").await,
    ];
    assert_eq!(states(bench, &ids).await, [State::Queued, State::Blocked, State::Queued]);
    let shown = bench.b.store.limits().await.unwrap();
    let [LimitState { name, policy, keys: 2, shown }] = shown.as_slice() else { panic!("{shown:?}") };
    assert_eq!((name.as_str(), policy), ("per", &at_once(1)));
    let uses: Vec<_> = shown.iter().map(|key| (key.key.as_str(), key.passed, key.waiting)).collect();
    assert_eq!(uses, [("a", 1, 1), ("b", 1, 0)]);
    end(bench, ids[0]).await;
    end(bench, ids[1]).await;
    end(bench, ids[2]).await;
    assert_eq!(bench.b.store.limits().await.unwrap()[0].keys, 0);
}

pub async fn turns_share_a_limit_whatever_their_number_of_jobs(bench: &Bench) {
    set(bench, "fair", &at_once(1)).await;
    let mut ids = Vec::new();
    for turn in ["many", "many", "many", "many", "few", "few"] {
        ids.push(limited(bench, "fair", "", turn).await);
    }
    let mut ran = Vec::new();
    while ran.len() < ids.len() {
        let queued: Vec<JobId> = futures_util::future::join_all(ids.iter().map(|id| bench.record(*id)))
            .await
            .into_iter()
            .filter(|record| record.state == State::Queued)
            .map(|record| record.id)
            .collect();
        let [id] = queued.as_slice() else { panic!("one at a time: {queued:?}") };
        ran.push(ids.iter().position(|other| other == id).unwrap());
        end(bench, *id).await;
    }
    assert_eq!(ran, [0, 1, 4, 2, 5, 3], "turn by turn, each in its order");
}

pub async fn a_job_takes_all_of_its_limits_or_none(bench: &Bench) {
    set(bench, "x", &at_once(1)).await;
    set(bench, "y", &at_once(1)).await;
    let y = limited(bench, "y", "", "").await;
    let mut both = bench.job();
    both.admission.gates.limits = vec![GateName::limit("x", ""), GateName::limit("y", "")];
    let both = bench.accept(both).await;
    let x = limited(bench, "x", "", "").await;
    assert_eq!(states(bench, &[y, both, x]).await, [State::Queued, State::Blocked, State::Queued], "x is free");
    end(bench, y).await;
    assert_eq!(bench.state(both).await, State::Blocked, "now x is taken");
    end(bench, x).await;
    assert_eq!(bench.state(both).await, State::Queued);
    let y = limited(bench, "y", "", "").await;
    assert_eq!(bench.state(y).await, State::Blocked);
}

pub async fn a_limit_can_refuse_or_replace_instead(bench: &Bench) {
    set(bench, "no", &LimitPolicy { over: Over::Refuse, ..at_once(1) }).await;
    let first = limited(bench, "no", "", "").await;
    let mut second = bench.job();
    second.admission.gates.limits = vec![GateName::limit("no", "")];
    let id = second.admission.id;
    let refused = bench.a.store.enqueue(vec![second.clone()]).await.unwrap().remove(0);
    assert_eq!(refused, Err(NotAccepted::OverLimit("no".into())));
    assert!(bench.maybe(id).await.is_none(), "nothing was stored");
    end(bench, first).await;
    assert_eq!(bench.enqueue(second).await.state, State::Queued);

    set(bench, "new", &LimitPolicy { over: Over::Replace, ..at_once(1) }).await;
    let runs = limited(bench, "new", "", "").await;
    let old = limited(bench, "new", "", "").await;
    let new = limited(bench, "new", "", "").await;
    assert_eq!(states(bench, &[runs, old, new]).await, [State::Queued, State::Dropped, State::Blocked]);
    assert_eq!(bench.record(old).await.reason, Some(Reason::Replaced));
    end(bench, runs).await;
    assert_eq!(bench.state(new).await, State::Queued);
}

pub async fn a_rate_lets_so_many_through_in_a_time(bench: &Bench) {
    let rate = Rate { count: 2, per_ms: 400 };
    set(bench, "rate", &LimitPolicy { rate: Some(rate), ..LimitPolicy::default() }).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(limited(bench, "rate", "", "").await);
    }
    let (q, b) = (State::Queued, State::Blocked);
    assert_eq!(states(bench, &ids).await, [q, q, b, b]);
    bench.sleep(250).await;
    look(bench).await;
    assert_eq!(states(bench, &ids).await, [q, q, b, b], "nobody has claimed those that passed");
    end(bench, ids[0]).await;
    assert_eq!(states(bench, &ids[1..]).await, [q, q, b], "the claim made room, and a token was there");
    end(bench, ids[1]).await;
    let next = bench.a.store.promote(10).await.unwrap();
    assert_eq!(states(bench, &ids[2..]).await, [q, b], "there is room, and no token yet");
    assert!(next.next.is_some_and(|at| at > next.now && at <= next.now + 200), "it is known when: {next:?}");
    bench.sleep(200).await;
    look(bench).await;
    assert_eq!(bench.state(ids[3]).await, q);
    assert_eq!(bench.record(ids[3]).await.attempts, 0, "waiting costs no attempt");
}

pub async fn q14_qs_01_a_pause_holds_what_comes_and_what_waits(bench: &Bench) {
    let queue = Pausable::Queue(QUEUE.into());
    let early = bench.queued().await;
    let running = bench.queued().await;
    let fence = bench.run(running).await;
    assert!(!pause(bench, &queue, Some(&order())).await);
    let late = bench.queued().await;
    assert_eq!(states(bench, &[early, late]).await, [State::Queued, State::Blocked]);
    let claimed = bench.claim_as(&me(), LONG, bench.claim(early)).await;
    assert_eq!(claimed, Claimed::Known(Answer::Waiting { state: State::Blocked, left_ms: None }));
    let record = bench.record(early).await;
    assert_eq!((record.state, record.reason, record.attempts), (State::Blocked, Some(Reason::Paused), 0));
    let moved = Answer::Moved { state: State::Blocked };
    assert_eq!(bench.finish(running, fence, failed(0)).await, moved, "what runs ends, and waits with the others");
    let pauses = bench.a.store.pauses().await.unwrap();
    assert_eq!((&pauses[0].what, &pauses[0].order, pauses[0].waiting), (&queue, &order(), 3));
    assert!(pause(bench, &queue, None).await);
    assert_eq!(states(bench, &[early, late, running]).await, [State::Queued; 3]);
    assert_eq!(bench.a.store.pauses().await.unwrap(), []);
}

pub async fn topics_and_keys_can_be_paused_and_a_pause_can_end_by_itself(bench: &Bench) {
    let until = Some(bench.a.store.ping().await.unwrap() + 200);
    pause(bench, &Pausable::Topic("test/other".into()), Some(&PauseOrder { until, ..order() })).await;
    pause(bench, &Pausable::Key { queue: QUEUE.into(), key: "k".into() }, Some(&order())).await;
    let ids = [
        bench.accept(bench.job_on("test/other")).await,
        bench.queued().await,
        ordered(bench, "k").await,
        ordered(bench, "l").await,
    ];
    let (q, b) = (State::Queued, State::Blocked);
    assert_eq!(states(bench, &ids).await, [b, q, b, q]);
    bench.sleep(220).await;
    look(bench).await;
    assert_eq!(states(bench, &ids).await, [q, q, b, q]);
}

pub async fn a_share_that_no_instance_claims_goes_to_jobs_of_other_topics(bench: &Bench) {
    set(bench, "share", &at_once(1)).await;
    let stuck = limited(bench, "share", "", "").await;
    let same = limited(bench, "share", "", "").await;
    bench.sleep(limits::GRANT_MS + 100).await;
    look(bench).await;
    assert_eq!(states(bench, &[stuck, same]).await, [State::Queued, State::Blocked], "another would wait as well");
    bench.stop(same).await;
    let mut job = bench.job_on("test/other");
    job.admission.gates.limits = vec![GateName::limit("share", "")];
    let other = bench.accept(job).await;
    look(bench).await;
    bench.sleep(limits::GRANT_MS + 100).await;
    look(bench).await;
    assert_eq!(states(bench, &[stuck, other]).await, [State::Blocked, State::Queued]);
    end(bench, other).await;
    assert_eq!(bench.state(stuck).await, State::Queued);
}

pub async fn more_than_one_call_releases_follow_by_promotions(bench: &Bench) {
    let queue = Pausable::Queue(QUEUE.into());
    pause(bench, &queue, Some(&order())).await;
    let jobs: Vec<_> = (0..limits::RELEASES + 20).map(|_| bench.job()).collect();
    let ids: Vec<JobId> = jobs.iter().map(|job| job.admission.id).collect();
    bench.a.store.enqueue(jobs).await.unwrap();
    bench.b.store.set_pause(&queue, None).await.unwrap();
    assert!(bench.a.store.promote(10).await.unwrap().more, "a bounded number in one call");
    let queued = states(bench, &ids).await.iter().filter(|state| **state == State::Queued).count();
    assert!((1..=limits::RELEASES).contains(&queued), "{queued}");
    look(bench).await;
    assert!(states(bench, &ids).await.iter().all(|state| *state == State::Queued));
}

pub async fn q13_who_waits_for_a_limit_passes_urgent_first(bench: &Bench) {
    set(bench, "one", &at_once(1)).await;
    let mut ids = vec![limited(bench, "one", "", "").await];
    for priority in [Priority::Low, Priority::Normal, Priority::Urgent, Priority::Normal, Priority::Urgent] {
        let mut job = bench.job();
        job.admission.gates.limits = vec![GateName::limit("one", "")];
        job.admission.gates.priority = priority;
        ids.push(bench.accept(job).await);
    }
    assert_eq!(bench.record(ids[3]).await.gates.priority, Priority::Urgent);
    for next in [0, 3, 5, 2, 4, 1] {
        let queued: Vec<usize> = states(bench, &ids)
            .await
            .iter()
            .enumerate()
            .filter(|(_, state)| **state == State::Queued)
            .map(|(n, _)| n)
            .collect();
        assert_eq!(queued, [next]);
        end(bench, ids[next]).await;
    }
}

pub async fn q13_an_order_stays_in_its_order_whatever_presses(bench: &Bench) {
    let mut ids = Vec::new();
    for priority in [Priority::Normal, Priority::Normal, Priority::Urgent] {
        let mut job = bench.job();
        job.admission.gates.order = Some(GateName::order(QUEUE, "k"));
        job.admission.gates.priority = priority;
        ids.push(bench.accept(job).await);
    }
    for id in &ids {
        assert_eq!(bench.state(*id).await, State::Queued);
        end(bench, *id).await;
    }
}
