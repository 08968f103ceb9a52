//! What running systems must do, as cases that know producer, consumer and a clock, and nothing of the backend.
//!
//! A case is `async fn case(fleet: &Fleet)`. The list of all cases is written once, in
//! [`for_each_case`](crate::for_each_case); the test programs run it on the embedded backend in virtual time and on
//! real services in real time. A name that begins with the id of a conformance case or a feature says which one the
//! case holds.

pub mod asking;
pub mod audit;
pub mod batches;
pub mod complete;
pub mod control;
pub mod events;
pub mod files;
pub mod finding;
pub mod fixture;
pub mod flow;
pub mod gates;
pub mod history;
pub mod jobs;
pub mod leaving;
pub mod letters;
pub mod limits;
pub mod matrix;
pub mod offloading;
pub mod payload;
pub mod placement;
pub mod progress;
pub mod queues;
pub mod rules;
pub mod schedules;
pub mod statistics;
pub mod times;
pub mod timing;
pub mod topics;
pub mod topology;
pub mod trouble;
pub mod trust;
pub mod unique;

pub use fixture::{Fleet, Gauge, Runs};

/// Calls a macro with the name of every case that any backend can run.
#[macro_export]
macro_rules! for_each_case {
    ($run:ident) => {
        $run! {
            jobs::j01_s01_jh_01_a_job_runs_once_and_brings_its_result;
            jobs::s05_jh_02_a_handler_of_any_payload_runs_a_job_once;
            jobs::j06_q18_jh_03_three_hundred_jobs_of_one_topic_all_run;
            jobs::j08_j09_j11_jh_04_a_failed_job_is_found_waiting_and_can_be_removed;
            jobs::s02_q10_jh_05_a_failing_job_runs_once_more_than_its_retries;
            jobs::s01_s08_l01_jh_06_a_given_up_job_is_in_the_history_and_its_watcher_hears_it_once;
            jobs::jh_08_jobs_of_a_topic_that_nobody_takes_wait_beside_those_that_run;
            jobs::j01_jh_09_a_job_without_a_consumer_is_accepted_and_queued;
            jobs::j02_jh_10_what_is_illegal_is_refused_and_nothing_is_stored;
            jobs::s03_jh_11_a_panic_is_an_error_at_once;
            jobs::j12_jh_13_removing_an_unknown_job_is_fine;
            jobs::s04_jh_14_the_delay_of_the_outcome_wins_over_the_queue;
            jobs::j16_s04_jh_15_the_delay_of_the_job_wins_over_the_queue;
            topics::u01_tm_01_an_exact_topic_takes_only_itself;
            topics::u01_tm_02_a_star_takes_direct_children;
            topics::u01_tm_03_two_stars_take_all_descendants;
            topics::u02_u03_tm_04_the_nearest_handler_wins_and_the_next_takes_over;
            topics::u01_p02_tm_06_every_form_of_handler_matches_alike;
            topics::u04_u05_tm_09_allow_and_deny_lists_bound_what_is_advertised_and_taken;
            topics::u06_p01_p07_a_topic_that_nobody_takes_is_explained_and_runs_when_somebody_does;
            topics::p05_jobs_go_to_whoever_has_a_free_slot;
            topology::v02_v03_v04_v07_v14_v16_events_come_in_order_and_late_listeners_begin_with_init;
            topology::v05_u06_properties_and_topics_of_an_instance_reach_all_others;
            topology::v04_a_slow_listener_delays_only_itself;
            topology::v08_what_the_leader_does_is_done_by_one_at_a_time;
            topology::v09_the_most_preferred_leads_its_cluster_and_the_fleet;
            topology::v10_v11_who_is_cut_off_is_nobody_before_another_takes_its_place;
            topology::v17_dm_17_a_newcomer_waits_until_the_others_know_it;
            topology::v17_who_has_not_beaten_takes_no_work_and_is_not_ready;
            trust::v22_v23_an_instance_that_is_not_signed_as_the_fleet_is_takes_no_work;
            trust::v23_cn_07_signatures_hold_for_a_period_more_and_for_one_card;
            trust::v23_keys_are_changed_while_the_fleet_works;
            asking::v02_everybody_is_asked_and_says_something;
            asking::v02_a_filter_says_who_is_asked;
            asking::v02_who_is_slow_is_silent_and_dropped_and_the_rest_has_answered;
            asking::v02_who_leaves_is_gone_and_who_joins_was_not_asked;
            asking::v02_newcomers_are_asked_where_that_is_wanted;
            matrix::o08_p08_a_disabled_topic_is_given_back_and_what_runs_is_finished;
            matrix::o09_an_exclusive_topic_puts_all_others_off;
            matrix::v01_o08_a_row_outlives_the_process_of_its_instance;
            matrix::o08_a_drained_instance_takes_nothing_and_lives_on;
            matrix::p08_ch_11_jobs_of_a_handler_that_goes_away_run_elsewhere;
            progress::u07_u08_each_attempt_keeps_its_log_and_its_progress;
            progress::u08_pr_01_an_instance_keeps_as_many_lines_as_it_is_set_to;
            progress::u07_u08_what_a_handler_reports_is_pushed_to_followers;
            progress::u08_reports_are_written_together;
            progress::u08_pr_01_the_newest_log_lines_are_kept_in_order;
            progress::j03_u09_pr_03_illegal_properties_are_rejected;
            progress::s06_s07_pr_04_an_attempt_is_completed_once;
            progress::u07_pr_05_progress_counts_steps_and_estimates_the_end;
            payload::pa_01_payloads_keep_their_values_and_types;
            payload::s11_pa_02_a_payload_of_a_newer_version_waits_and_says_why;
            payload::s11_pa_02_a_payload_of_the_same_version_that_cannot_be_read_is_an_error;
            flow::follow_up_jobs_are_sent_once_though_the_attempt_is_repeated;
            flow::a_failed_job_sends_no_follow_up_jobs;
            flow::s05_s06_a_snooze_costs_no_retry;
            flow::an_attempt_over_its_time_fails_and_is_retried;
            flow::j05_j15_labels_title_and_trace_context_reach_the_handler;
            finding::j10_templates_compare_payloads;
            finding::j10_indexed_fields_answer_templates;
            finding::j10_se_01_se_05_jobs_without_a_consumer_are_found_by_templates;
            control::j13_s03_u10_stopping_a_running_job_reaches_its_handler_at_once;
            control::j13_stopping_a_waiting_job_ends_it;
            control::j12_removing_a_running_job_cancels_it_and_its_late_success_changes_nothing;
            control::j14_a_retried_job_of_the_history_runs_again;
            control::j14_a_failed_job_is_sent_again_with_another_payload;
            control::j14_many_jobs_are_sent_again_at_a_rate;
            complete::s07_an_attempt_is_completed_from_another_process_exactly_once;
            complete::s06_g5_a_completion_keeps_its_message_and_its_delay;
            complete::s02_s07_a_completion_names_the_kind_of_its_error;
            complete::s07_g6_what_was_given_away_keeps_its_slot_and_its_order;
            complete::s07_a_token_that_comes_too_late_is_told_why;
            complete::s07_an_attempt_with_follow_up_jobs_is_not_given_away;
            batches::a_batch_is_called_when_it_is_full_or_its_time_is_over;
            batches::a_batch_has_a_verdict_for_each_job;
            batches::a_batch_that_panics_is_the_end_of_all_its_jobs;
            batches::a_stop_reaches_one_job_of_a_batch;
            times::s05_a_soft_timeout_tells_the_handler_and_what_it_answers_counts;
            times::s05_a_stalled_attempt_is_cancelled_and_signs_of_life_keep_it;
            times::s05_handlers_and_queues_set_times_as_well;
            times::s02_s04_failures_of_a_kind_have_retries_and_a_delay_of_their_own;
            times::s02_no_retry_begins_after_the_time_for_retries;
            times::ch_12_j13_a_handler_that_does_not_listen_is_dropped_after_its_grace;
            timing::a_job_that_is_not_started_in_time_is_dropped;
            timing::a_delayed_job_runs_when_its_time_has_come;
            timing::a_job_runs_at_its_time;
            schedules::z01_zd_04_a_time_that_comes_once_runs_once_and_the_schedule_is_gone;
            schedules::z02_z03_z04_several_timings_fire_as_one_union;
            schedules::z05_each_slot_is_one_job_whoever_fires;
            schedules::z05_fifteen_hundred_that_are_due_in_one_second_all_run_once;
            schedules::z06_definitions_outlive_every_process;
            schedules::z07_zd_01_zd_02_the_same_definition_is_one_schedule_and_each_can_be_removed;
            schedules::z08_zd_07_what_passes_while_it_is_suspended_does_not_run;
            schedules::z09_schedules_are_found_by_topic_with_their_next_time;
            schedules::z10_zd_05_zd_06_what_is_wrong_is_refused_with_all_reasons_and_nothing_is_stored;
            schedules::zd_09_different_definitions_are_different_schedules;
            schedules::a_job_that_has_not_ended_lets_times_pass;
            schedules::one_job_waits_for_the_end_of_the_one_before;
            schedules::a_run_now_is_one_job_more;
            leaving::a_drain_lets_running_jobs_finish_and_gives_the_others_back_at_once;
            leaving::an_attempt_over_the_grace_is_released_uncharged_and_runs_elsewhere;
            trouble::garbage_on_a_lane_is_quarantined_and_harms_nobody;
            letters::evicted_messages_of_jobs_that_wait_go_back_to_their_lane;
            letters::q13_an_evicted_message_of_an_urgent_job_goes_back_to_its_high_lane;
            letters::evicted_messages_of_jobs_that_ended_are_done_with;
            letters::an_evicted_message_of_an_unknown_job_stays_with_its_reason;
            letters::an_evicted_message_that_cannot_be_read_goes_into_quarantine;
            files::payload_files_reach_the_handler_and_its_outputs_come_back;
            files::o03_o10_of_05_input_files_are_whole_before_the_handler_is_called;
            files::o03_of_06_outputs_are_there_when_the_final_state_is;
            files::o03_outputs_that_the_handler_took_away_fail_the_attempt;
            files::o03_of_07_a_job_without_files_has_no_directories;
            files::o04_a_place_that_is_not_the_fleets_is_waited_for_and_spends_nothing;
            files::a_file_that_is_gone_from_the_right_place_fails_the_attempt;
            files::o03_o11_p11_outputs_of_a_superseded_attempt_never_appear;
            offloading::o01_o02_of_01_a_job_with_files_runs_outside_of_its_cluster_and_comes_back;
            offloading::o06_the_origin_alone_begins_and_is_told_by_push;
            offloading::o07_routes_come_and_go_with_the_topology_and_a_changed_address_is_seen;
            offloading::o13_of_04_specialised_workers_do_their_own_topic_and_no_other;
            offloading::o05_the_place_is_chosen_by_its_address_and_none_is_a_choice;
            offloading::o12_of_12_payload_files_are_written_both_ways_and_arrive_alike;
            gates::q02_p04_qo_02_one_order_over_topics_and_instances;
            gates::q02_q19_a_failing_head_holds_up_its_key_and_no_other;
            gates::q09_p09_qp_02_a_limit_holds_while_it_changes_and_instances_come_and_go;
            gates::a_rate_spreads_jobs_over_time_and_costs_no_attempt;
            gates::q14_u11_qs_01_qs_02_a_pause_outlives_instances_and_names_who_and_why;
            unique::j04_a_named_job_is_there_once_and_found_by_its_name;
            unique::j04_debounced_sends_make_one_run_with_the_newest_payload;
            unique::j04_latest_runs_once_more_with_the_newest_payload;
            unique::j04_latest_replaces_what_is_in_the_lane;
            queues::q02_an_ordered_queue_runs_one_job_at_a_time_in_order;
            queues::q03_qr_02_round_robin_takes_topics_by_turns;
            queues::q04_a_queue_can_hold_its_jobs_or_drop_them;
            queues::q09_q17_a_fleet_wide_limit_holds_for_jobs_that_came_before_it;
            queues::q01_q08_a_queue_bounds_what_one_instance_runs_at_once;
            queues::q05_q06_q07_q16_q17_queues_are_applied_whole_and_kept;
            queues::q15_all_jobs_of_a_queue_are_removed;
            events::n01_n02_jh_06_every_step_of_a_job_is_told_once_with_what_it_is;
            events::n01_pa_01_an_event_has_the_payload_as_it_was_sent;
            events::n01_what_a_listener_does_not_ask_for_it_does_not_hear;
            events::n01_n02_a_job_that_expired_is_told_of;
            events::n02_a_local_listener_hears_its_own_process_alone;
            events::n03_de_01_de_02_de_03_applications_hear_each_other_and_not_themselves;
            audit::n04_what_an_operator_does_is_recorded_and_what_an_application_does_is_not;
            statistics::m01_st_02_st_03_st_04_numbers_of_the_fleet_outlive_its_instances;
            statistics::m01_st_05_a_reset_keeps_what_waits_and_runs;
            statistics::m02_st_07_the_first_job_of_a_queue_shows_sixteen_numbers;
            history::q11_l01_hi_02_a_queue_need_not_keep_its_successes;
            history::q11_l02_hi_03_hi_04_history_goes_by_its_age_for_each_state;
            history::q11_l02_history_goes_by_its_count;
            rules::a_full_queue_refuses_its_sender_with_advice;
            rules::a_full_queue_can_drop_the_oldest_instead;
            rules::q02_an_ordered_queue_halts_after_a_final_failure_until_it_is_resumed;
            rules::q02_an_ordered_queue_skips_what_waits_behind_a_final_failure;
            rules::q19_a_job_behind_a_failing_head_says_until_when;
            rules::q13_urgent_jobs_pass_a_limit_before_those_that_came_first;
            rules::q13_urgent_jobs_pass_a_backlog_that_was_let_through_before;
            rules::q13_an_urgent_job_that_fails_keeps_its_place;
            rules::q13_both_lanes_are_given_back_when_the_instance_drains;
            rules::q14_u11_qd_01_jobs_wait_while_all_is_paused_and_run_once_after;
            rules::q14_u11_qd_02_a_gate_that_flutters_runs_everything_once;
            rules::q14_u11_qd_03_what_runs_is_asked_to_stop_and_is_active_until_it_returns;
            statistics::m03_a_queue_is_looked_at_suspended_resumed_reset_and_emptied;
            statistics::m04_an_examination_tells_of_services_clocks_and_waiting_jobs;
            placement::p03_jobs_run_in_the_senders_cluster_and_elsewhere_while_nobody_there_takes_them;
            placement::q12_jobs_run_on_the_instance_that_sent_them;
            placement::p06_only_the_leader_runs_and_its_successor_goes_on;
            placement::p03_a_job_that_needs_a_label_waits_and_says_so_until_one_with_it_joins;
            placement::p08_jobs_whose_target_leaves_run_elsewhere;
            placement::p06_a_message_that_came_by_another_way_is_sent_on;
            placement::p10_nothing_waits_for_the_topology_to_settle;
            limits::a_handler_runs_no_more_jobs_at_once_than_it_may;
            limits::q01_an_instance_runs_no_more_jobs_at_once_than_it_may;
        }
    };
}

