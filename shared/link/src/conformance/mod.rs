//! What every implementation of the borders promises, as tests: one suite, run on each of them.
//!
//! A case is an async function that gets a [`Bench`]: two processes on one backend, in a namespace
//! that nobody else uses. Cases run on real services too, so none depends on paused time: what is to
//! pass quickly is set to a few milliseconds, and what is awaited has a deadline. A case panics when
//! a promise is broken; that is why this module exists only for tests.
//!
//! [`crate::conformance_store!`], [`crate::conformance_broker!`] and [`crate::conformance_blobs!`] make
//! one `#[test]` of each case. [`sequences`] are random operations on the store, each compared with the
//! model's transition function.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "a broken promise is a panic")]
#![allow(missing_docs, reason = "the name of a case is its sentence")]

pub mod attempts;
pub mod audit;
mod bench;
pub mod blobs;
pub mod claim;
pub mod complete;
pub mod consume;
pub mod control;
pub mod copies;
pub mod enqueue;
pub mod events;
pub mod files;
pub mod find;
pub mod finish;
pub mod gates;
pub mod high;
pub mod interest;
pub mod isolation;
pub mod lanes;
pub mod ledger;
pub mod letters;
pub mod loss;
pub mod matrix;
pub mod membership;
pub mod nudge;
pub mod park;
pub mod placed;
pub mod promote;
pub mod publish;
pub mod purge;
pub mod questions;
pub mod rebuild;
pub mod republish;
pub mod rescue;
pub mod restore;
pub mod rules;
pub mod schedules;
pub mod scrub;
pub mod sequences;
pub mod sites;
pub mod statistics;
pub mod unique;

pub use bench::{Bench, Hooks, Letter, QUARANTINE_BYTES, TOPIC};

use std::future::Future;
use std::pin::Pin;

/// A case, started.
pub type Running<'b> = Pin<Box<dyn Future<Output = ()> + 'b>>;

/// Makes one `#[test]` of each case: [`conformance_store!`](crate::conformance_store),
/// [`conformance_broker!`](crate::conformance_broker) and [`conformance_blobs!`](crate::conformance_blobs).
#[macro_export]
macro_rules! conformance {
    ($run:path) => {
        $crate::conformance_store!($run);
        $crate::conformance_broker!($run);
        $crate::conformance_blobs!($run);
    };
}

