//! Jobs run as processes, through the real program's guard mode: results, failures, stopping, and that nothing of a
//! job survives when the consumer, the guard or the call goes away.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot be set up fails")]

mod support;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use longshore_consumer::program::exec::{
    child::run,
    protocol::{ExecLine, ExecOutcome},
};
use rustix::process::Signal;
use serde_json::json;
use support::{
    DEADLINE, FAMILY, descriptors, dies_within, family, kill, launcher, run_script, run_spec, run_watched, script,
    signal, wait_for,
};
use tokio_util::sync::CancellationToken;

async fn check(text: &str, expect: ExecOutcome) {
    assert_eq!(run_script(text, "{}").await.outcome, expect, "{text}");
}

fn retry(message: &str, kind: &str) -> ExecOutcome {
    ExecOutcome::Retry(message.to_owned(), Some(kind.to_owned()))
}

#[tokio::test]
async fn the_payload_comes_in_and_the_result_goes_out() {
    let payload = json!({"asset": "a".repeat(300_000), "n": [1, 2]}).to_string();
    let count = run_script("wc -c", payload.clone()).await.outcome;
    assert_eq!(count, ExecOutcome::Succeeded(json!(payload.len())));
    let echoed = run_script("cat", r#"{"a": [1, null]}"#).await.outcome;
    assert_eq!(echoed, ExecOutcome::Succeeded(json!({"a": [1, null]})));
    check("echo all done", ExecOutcome::Succeeded(json!("all done"))).await;
    check("true", ExecOutcome::Succeeded(json!(null))).await;
}

#[tokio::test]
async fn exit_statuses_are_told_apart() {
    let permanent = ExecOutcome::Permanent("exit status 65: not a picture".into(), Some("exit-65".into()));
    check("echo 'not a picture' >&2; exit 65", permanent).await;
    check("exit 75", retry("exit status 75", "exit-75")).await;
    check("exit 1", retry("exit status 1", "exit-1")).await;
    check("echo why >&2; echo >&2; exit 137", retry("exit status 137: why", "exit-137")).await;
}

#[tokio::test]
async fn a_signal_is_named_and_not_taken_for_an_exit_status() {
    check("kill -KILL $$", retry("ended by signal 9 (SIGKILL)", "signal-9")).await;
    check("kill -SEGV $$", retry("ended by signal 11 (SIGSEGV)", "signal-11")).await;
    check("kill -PIPE $$", retry("ended by signal 13 (SIGPIPE)", "signal-13")).await;
    check("kill -TERM $$", retry("ended by signal 15 (SIGTERM)", "signal-15")).await;
}

#[tokio::test]
async fn a_program_that_cannot_run_is_a_failed_attempt_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = script(dir.path(), "");
    spec.program = "/nowhere/prog".into();
    let ran = run_spec(&spec, "{}", &CancellationToken::new()).await;
    assert!(
        matches!(&ran.outcome, ExecOutcome::Retry(m, _) if m.contains("cannot start /nowhere/prog")),
        "{:?}",
        ran.outcome
    );
    let mut spec = script(dir.path(), "");
    spec.cwd = Some(dir.path().join("missing"));
    let ran = run_spec(&spec, "{}", &CancellationToken::new()).await;
    assert!(matches!(&ran.outcome, ExecOutcome::Retry(m, _) if m.contains("its directory")), "{:?}", ran.outcome);
}

#[tokio::test]
async fn too_much_stdout_is_refused_but_read_to_the_end() {
    let ran = run_script("head -c 5000000 /dev/zero; echo finished >&2", "{}").await;
    assert!(matches!(&ran.outcome, ExecOutcome::Permanent(m, _) if m.contains("65536")), "{:?}", ran.outcome);
    assert_eq!(ran.lines, [ExecLine::Log("finished".into())]);
}

#[tokio::test]
async fn stderr_is_log_progress_and_properties() {
    let text = r#"
        echo "opening" >&2
        echo "::progress 1/3 reading" >&2
        echo '::set size={"width": 640}' >&2
        printf '\033[1mbold\n' >&2
        printf 'no line end' >&2
    "#;
    let expect = [
        ExecLine::Log("opening".into()),
        ExecLine::Progress { step: 1, steps: 3, text: "reading".into() },
        ExecLine::Set { name: "size".into(), value: json!({"width": 640}) },
        ExecLine::Log("\\u{1b}[1mbold".into()),
        ExecLine::Log("no line end".into()),
    ];
    assert_eq!(run_script(text, "{}").await.lines, expect);
}

#[tokio::test]
async fn lines_arrive_while_the_program_runs() {
    let dir = tempfile::tempdir().unwrap();
    let seen = dir.path().join("seen");
    let spec = script(dir.path(), "echo now >&2; while [ ! -e seen ]; do sleep 0.01; done");
    let cancel = CancellationToken::new();
    let outcome = run_watched(&spec, "", &cancel, |line| {
        assert_eq!(line, ExecLine::Log("now".into()));
        std::fs::write(&seen, "").unwrap();
    })
    .await;
    assert_eq!(outcome, ExecOutcome::Succeeded(json!(null)));
}

