//! How jobs are accepted (T1, T2) and leave the outbox (T4).

use super::bench::{Bench, LONG, TOPIC, normal, topic};
use crate::error::{Fault, NotAccepted};
use longshore_model::id::Generation;
use longshore_model::limits;
use longshore_model::record::{Reason, Start, State};

pub async fn t1_a_job_is_queued_and_in_the_outbox(bench: &Bench) {
    let job = bench.job();
    let before = bench.a.store.ping().await.unwrap();
    let accepted = bench.enqueue(job.clone()).await;
    assert_eq!((accepted.state, accepted.generation, accepted.existed), (State::Queued, Generation(1), false));
    assert!((before..=bench.a.store.ping().await.unwrap()).contains(&accepted.created));
    let record = bench.record(job.admission.id).await;
    assert_eq!((record.topic, record.queue), (topic(TOPIC), "main".into()));
    assert_eq!((record.state, record.reason, record.attempts, record.due), (State::Queued, None, 0, None));
    assert_eq!((record.max_retries, record.max_crashes), (2, 3));
    assert_eq!((record.created, record.since), (accepted.created, accepted.created));
    assert_eq!(record.outbox, Some(accepted.created + limits::OUTBOX_GRACE_MS));
    assert!(bench.a.store.outbox(10, LONG).await.unwrap().is_empty(), "its sender has some time");
}

pub async fn t2_a_delayed_job_is_scheduled_and_not_in_the_outbox(bench: &Bench) {
    let mut job = bench.job();
    job.admission.start = Start::After(LONG);
    let accepted = bench.enqueue(job.clone()).await;
    assert_eq!((accepted.state, accepted.generation), (State::Scheduled, Generation(0)));
    let record = bench.record(job.admission.id).await;
    assert_eq!((record.reason, record.due), (Some(Reason::Delayed), Some(accepted.created + LONG)));
    assert_eq!(record.outbox, None);
}

pub async fn a_time_that_has_passed_is_now(bench: &Bench) {
    for start in [Start::At(1_000), Start::After(0)] {
        let mut job = bench.job();
        job.admission.start = start;
        assert_eq!(bench.enqueue(job).await.state, State::Queued);
    }
}

pub async fn repeating_with_the_same_id_changes_nothing(bench: &Bench) {
    let job = bench.job();
    let first = bench.enqueue(job.clone()).await;
    let record = bench.record(job.admission.id).await;
    bench.sleep(5).await;
    let again = bench.b.store.enqueue(vec![job.clone()]).await.unwrap().remove(0).unwrap();
    assert!(again.existed && again.created == first.created && again.generation == first.generation);
    assert_eq!(bench.record(job.admission.id).await, record);
    let fence = bench.run(job.admission.id).await;
    assert_eq!(bench.enqueue(job.clone()).await.state, State::Active);
    bench.finish(job.admission.id, fence, super::bench::succeeded()).await;
    assert_eq!(bench.enqueue(job).await.state, State::Succeeded);
}

pub async fn an_id_with_another_topic_is_refused(bench: &Bench) {
    let id = bench.queued().await;
    let mut job = bench.job_on("test/other");
    job.admission.id = id;
    let answer = bench.a.store.enqueue(vec![job]).await.unwrap().remove(0);
    assert_eq!(answer, Err(NotAccepted::IdTaken(id)));
    assert_eq!(bench.record(id).await.topic, topic(TOPIC));
}

pub async fn a_batch_answers_for_each_job(bench: &Bench) {
    let taken = bench.queued().await;
    let mut jobs = vec![bench.job(), bench.job_on("test/other"), bench.job()];
    jobs[1].admission.id = taken;
    let first = jobs[0].admission.id;
    jobs.push(jobs[0].clone());
    let answers = bench.a.store.enqueue(jobs).await.unwrap();
    assert_eq!(answers.len(), 4);
    assert!(!answers[0].as_ref().unwrap().existed);
    assert_eq!(answers[1], Err(NotAccepted::IdTaken(taken)));
    assert!(!answers[2].as_ref().unwrap().existed);
    assert!(answers[3].as_ref().unwrap().existed, "{first} is twice in the batch");
}

