//! What a producer promises, as cases that need a link and nothing else, so that they run on any backend.
//!
//! Each case gets a producer on a namespace of its own. Where a job has to run, the case itself claims
//! and finishes it in the store, as a consumer would.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "cases are tests, called by one-line test functions")]

pub(crate) mod control;
pub(crate) mod files;
pub(crate) mod find;
pub(crate) mod outcome;
pub(crate) mod send;

use longshore_link::store::{Claim, Claimed, Finish, Finished, Report};
use longshore_model::id::Owner;
use longshore_model::transition::{Answer, Verdict};
use longshore_model::{Fence, Incarnation, InstanceId};
use longshore_producer::{Job, JobId, Link, Producer, State};
use serde::{Deserialize, Serialize};

/// Calls a macro with the name of every case.
#[macro_export]
macro_rules! for_each_case {
    ($run:ident) => {
        $run! {
            send::j01_jh_09_a_job_without_a_consumer_is_accepted_and_found;
            send::j02_jh_10_what_is_illegal_is_refused_with_the_remedy_and_nothing_is_stored;
            send::j05_j15_j16_a_builder_sets_everything;
            send::j05_the_sender_wins_over_the_kind_and_the_kind_over_the_queue;
            send::j06_ids_are_made_without_coordination_and_repeating_one_makes_no_second_job;
            send::an_id_of_another_topic_is_refused;
            send::pa_01_payloads_keep_their_values_and_types;
            send::jh_03_many_at_once_answer_one_by_one;
            send::a_delayed_job_is_in_the_store_only;
            send::j04_concurrent_sends_of_one_id_make_one_job;
            files::payload_files_small_and_large_come_back_as_they_were;
            files::o03_a_stream_is_sent_once_and_read_as_it_comes;
            files::a_file_that_cannot_be_sent_is_refused_and_nothing_is_stored;
            find::j07_j08_j09_j10_jobs_are_found_by_everything_that_they_are;
            find::j10_pages_and_limits;
            find::j11_what_was_answered_does_not_change;
            find::counts_and_topics_tell_the_whole;
            control::j12_jh_04_removing_drops_what_waits_and_purges_what_ended;
            control::j12_jh_13_removing_an_unknown_job_is_fine;
            control::j13_stopping_what_waits_what_runs_and_what_ended;
            control::j14_a_retry_is_a_new_job_linked_both_ways;
            control::j14_only_history_can_be_retried;
            outcome::an_outcome_brings_result_message_and_properties;
            outcome::an_outcome_of_a_failed_job_says_why;
            outcome::hundreds_are_waited_for_at_once;
            outcome::waiting_ends_in_time_and_the_job_goes_on;
            outcome::an_unknown_job_has_no_outcome;
            outcome::following_shows_progress_and_log_until_the_end;
        }
    };
}

/// The job of most cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Job)]
#[job(topic = "media/thumbnail")]
pub(crate) struct Thumbnail {
    pub(crate) asset: String,
    pub(crate) width: u32,
}

pub(crate) fn thumbnail(asset: &str) -> Thumbnail {
    Thumbnail { asset: asset.to_owned(), width: 320 }
}

/// A consumer of one hand: claims and finishes in the store what a case wants to have run.
pub(crate) struct Hand<'l> {
    link: &'l Link,
    owner: Owner,
}

impl<'l> Hand<'l> {
    pub(crate) fn of(producer: &'l Producer) -> Self {
        let owner = Owner { instance: InstanceId("hand".into()), incarnation: Incarnation("hand-1".into()) };
        Self { link: producer.link(), owner }
    }

    pub(crate) async fn claim(&self, id: JobId) -> Fence {
        let generation = self.link.store.records(vec![id]).await.unwrap()[0].as_ref().unwrap().generation;
        let claim = Claim { id, nonce: format!("{id}-{}", generation.0), generation, floor: Fence(0), alone: false };
        match self.link.store.claim(&self.owner, 60_000, vec![claim]).await.unwrap().remove(0) {
            Claimed::Known(Answer::Run { fence, .. }) => fence,
            other => panic!("job {id} cannot be claimed: {other:?}"),
        }
    }

    pub(crate) async fn report(&self, id: JobId, fence: Fence, report: Report) {
        assert_eq!(self.link.store.report(vec![(id, fence, report)]).await.unwrap(), [true]);
    }

    pub(crate) async fn finish(&self, finish: Finish) -> State {
        match self.link.store.finish(vec![finish]).await.unwrap().remove(0) {
            Finished::Known { answer: Answer::Moved { state }, .. } => state,
            other => panic!("the attempt cannot be finished: {other:?}"),
        }
    }

    /// Claims and succeeds.
    pub(crate) async fn succeed(&self, id: JobId, result: Option<&str>) {
        let fence = self.claim(id).await;
        self.finish(Finish { result: result.map(ToOwned::to_owned), ..succeeded(id, fence) }).await;
    }

    /// Claims and fails for good.
    pub(crate) async fn fail(&self, id: JobId, error: &str) {
        let fence = self.claim(id).await;
        let verdict = Verdict::Fatal { reason: longshore_model::Reason::Permanent, error: error.to_owned() };
        self.finish(Finish { verdict, ..succeeded(id, fence) }).await;
    }
}

pub(crate) fn succeeded(id: JobId, fence: Fence) -> Finish {
    Finish {
        id,
        fence,
        verdict: Verdict::Succeeded { message: None },
        result: None,
        outputs: Vec::new(),
        report: Report::default(),
        follow_ups: Vec::new(),
    }
}