#[tokio::test]
async fn a_program_that_ignores_its_input_is_fine() {
    for text in ["exit 0", "exec <&-; sleep 0.1", "sleep 0.1"] {
        let ran = run_script(text, vec![b' '; 1024 * 1024]).await;
        assert_eq!(ran.outcome, ExecOutcome::Succeeded(json!(null)), "{text}");
    }
}

#[tokio::test]
async fn the_environment_tells_of_the_job_and_keeps_the_consumers_secrets() {
    let ExecOutcome::Succeeded(env) = run_script("env; pwd", "{}").await.outcome else { panic!("env failed") };
    let env = env.as_str().unwrap();
    for entry in [
        "LONGSHORE_TOPIC=media/thumbnail",
        "LONGSHORE_ATTEMPT=3",
        "LONGSHORE_RETRY=2",
        "LONGSHORE_INPUT_DIR=/input",
        "INHERITED=yes",
        "CONFIGURED=too",
    ] {
        assert!(env.lines().any(|line| line == entry), "{entry} is missing in {env}");
    }
    assert!(env.contains("LONGSHORE_JOB_ID=") && env.contains("LONGSHORE_OUTPUT_DIR="), "{env}");
    assert!(!env.contains("secret") && !env.contains("LONGSHORE_BROKER"), "{env}");
}

#[tokio::test]
async fn a_stop_request_is_obeyed_and_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let spec = script(dir.path(), "trap 'echo bye >&2; exit 0' TERM; echo up >&2; while :; do sleep 0.01; done");
    let (cancel, mut lines) = (CancellationToken::new(), Vec::new());
    let outcome = run_watched(&spec, "", &cancel, |line| {
        lines.push(line);
        cancel.cancel();
    })
    .await;
    assert_eq!(outcome, ExecOutcome::Interrupted("asked to stop: exit status 0".into()));
    // The shell may log the end of its `sleep` between the two.
    assert_eq!(lines.last(), Some(&ExecLine::Log("bye".into())), "what it wrote after the request counts");
}

#[tokio::test]
async fn a_program_that_listens_is_told_to_come_to_an_end_and_its_end_counts() {
    let dir = tempfile::tempdir().unwrap();
    let listens = "trap 'echo half; exit 0' USR1; echo up >&2; while :; do sleep 0.01; done";
    let deaf = "echo up >&2; while [ ! -e go ]; do sleep 0.01; done; echo whole";
    for (text, result) in [(listens, "half"), (deaf, "whole")] {
        let mut spec = script(dir.path(), text);
        (spec.timeout, spec.soft_timeout) = (Some(Duration::from_secs(9)), Some(Duration::from_millis(8_500)));
        let (hint, cancel) = (CancellationToken::new(), CancellationToken::new());
        let go = dir.path().join("go");
        let launcher = launcher();
        let outcome = run(&launcher, &spec, Bytes::new(), &hint, &cancel, |_| {
            hint.cancel();
            std::fs::write(&go, "").unwrap();
        });
        assert_eq!(tokio::time::timeout(DEADLINE, outcome).await, Ok(ExecOutcome::Succeeded(json!(result))));
    }
    let mut spec = script(dir.path(), "echo $LONGSHORE_TIMEOUT_MS-$LONGSHORE_SOFT_TIMEOUT_MS");
    (spec.timeout, spec.soft_timeout) = (Some(Duration::from_secs(9)), Some(Duration::from_millis(8_500)));
    let ran = run_spec(&spec, "", &CancellationToken::new()).await;
    assert_eq!(ran.outcome, ExecOutcome::Succeeded(json!("9000-8500")));
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_the_grace() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = script(dir.path(), "trap '' TERM; echo up >&2; while :; do sleep 0.01; done");
    spec.grace = Duration::from_millis(300);
    let (cancel, mut asked) = (CancellationToken::new(), None);
    let outcome = run_watched(&spec, "", &cancel, |_| {
        asked.get_or_insert_with(Instant::now);
        cancel.cancel();
    })
    .await;
    let expect = "did not stop within 300ms when asked to: ended by signal 9 (SIGKILL)";
    assert_eq!(outcome, ExecOutcome::Interrupted(expect.into()));
    assert!(asked.unwrap().elapsed() >= spec.grace, "it had its grace");
}

#[tokio::test]
async fn cancelled_before_the_start_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let ran = run_spec(&script(dir.path(), "sleep 1000"), vec![b' '; 1024 * 1024], &cancel).await;
    assert!(matches!(ran.outcome, ExecOutcome::Interrupted(_)), "{:?}", ran.outcome);
}

