//! Runs a handler with no services and no waiting, and says what it did.
//!
//! A [`TestRun`] calls the handler as the engine would: extractors, cancellation, timeout, panics
//! caught. With tokio's paused time (`#[tokio::test(start_paused = true)]`) no test waits. What the
//! handler does to its job is collected, not written anywhere.
//!
//! ```
//! use longshore_consumer::testing::TestRun;
//! use longshore_consumer::{Cancelled, Ctx, Job, Outcome};
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Serialize, Deserialize, Job)]
//! #[job(topic = "count/up")]
//! struct Count {
//!     to: u64,
//! }
//!
//! async fn count(job: Count, ctx: Ctx) -> Result<Outcome, Cancelled> {
//!     for step in 1..=job.to {
//!         ctx.sleep(Duration::from_secs(60)).await?;
//!         ctx.progress(step, job.to, "counting");
//!     }
//!     Ok(Outcome::result(job.to))
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let run = TestRun::new(()).run(count, Count { to: 2 }).await;
//! run.assert_result(&2);
//! assert_eq!(run.progress(), [(1, 2), (2, 2)]);
//!
//! let stopped = TestRun::new(()).cancel_after(Duration::from_secs(90)).run(count, Count { to: 5 }).await;
//! stopped.assert_cancelled();
//! assert_eq!(stopped.progress(), [(1, 5)]);
//! # }
//! ```

use crate::ctx::{Cancelled, Ctx, JobInfo, ReportSink};
use crate::engine::run::{self, Ended, Limits};
use crate::follow_up::FollowUp;
use crate::handler::{Handler, erase};
use crate::outcome::Outcome;
use longshore_link::World;
use longshore_link::store::Report;
use longshore_model::Job;
use longshore_model::envelope::{self, Envelope};
use longshore_model::id::Fence;
use longshore_model::snapshot::Progress;
use longshore_model::token::Token;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One run of a handler to come.
#[derive(Debug)]
pub struct TestRun<S> {
    state: S,
    retry: u32,
    cancel: Option<(Duration, Cancelled)>,
    timeout: Option<Duration>,
    soft_timeout: Option<Duration>,
    files: Vec<(String, Vec<u8>)>,
}

impl<S: Clone + Send + Sync + 'static> TestRun<S> {
    /// A run with the application's state.
    pub const fn new(state: S) -> Self {
        Self { state, retry: 0, cancel: None, timeout: None, soft_timeout: None, files: Vec::new() }
    }

    /// As if this many attempts had failed before.
    #[must_use]
    pub const fn after_failures(mut self, count: u32) -> Self {
        self.retry = count;
        self
    }

    /// Somebody asks the job to stop after a while.
    #[must_use]
    pub fn cancel_after(self, span: Duration) -> Self {
        self.cancel_with(span, Cancelled::Stopped("the test".into()))
    }

    /// The attempt is cancelled after a while, for this reason.
    #[must_use]
    pub fn cancel_with(mut self, span: Duration, reason: Cancelled) -> Self {
        self.cancel = Some((span, reason));
        self
    }

    /// Limits the run.
    #[must_use]
    pub const fn timeout(mut self, span: Duration) -> Self {
        self.timeout = Some(span);
        self
    }

    /// Tells the handler after so long that it had better come to an end.
    #[must_use]
    pub const fn soft_timeout(mut self, span: Duration) -> Self {
        self.soft_timeout = Some(span);
        self
    }

    /// Gives the job a payload file.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Runs the handler.
    ///
    /// # Panics
    /// When the job cannot be turned into JSON and back, or its files cannot be written: a test wants to know.
    #[expect(clippy::expect_used, clippy::panic, reason = "this is a tool of tests, and fails them")]
    pub async fn run<H, J, Args>(self, handler: H, job: J) -> TestReport
    where
        H: Handler<J, Args, S>,
        J: Job,
    {
        let world = World::simulated(1);
        let text = serde_json::to_string(&job).expect("the job is not JSON");
        let id = world.job_id(None);
        let topic = J::topic().expect("the topic is illegal");
        let dir = tempfile::tempdir().expect("no temporary directory");
        let input_dir = (!self.files.is_empty()).then(|| dir.path().join("in"));
        if let Some(input) = &input_dir {
            std::fs::create_dir(input).expect("no input directory");
            for (name, content) in &self.files {
                envelope::check_file_name(name).expect("bad file name");
                std::fs::write(input.join(name), content).expect("an input file could not be written");
            }
        }
        let envelope = Envelope {
            payload_version: J::VERSION,
            created_by: Some("a test".into()),
            ..Envelope::new(id, topic.clone(), RawValue::from_string(text).expect("the job is not JSON"))
        };
        let fence = Fence(world.clock.unix_us());
        let token = Token {
            id,
            attempt: self.retry + 1,
            fence,
            delay_ms: 0,
            retry_for_ms: None,
            kinds: BTreeMap::new(),
            nonce: "a-test".into(),
        };
        let options = handler.options().or(&J::options());
        let grace = options.grace.unwrap_or(run::DEFAULT_GRACE);
        let limits = Limits {
            timeout: self.timeout.or(options.timeout),
            soft: self.soft_timeout.or(options.soft_timeout),
            stall: options.stall_timeout,
            grace,
            lost_grace: grace,
            awaits_token: false,
        };
        let info = JobInfo {
            token,
            id,
            topic,
            attempt: self.retry + 1,
            retry: self.retry,
            fence,
            timeout: limits.timeout,
            soft_timeout: limits.soft,
            retry_rules: options.retry_on.clone(),
            envelope: Arc::new(envelope),
            input_dir,
        };
        let sink = ReportSink::journalled();
        let (ctx, controls) = Ctx::new(info, world.clock.clone(), dir.path().to_owned(), sink);
        let erased = erase(handler, self.state);
        let work = run::handler(&erased, &ctx, &controls, &world.clock, limits);
        let cancelling = async {
            if let Some((span, reason)) = self.cancel {
                world.clock.sleep(span).await;
                controls.cancel.send_replace(Some(reason));
            }
            std::future::pending::<Ended>().await
        };
        let ended = tokio::select! {
            biased;
            ended = work => ended,
            ended = cancelling => ended,
        };
        let outcome = match ended {
            Ended::Outcome(outcome) => outcome,
            Ended::Unreadable(error) => panic!("the job does not survive JSON: {error}"),
            Ended::Panicked(error) => Outcome::Fail { error },
            Ended::FilesAway(why) => Outcome::retry(why),
        };
        let outputs = ctx.made_output_dir().map(|dir| read_all(&dir)).unwrap_or_default();
        TestReport {
            outcome,
            progress: controls.sink.journal(),
            report: controls.sink.take(),
            follow_ups: ctx.take_follow_ups().into_iter().map(|(_, job)| job).collect(),
            outputs,
        }
    }
}