/// Makes one `#[test]` of each case about the store, in a module for each subject. The argument is the full path of a
/// function `fn(impl for<'b> FnOnce(&'b Bench) -> Running<'b>)` that makes a bench and runs the case on it. These cases
/// need no broker.
#[macro_export]
macro_rules! conformance_store {
    ($run:path) => {
        $crate::conformance_modules! { $run,
            enqueue {
                t1_a_job_is_queued_and_in_the_outbox
                t2_a_delayed_job_is_scheduled_and_not_in_the_outbox
                a_time_that_has_passed_is_now
                repeating_with_the_same_id_changes_nothing
                an_id_with_another_topic_is_refused
                a_batch_answers_for_each_job
                j14_a_retry_is_linked_both_ways_and_only_history_can_be_retried
                the_thousand_and_first_topic_is_refused
                t4_a_confirmed_publish_empties_the_outbox_and_a_late_confirm_does_not
                the_relay_holds_what_it_takes
            }
            claim {
                t5_a_claim_starts_an_attempt_under_a_new_fence
                t5a_repeating_a_claim_answers_the_same
                t5b_another_delivery_of_a_running_job_is_busy
                t5b_a_job_that_waits_is_not_run
                t5b_an_outdated_copy_is_told_so
                t5b_a_job_that_ended_is_told_so
                an_expired_job_is_dropped_at_its_claim
                a_fence_is_greater_than_the_floor_that_a_copy_carries
                an_unknown_job_and_a_tombstone_are_told_apart
                a_claim_clears_what_the_last_attempt_reported
                a_batch_answers_for_each_claim
            }
            rebuild {
                t6_an_unknown_job_is_rebuilt_and_claimed
                t6_a_known_job_is_claimed_as_it_is
                t6_a_tombstone_is_not_rebuilt
                t6_what_a_lost_store_may_have_known_is_rebuilt_however_old_it_is
            }
            restore {
                a_copy_in_the_broker_becomes_a_queued_job_again
                a_job_without_a_copy_is_to_be_published
                a_job_waits_for_its_time_again
                a_dry_restore_changes_nothing
                what_the_store_knows_or_has_buried_is_left_alone
            }
            loss {
                t7b_an_attempt_whose_record_is_gone_is_taken_back_under_its_fence
                t7b_an_attempt_that_is_ahead_of_its_record_is_taken_back
                t7b_an_attempt_that_was_taken_away_is_not_taken_back
                t7b_a_job_that_was_removed_or_ended_is_not_taken_back
                t7b_repeating_it_answers_the_same
                a_finish_of_an_attempt_ahead_of_its_record_is_missing
                a_renewal_tells_what_the_store_does_not_know
                a_renewal_counts_what_waits
                a_store_that_went_back_for_long_pauses_everything
                a_store_that_knew_less_before_begins_a_new_epoch
                a_process_tells_what_the_store_had_before
            }
            finish {
                t8_success_keeps_result_outputs_and_last_report
                t9_a_failure_waits_for_its_back_off
                t9_a_failure_without_delay_is_queued_again
                s02_n_retries_are_n_plus_one_executions
                s02_minus_one_retries_without_end
                t10_a_permanent_error_ends_the_job
                t11_a_release_spends_no_attempt
                a_repeated_finish_is_answered_already
                a_finish_after_a_rescue_is_stale_and_changes_nothing
                a_finish_after_a_removal_is_stale
                a_finish_without_a_record_is_missing
                follow_ups_are_sent_exactly_once
                follow_ups_of_a_failure_are_not_sent
                a_follow_up_that_is_refused_does_not_hold_up_its_siblings
                s02_a_kind_with_retries_of_its_own_is_counted_by_itself
                s02_no_more_kinds_are_counted_than_the_bound
                s02_what_would_begin_after_the_time_for_retries_is_given_up
                s02_a_claim_after_the_time_for_retries_gives_the_job_up
            }
            complete {
                s07_a_token_ends_its_attempt_once_with_any_verdict
                s07_only_the_token_of_the_current_attempt_ends_it
                s07_a_token_of_an_attempt_that_was_taken_away_ends_nothing
                s07_a_failure_by_token_after_a_stop_is_a_stop
                s07_the_instance_hears_of_it_and_its_own_end_changes_nothing
            }
            attempts {
                reports_are_fenced
                u07_u08_what_an_attempt_reported_is_kept_beside_the_next_ones
                u08_of_an_earlier_log_the_end_is_kept
                u08_pr_01_as_many_lines_are_kept_as_the_report_says_and_the_others_counted
                u07_u08_whoever_follows_a_job_hears_of_every_change
                the_log_is_bounded_and_stamped
                the_last_property_and_the_last_progress_win
                t7_a_renewal_keeps_the_lease
                t7_a_renewal_tells_what_was_lost
                t16_a_renewal_tells_what_to_stop
                t7_a_renewal_tells_of_expired_leases
                a_survivor_of_a_silence_brings_an_amnesty
                a_rescue_after_a_silence_that_a_newcomer_ended_waits_for_the_others
                a_rescue_after_a_silence_does_not_wait_for_the_dead
                a_newcomer_does_not_hide_a_silence_from_a_survivor
                a_newcomer_after_a_silence_brings_none
                nobody_is_taken_back_before_anybody_renewed
                a_rescue_after_a_standstill_waits_for_a_renewal
            }
            rescue {
                s10_t12_an_expired_lease_is_taken_back
                t12_a_living_lease_is_left_alone
                t12_a_process_killer_is_given_up
                t12_only_the_first_crash_is_published_at_once
                t12_a_job_that_was_to_stop_stops
                t12_a_rescue_takes_the_longest_expired_first
                t12_a_rescue_is_bounded_and_says_so
                s09_proof_of_death_ends_the_leases_of_older_incarnations_only
            }
            rules {
                a_full_queue_refuses_and_stores_nothing
                a_full_queue_drops_the_oldest_that_waits
                a_batch_is_held_to_the_length_job_by_job
                q02_an_order_goes_on_after_a_final_failure
                q02_an_order_can_halt_after_a_final_failure
                q02_what_people_end_does_not_halt_an_order
                q02_an_order_can_skip_those_behind_a_final_failure
                more_than_one_call_skips_follow_by_promotions
            }
            gates {
                q02_an_order_lets_one_through_at_a_time_in_order
                q02_who_is_let_through_is_handed_to_whoever_let_it_through
                q02_a_failing_head_holds_up_its_order_until_it_has_ended
                a_delayed_job_takes_its_place_when_its_time_has_come
                who_leaves_a_line_makes_room_in_it
                a_blocked_job_that_comes_too_late_is_dropped
                a_crash_keeps_the_order_and_the_limit
                q09_a_limit_is_never_exceeded_and_changes_while_jobs_wait
                q09_a_limit_counts_who_runs_when_it_is_set
                an_order_is_no_limit_whatever_its_key_reads_like
                places_that_are_freed_together_go_to_those_who_can_pass
                limits_count_each_key_by_itself_and_are_shown
                turns_share_a_limit_whatever_their_number_of_jobs
                a_job_takes_all_of_its_limits_or_none
                a_limit_can_refuse_or_replace_instead
                a_rate_lets_so_many_through_in_a_time
                q14_qs_01_a_pause_holds_what_comes_and_what_waits
                topics_and_keys_can_be_paused_and_a_pause_can_end_by_itself
                a_share_that_no_instance_claims_goes_to_jobs_of_other_topics
                more_than_one_call_releases_follow_by_promotions
                q13_who_waits_for_a_limit_passes_urgent_first
                q13_an_order_stays_in_its_order_whatever_presses
            }
            lanes {
                q13_the_first_urgent_job_of_a_topic_makes_its_high_lane_known
                q13_however_an_urgent_job_comes_in_its_high_lane_is_known
                q13_an_urgent_job_that_another_stands_for_makes_the_lane_known_too
                q13_a_consumer_can_say_what_lanes_there_are
                q13_what_is_handed_out_names_its_lane
            }
            sites {
                p03_the_first_job_of_a_site_makes_its_lane_known
                p03_however_a_placed_job_comes_in_its_lane_is_known
                p03_queued_jobs_of_a_site_are_counted_from_step_to_step
                p03_a_lane_that_nobody_uses_is_let_go_of_and_comes_back_with_its_next_job
                p03_beyond_the_most_lanes_a_preference_is_given_up_and_a_need_is_refused
                p03_what_is_handed_out_names_its_lane_and_lost_copies_are_those_of_one_site
            }
            unique {
                j04_a_key_until_finished_is_free_when_its_job_has_ended
                a_key_until_started_is_free_when_its_job_starts
                a_key_for_a_period_outlives_its_job
                debouncing_keeps_the_newest_payload_and_moves_the_time
                of_latest_one_runs_and_one_waits_with_the_newest_payload
                a_follow_up_that_another_job_stands_for_is_told_so
                keys_of_other_topics_are_others
                no_new_key_is_given_for_a_while_after_the_store_went_back
            }
            isolation {
                a_job_that_crashed_twice_is_run_by_who_runs_nothing_else
                who_dies_alone_for_the_third_time_is_poison_and_has_a_dossier
                who_always_had_company_is_given_up_at_the_tenth_crash_only
                company_that_was_taken_back_before_or_lives_longer_counts
                an_attempt_that_a_living_process_forgot_is_not_blamed
                a_process_that_is_proven_dead_is_silent_at_once
            }
            republish {
                a_job_whose_copies_are_lost_goes_back_into_the_outbox
                a_copy_that_may_be_under_way_is_not_doubled
                a_lane_that_holds_as_many_copies_as_jobs_is_left_alone
                only_as_many_go_back_as_are_missing_oldest_first
                other_lanes_are_left_alone
                a_round_is_bounded_and_goes_on_where_it_ended
                a_job_rests_longer_after_each_time
            }
            promote {
                t13_a_due_job_becomes_runnable
                t13_a_failed_job_returns_with_its_reason
                t13_promotion_is_bounded_in_order_and_tells_the_next_time
            }
            control {
                j13_t15_a_waiting_job_stops_at_once
                j13_t16_a_running_job_is_asked_to_stop
                j13_t16_a_failure_after_the_request_is_a_stop
                j13_t16_a_success_after_the_request_is_a_success
                j12_a_waiting_job_is_dropped
                j12_a_running_job_is_dropped_and_its_attempt_is_stale
                j12_history_is_purged_and_leaves_a_tombstone
                what_does_not_exist_is_not_found
                what_has_ended_cannot_be_stopped
            }
            purge {
                l02_l03_t19_history_goes_when_its_time_has_come
                l02_t19_success_and_failure_are_kept_for_their_own_times
                t20_what_was_not_started_in_time_is_dropped
                a_purge_is_bounded
                l02_more_than_enough_of_a_state_goes_oldest_first
                q11_l02_each_queue_keeps_what_it_says
            }
            files {
                o04_what_a_job_needs_stays_and_what_nobody_needs_may_go
                what_is_being_deleted_cannot_be_needed_until_that_is_over
                files_of_a_known_job_stay_and_those_of_a_forgotten_one_are_released
                a_release_is_bounded_oldest_first
                the_first_place_is_agreed_on_until_somebody_replaces_it
            }
            find {
                j08_a_snapshot_has_everything
                j07_j10_unfinished_jobs_come_oldest_first
                j07_j10_history_comes_newest_first
                unfinished_jobs_come_before_history
                j10_by_topic_pattern
                j10_by_queue
                j10_by_every_label
                j10_indexed_fields_answer_by_value_and_by_range
                j10_index_entries_follow_the_payload_and_go_with_the_job
                j10_a_field_is_indexed_of_all_jobs_or_not
                j10_by_time
                j10_pages_go_on_where_the_last_one_ended
                a_strange_cursor_is_refused
                counts_agree_with_listings
                jobs_ahead_are_those_of_the_topic_that_came_first
                topics_are_known_once_named
            }
            schedules {
                a_schedule_is_kept_as_it_was_written_until_it_is_removed
                z08_only_the_one_that_read_it_last_may_change_it
                z05_two_that_fire_a_slot_send_one_job
                a_slot_is_one_job_though_the_store_forgot_that_it_was_fired
                what_is_due_comes_earliest_first_and_bounded
                overlap_is_judged_when_it_is_written
                a_refused_job_leaves_the_schedule_as_it_was
                z01_a_time_that_comes_once_goes_with_its_job
                schedules_are_listed_by_name_in_pages
                there_are_only_so_many_schedules
                an_earlier_schedule_is_nudged
            }
            ledger {
                what_was_accepted_has_ended_waits_or_runs
                what_is_forgotten_stays_accounted_for
                what_is_rebuilt_or_taken_back_was_accepted
                a_refused_job_was_not_accepted
            }
            audit {
                n04_deeds_are_kept_newest_first_with_who_when_plan_and_counts
                n04_what_one_session_does_in_succession_is_one_entry
                n04_only_the_last_deeds_are_kept
            }
            interest {
                n01_who_listens_is_known_for_its_time_and_everybody_is_told
                n01_an_interest_ends_by_itself_and_a_longer_one_stays
                n01_there_are_only_so_many_interests
                n01_what_happens_without_a_process_that_tells_it_is_kept_for_the_teller
                n01_what_a_process_brings_about_it_tells_itself
            }
            statistics {
                m01_what_happens_is_counted_once_whatever_is_repeated
                what_is_dropped_snoozed_or_taken_back_is_no_failure_but_a_crash_is
                an_attempt_that_is_ended_by_its_token_counts_as_any_other
                st_02_times_are_those_between_the_steps
                each_queue_and_topic_has_its_own_numbers
                st_05_a_reset_keeps_what_waits_and_runs
                the_oldest_that_waits_is_told_with_its_age
                what_is_forgotten_stays_counted
            }
            scrub {
                t21_a_sound_store_is_left_alone_whatever_is_in_it
            }
            nudge {
                a_watcher_hears_of_the_end_and_nobody_else_does
                watching_answers_the_state_now
                a_request_to_stop_is_nudged
                an_earlier_due_time_is_nudged
                a_new_topic_is_nudged
                a_new_view_is_nudged
            }
            membership {
                the_first_is_the_coordinator
                v02_the_order_is_that_of_joining
                a_beat_alone_changes_no_view
                who_was_away_queues_last
                v08_the_coordinator_stays_while_it_is_in
                v09_the_most_preferred_coordinates_and_among_equals_who_joined_first
                a_leave_hands_over_at_once
                v06_v13_a_dead_member_is_dropped_by_the_next_beat
                v15_what_a_dead_member_wrote_is_there_when_the_view_without_it_is
                v17_dm_17_a_newcomer_is_in_a_view_whole_or_not_at_all
                v18_dm_21_an_instance_that_was_away_for_long_is_forgotten_with_its_row
                after_a_silence_nobody_is_dropped_until_all_could_beat
                a_newcomer_after_a_silence_drops_the_dead
                v12_a_newer_incarnation_takes_the_place_of_the_older
                an_older_incarnation_cannot_leave_for_the_newer
                v05_a_card_is_shown_as_it_was_said_last
                v16_members_are_in_step_when_all_have_reached_the_view
                v23_a_seal_is_exchanged_by_who_read_it
                v23_a_signed_card_is_shown_as_it_was_signed
                a_new_topic_changes_the_version_of_topics
            }
            matrix {
                o08_a_row_is_kept_as_it_was_written_and_needs_no_instance
                o08_only_who_read_a_row_last_may_change_it
                o08_a_change_is_nudged_and_told_by_the_next_beat
                a_row_is_put_back_over_one_that_is_older
                there_are_only_so_many_rows
            }
            questions {
                v02_who_is_asked_takes_it_up_and_answers_once
                v02_nobody_begins_or_answers_a_question_that_is_closed
                v02_who_is_gone_before_it_began_never_begins
                v02_who_died_is_found_gone_though_nobody_beats
                v02_a_question_is_over_with_its_time
                v02_the_next_beat_tells_of_a_question
                v02_there_are_only_so_many_open_questions
            }
        }
    };
}