#[tokio::test]
async fn what_a_job_leaves_behind_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    // The family's stdout stays open; a reader that waited for its end would wait for 1000 s.
    let text = FAMILY.replace("wait; sleep 1000", "while [ ! -e enough ]; do sleep 0.01; done; echo 1");
    let spec = script(dir.path(), &text);
    let cancel = CancellationToken::new();
    let (ran, members) = tokio::join!(run_spec(&spec, "{}", &cancel), async {
        let members = family(dir.path()).await;
        std::fs::write(dir.path().join("enough"), "").unwrap();
        members
    });
    assert_eq!(ran.outcome, ExecOutcome::Succeeded(json!(1)));
    assert_eq!(members.living(), Vec::<&str>::new(), "the run returned while they lived");
}

#[tokio::test]
async fn nothing_survives_a_killed_guard() {
    let dir = tempfile::tempdir().unwrap();
    // Without its guard a job's processes are known by group and environment: the orphan must keep one of them.
    let text = FAMILY.replace("env -i PATH=\\\"$PATH\\\" ", "");
    assert_ne!(text, FAMILY);
    let spec = script(dir.path(), &text);
    let cancel = CancellationToken::new();
    let (ran, members) = tokio::join!(run_spec(&spec, "{}", &cancel), async {
        let members = family(dir.path()).await;
        kill(members.pid("guard"));
        members
    });
    assert!(matches!(&ran.outcome, ExecOutcome::Retry(m, _) if m.contains("guard")), "{:?}", ran.outcome);
    members.assert_dies(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn nothing_survives_a_dropped_call() {
    let dir = tempfile::tempdir().unwrap();
    let spec = script(dir.path(), FAMILY);
    let cancel = CancellationToken::new();
    let members = tokio::select! {
        ran = run_spec(&spec, "{}", &cancel) => panic!("it ended: {:?}", ran.outcome),
        members = family(dir.path()) => members,
    };
    members.assert_dies(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn a_job_outlives_the_thread_that_started_it() {
    let dir = tempfile::tempdir().unwrap();
    let spec = script(dir.path(), "while [ ! -e go ]; do sleep 0.01; done; echo 1");
    let (launcher, cancel) = (launcher(), CancellationToken::new());
    let mut running = Box::pin(run(&launcher, &spec, Bytes::new(), &cancel, &cancel, |_| {}));
    let runtime = tokio::runtime::Handle::current();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let _entered = runtime.enter();
            let started = running.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(started.is_pending());
        });
    });
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, running).await, Ok(ExecOutcome::Succeeded(json!(1))));
}

#[tokio::test]
async fn nothing_survives_a_killed_consumer() {
    let dir = tempfile::tempdir().unwrap();
    let mut consumer = start_consumer(dir.path());
    let members = family(dir.path()).await;
    assert_eq!(members.living().len(), 5);
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    members.assert_dies(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn the_program_dies_with_its_guard_when_the_consumer_cannot_help() {
    let dir = tempfile::tempdir().unwrap();
    let mut consumer = start_consumer(dir.path());
    let members = family(dir.path()).await;
    signal(i32::try_from(consumer.id()).unwrap(), Signal::STOP);
    kill(members.pid("guard"));
    let died = dies_within(members.pid("main"), Duration::from_secs(1)).await;
    consumer.kill().unwrap();
    consumer.wait().unwrap();
    // Nobody is left to end these.
    members.living().into_iter().for_each(|name| kill(members.pid(name)));
    assert!(died, "the program outlived its guard");
}

/// This binary again, as a consumer that runs a family: nothing but the "test" below.
fn start_consumer(dir: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "the_consumer_to_be_killed"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Not a test: the process that others kill.
#[tokio::test]
#[ignore = "started by another test"]
async fn the_consumer_to_be_killed() {
    let dir = std::env::current_dir().unwrap();
    let outcome = run_spec(&script(&dir, FAMILY), "{}", &CancellationToken::new()).await.outcome;
    panic!("the job ended: {outcome:?}");
}

/// Descriptors and children are counted in a process of its own, where no other test opens any.
#[tokio::test]
async fn many_runs_leave_no_descriptor_and_no_zombie() {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "the_process_that_counts", "--nocapture"])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Not a test by itself: see `many_runs_leave_no_descriptor_and_no_zombie`.
#[tokio::test]
#[ignore = "started by another test"]
async fn the_process_that_counts() {
    run_script("true", "{}").await;
    let before = descriptors();
    for round in 0..10 {
        run_script("cat >&2; exit 3", "{}").await;
        run_script("sleep 1000 & setsid sleep 1000 & kill -9 $$", "{}").await;
        let cancel = CancellationToken::new();
        if round % 2 == 0 {
            cancel.cancel();
        }
        let dir = tempfile::tempdir().unwrap();
        run_spec(&script(dir.path(), "exit 0"), "{}", &cancel).await;
    }
    let children = || std::fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap();
    wait_for("all children to be reaped", DEADLINE, || children().trim().is_empty()).await;
    assert_eq!(descriptors().len(), before.len(), "{before:?} became {:?}", descriptors());
}