/// Calls a macro with the name of every case that needs to wait long, or to kill a process: in virtual time only.
#[macro_export]
macro_rules! for_each_case_of_virtual_time {
    ($run:ident) => {
        $run! {
            topology::v07_twenty_four_instances_agree_on_a_view_within_fifteen_seconds;
            topology::v07_fifty_one_instances_agree_on_a_view_within_thirty_seconds;
            asking::v02_who_dies_is_gone_when_its_lease_is;
            payload::s11_pa_02_a_payload_of_a_newer_version_runs_when_a_reader_starts;
            leaving::a_drain_at_any_moment_gives_every_job_back_uncharged;
            leaving::s09_s10_p08_p11_a_killed_instance_is_replaced_after_its_lease;
            leaving::q13_s10_an_urgent_job_of_a_killed_instance_does_not_wait_behind_a_backlog;
            events::n01_n02_an_attempt_that_is_lost_with_its_process_is_told_of;
            complete::s07_what_was_given_away_runs_again_when_its_instance_dies;
            gates::q02_an_order_goes_on_when_its_instance_is_killed;
            placement::p03_p04_p08_an_order_near_its_sender_goes_on_elsewhere_when_that_dies;
            placement::p08_lanes_of_instances_that_are_gone_are_taken_away;
            placement::p03_a_store_that_forgot_the_lanes_hears_of_them_again;
            schedules::z05_each_slot_is_one_job_though_the_coordinator_dies;
            schedules::times_that_nobody_was_there_for_follow_their_policy;
            letters::several_undertakers_run_every_evicted_job_once;
        }
    };
}