/// Makes one `#[test]` of each case about the broker; see [`conformance_store!`]. These cases need no store.
#[macro_export]
macro_rules! conformance_broker {
    ($run:path) => {
        $crate::conformance_modules! { $run,
            publish {
                a_first_publish_makes_its_lane
                a_lane_that_nobody_made_has_no_depth
                declaring_twice_is_declaring_once
                what_has_no_lane_is_unrouted_and_returns_with_its_lane
                quarantine_and_the_dead_keep_the_bytes_and_the_reason
                each_message_of_a_batch_is_answered
            }
            consume {
                messages_arrive_in_order_as_they_were_sent
                an_acknowledged_message_is_gone
                prefetch_is_a_limit
                a_closed_session_gives_back_in_order
                a_removed_lane_delivers_nothing_more
                given_back_after_removal_goes_to_another
                two_sessions_share_a_lane
                another_sessions_settler_changes_nothing
                a_closed_session_says_so
                a_deleted_lane_is_reported_and_can_be_consumed_again
                one_session_consumes_many_lanes
            }
            high {
                q13_a_first_publish_makes_the_lane_of_urgent_jobs_and_no_other
                q13_both_lanes_of_a_topic_are_consumed_apart
                q13_a_deleted_high_lane_is_reported_and_the_other_lives
                q13_what_has_no_high_lane_is_unrouted_and_returns_with_it
                q13_copies_tell_that_they_are_of_a_high_lane
                q13_erasing_a_topic_deletes_both_of_its_lanes
            }
            placed {
                p03_a_first_publish_makes_the_lane_of_a_site_and_no_other
                p03_what_has_no_lane_of_its_site_is_unrouted_and_returns_with_it
                p03_copies_tell_of_which_site_their_lane_is
                p03_a_lane_is_taken_away_and_made_again
            }
            events {
                n01_events_reach_those_who_want_them_by_pattern_and_class
                n01_events_of_one_publisher_come_in_order
                n01_an_event_that_nobody_wants_goes_nowhere
            }
            letters {
                a_place_without_letters_is_empty
                letters_come_oldest_first_as_they_were_sent
                a_full_quarantine_refuses_and_takes_again_when_there_is_room
                reading_to_the_end_changes_nothing_not_even_the_order
                a_reading_that_breaks_off_loses_nothing
                what_a_reading_has_shown_is_nobody_elses_until_it_ends
                a_removed_letter_is_gone_and_the_others_stay
                an_unrouted_letter_tells_its_lane
            }
            copies {
                copies_in_a_lane_are_read_in_order_and_go_back
                a_copy_at_rest_tells_its_lane_and_goes_back
                a_lane_that_is_not_there_has_no_copies
                the_journal_keeps_what_is_read
            }
            park {
                a_parked_copy_returns_after_its_time_and_not_before
                parked_copies_for_a_missing_lane_do_not_delay_the_others
            }
        }
    };
}