#[expect(clippy::expect_used, reason = "this is a tool of tests, and fails them")]
fn read_all(dir: &PathBuf) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("the output directory cannot be read");
    entries
        .map(|entry| {
            let entry = entry.expect("the output directory cannot be read");
            let content = std::fs::read(entry.path()).expect("an output file cannot be read");
            (entry.file_name().to_string_lossy().into_owned(), content)
        })
        .collect()
}

/// What a handler did in a test run.
#[derive(Debug)]
pub struct TestReport {
    /// How it ended; a panic is shown as a permanent failure, which it is.
    pub outcome: Outcome,
    /// Files that it left, by name.
    pub outputs: BTreeMap<String, Vec<u8>>,
    progress: Vec<Progress>,
    report: Report,
    follow_ups: Vec<FollowUp>,
}

impl TestReport {
    /// Every progress that it said: `(step, steps)`.
    #[must_use]
    pub fn progress(&self) -> Vec<(u64, u64)> {
        self.progress.iter().map(|progress| (progress.step, progress.steps)).collect()
    }

    /// Every progress that it said, whole.
    #[must_use]
    pub fn progress_in_full(&self) -> &[Progress] {
        &self.progress
    }

    /// Its log lines.
    #[must_use]
    pub fn log(&self) -> Vec<&str> {
        self.report.log.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// A property that it set.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<Value> {
        self.report.properties.get(name).and_then(|text| serde_json::from_str(text).ok())
    }

    /// The follow-up jobs of one kind that it would have sent.
    #[must_use]
    pub fn enqueued<J: Job>(&self) -> Vec<J> {
        self.follow_ups
            .iter()
            .filter(|job| job.topic().as_str() == J::TOPIC)
            .filter_map(|job| serde_json::from_str(job.payload()).ok())
            .collect()
    }

    /// # Panics
    /// When no follow-up job of this kind fits.
    #[track_caller]
    pub fn assert_enqueued<J: Job>(&self, fits: impl Fn(&J) -> bool) {
        let jobs = self.enqueued::<J>();
        assert!(jobs.iter().any(fits), "none of {} follow-up jobs of {} fits", jobs.len(), J::TOPIC);
    }

    /// # Panics
    /// When it did not succeed.
    #[track_caller]
    pub fn assert_done(&self) {
        assert!(matches!(self.outcome, Outcome::Done { .. }), "it did not succeed: {:?}", self.outcome);
    }

    /// # Panics
    /// When it did not succeed with this result.
    #[track_caller]
    pub fn assert_result(&self, expected: &impl Serialize) {
        let expected = serde_json::to_value(expected).unwrap_or(Value::Null);
        let Outcome::Done { result: Some(text), .. } = &self.outcome else {
            assert!(matches!(self.outcome, Outcome::Done { result: Some(_), .. }), "no result: {:?}", self.outcome);
            return;
        };
        let found: Value = serde_json::from_str(text).unwrap_or(Value::Null);
        assert_eq!(found, expected, "another result");
    }

    /// # Panics
    /// When it did not fail in a way that is tried again, with this text in its error.
    #[track_caller]
    pub fn assert_retries_with(&self, part: &str) {
        let fits = matches!(&self.outcome, Outcome::Retry { error, .. } if error.contains(part));
        assert!(fits, "it does not retry with `{part}`: {:?}", self.outcome);
    }

    /// # Panics
    /// When it did not fail for good, with this text in its error.
    #[track_caller]
    pub fn assert_fails_with(&self, part: &str) {
        let fits = matches!(&self.outcome, Outcome::Fail { error } if error.contains(part));
        assert!(fits, "it does not fail for good with `{part}`: {:?}", self.outcome);
    }

    /// # Panics
    /// When it did not ask to run again after this span.
    #[track_caller]
    pub fn assert_snoozes(&self, span: Duration) {
        let fits = matches!(&self.outcome, Outcome::Snooze { after, .. } if *after == span);
        assert!(fits, "it does not snooze for {span:?}: {:?}", self.outcome);
    }

    /// # Panics
    /// When it did not give its attempt away.
    #[track_caller]
    pub fn assert_given_away(&self) {
        assert!(self.outcome == Outcome::GivenAway, "it was not given away: {:?}", self.outcome);
    }

    /// # Panics
    /// When it was not cut short by a cancellation.
    #[track_caller]
    pub fn assert_cancelled(&self) {
        assert!(matches!(self.outcome, Outcome::Cancelled(_)), "it was not cancelled: {:?}", self.outcome);
    }
}