pub async fn j14_a_retry_is_linked_both_ways_and_only_history_can_be_retried(bench: &Bench) {
    let old = bench.done().await;
    let mut again = bench.job();
    again.retry_of = Some(old);
    let id = bench.accept(again.clone()).await;
    assert_eq!(bench.record(old).await.retried_as, Some(id));
    assert_eq!(bench.record(old).await.state, State::Succeeded, "history stays as it was");
    assert!(bench.enqueue(again).await.existed);

    let open = bench.queued().await;
    let unknown = bench.a.world.job_id(None);
    for old in [open, unknown] {
        let mut job = bench.job();
        job.retry_of = Some(old);
        let id = job.admission.id;
        let answer = bench.a.store.enqueue(vec![job]).await.unwrap().remove(0);
        assert_eq!(answer, Err(NotAccepted::NotInHistory(old)));
        assert_eq!(bench.maybe(id).await, None);
    }
}

pub async fn the_thousand_and_first_topic_is_refused(bench: &Bench) {
    let topics: Vec<_> = (0..limits::TOPICS).map(|n| normal(&format!("many/t{n}"))).collect();
    for some in topics.chunks(limits::BATCH) {
        bench.a.store.know(some.to_vec()).await.unwrap();
    }
    let job = bench.job_on("one/more");
    let answer = bench.a.store.enqueue(vec![job.clone()]).await.unwrap().remove(0);
    assert_eq!(answer, Err(NotAccepted::TooManyTopics("one/more".into())));
    assert_eq!(bench.maybe(job.admission.id).await, None);
    assert!(matches!(bench.a.store.know(vec![normal("one/more")]).await, Err(Fault::Refused { .. })));
    assert_eq!(bench.enqueue(bench.job_on("many/t7")).await.state, State::Queued);
    assert_eq!(bench.a.store.topics().await.unwrap().len(), limits::TOPICS);
}

pub async fn t4_a_confirmed_publish_empties_the_outbox_and_a_late_confirm_does_not(bench: &Bench) {
    let (first, other) = (bench.queued().await, bench.queued().await);
    bench.a.store.published(vec![(first, Generation(7)), (other, Generation(1))]).await.unwrap();
    assert!(bench.record(first).await.outbox.is_some(), "another generation was published");
    assert_eq!(bench.record(other).await.outbox, None);
    let unknown = bench.a.world.job_id(None);
    bench.a.store.published(vec![(unknown, Generation(1)), (first, Generation(1))]).await.unwrap();
    assert_eq!(bench.record(first).await.outbox, None);
    assert_eq!(bench.state(first).await, State::Queued);
}

pub async fn the_relay_holds_what_it_takes(bench: &Bench) {
    let job = bench.job();
    let id = bench.accept(job.clone()).await;
    // The sender's time has to pass: this is the one case that waits for it.
    bench.sleep(limits::OUTBOX_GRACE_MS + 50).await;
    let taken = bench.a.store.outbox(10, 100).await.unwrap();
    assert_eq!(taken.len(), 1);
    let record = bench.record(id).await;
    assert_eq!((taken[0].id, taken[0].generation, taken[0].fence), (id, Generation(1), record.fence));
    assert_eq!((&taken[0].lane, taken[0].created, &taken[0].envelope), (&record.lane(), record.created, &job.envelope));
    assert!(bench.b.store.outbox(10, 100).await.unwrap().is_empty(), "another relay leaves it alone");
    bench.sleep(150).await;
    assert_eq!(bench.b.store.outbox(10, 100).await.unwrap().len(), 1, "until the hold has passed");
    bench.b.store.published(vec![(id, Generation(1))]).await.unwrap();
    bench.sleep(150).await;
    assert!(bench.a.store.outbox(10, 100).await.unwrap().is_empty());
}