/// Makes one `#[test]` of each case about payload files; see [`conformance_store!`].
#[macro_export]
macro_rules! conformance_blobs {
    ($run:path) => {
        $crate::conformance_modules! { $run,
            blobs {
                o03_bytes_come_back
                o03_a_large_file_comes_back
                the_same_content_is_the_same_blob
                what_is_missing_may_come_later
                a_wrong_size_is_refused
                wrong_inline_content_is_refused
                a_dangerous_name_is_refused
                both_processes_see_the_same_place
            }
        }
    };
}

/// See [`conformance_store!`].
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_modules {
    ($run:path, $($subject:ident { $($case:ident)* })*) => {
        $(mod $subject {
            $(#[test]
            fn $case() {
                $run(|bench| ::std::boxed::Box::pin(async move {
                    $crate::conformance::$subject::$case(bench).await;
                    bench.balanced().await;
                }));
            })*
        })*
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_in_the_list() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance");
        let list = include_str!("mod.rs");
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            let subject = path.file_stem().unwrap().to_str().unwrap().to_owned();
            if ["mod", "bench", "sequences"].contains(&subject.as_str()) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            for line in text.lines().filter_map(|line| line.strip_prefix("pub async fn ")) {
                let name = line.split('(').next().unwrap();
                assert!(list.lines().any(|line| line.trim() == name), "{subject}::{name} is not run");
            }
        }
    }
}
