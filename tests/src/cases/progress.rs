//! What handlers say about their jobs while they run: log, properties, progress, a late end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use longshore_consumer::{Cancelled, Ctx, Outcome};
use longshore_model::limits;
use longshore_producer::{JobView, State};
use tokio_util::sync::CancellationToken;

use super::{Fleet, Runs};

const TOPIC: &str = "test/progress";

fn log(view: &JobView) -> Vec<&str> {
    view.log.iter().map(|line| line.text.as_str()).collect()
}

/// PR-01, with our bound: some lines are written while the handler runs, the others with its end.
pub async fn u08_pr_01_the_newest_log_lines_are_kept_in_order(fleet: &Fleet) {
    let go = CancellationToken::new();
    let gate = go.clone();
    let work = move |ctx: Ctx| {
        let gate = gate.clone();
        async move {
            for n in 0..150 {
                ctx.log(format!("line {n}"));
            }
            gate.cancelled().await;
            for n in 150..250 {
                ctx.log(format!("line {n}"));
            }
            ctx.log_at("warn", "x".repeat(2 * limits::LOG_LINE_BYTES));
        }
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    fleet.looks(sent.id, "the log is seen while the job runs", |view| view.log.len() == 150).await;
    go.cancel();
    let job = fleet.end(&sent).await.job;
    assert_eq!(job.log.len(), limits::LOG_LINES);
    let (last, lines) = job.log.split_last().unwrap();
    let expected: Vec<_> = (250 - lines.len()..250).map(|n| format!("line {n}")).collect();
    assert_eq!(lines.iter().map(|line| &line.text).collect::<Vec<_>>(), expected.iter().collect::<Vec<_>>());
    assert!(job.log.is_sorted_by_key(|line| &line.at), "stamped in order");
    assert!(last.text.len() <= limits::LOG_LINE_BYTES && last.text.ends_with("…(cut)") && last.level == "warn");
    // A job that says nothing has an empty log, a short log is whole.
    running.drain().await;
    let running = fleet.start(fleet.consumer().await.on("test/few", |ctx: Ctx| async move {
        ctx.log("one").log("two");
    }));
    let running = running.await;
    assert_eq!(log(&fleet.end(&fleet.send_to("test/few").await).await.job), ["one", "two"]);
    running.drain().await;
}

/// PR-03: no name, no value, a reserved name; what is legal is kept.
pub async fn j03_u09_pr_03_illegal_properties_are_rejected(fleet: &Fleet) {
    let work = |ctx: Ctx| async move {
        let rejected = [
            ctx.set("", "x"),
            ctx.set("nothing", ()),
            ctx.set("nothing", None::<u32>),
            ctx.set("slingevent:x", "x"),
            ctx.set(":slingevent:x", "x"),
            ctx.set("longshore.x", "x"),
        ];
        let accepted = rejected.iter().filter(|answer| answer.is_ok()).count();
        ctx.set("pages", 12).and_then(|()| ctx.set("format", ["a4", "letter"])).map(|()| Outcome::result(accepted))
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let report = fleet.end(&fleet.send_to(TOPIC).await).await;
    assert_eq!(report.result::<usize>().unwrap(), 0, "every illegal property is rejected");
    let expected = serde_json::json!({"format": ["a4", "letter"], "pages": 12});
    assert_eq!(serde_json::to_value(&report.job.properties).unwrap(), expected);
    running.drain().await;
}

/// PR-04: the handler returns, the end comes later and counts once.
pub async fn s06_s07_pr_04_an_attempt_is_completed_once(fleet: &Fleet) {
    let runs = Runs::default();
    let handles = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&handles);
    let work = runs.then(move |ctx| {
        let handle = ctx.defer();
        let twice = ctx.defer().is_err();
        kept.lock().unwrap().extend(handle.ok().filter(|_| twice));
        async { Outcome::Deferred }
    });
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    runs.reach(1).await;
    fleet.quiet(Duration::from_secs(60)).await;
    assert_eq!(fleet.show(sent.id).await.state, State::Active, "it keeps its slot until it is completed");
    let handle = handles.lock().unwrap().pop().unwrap();
    handle.complete(Outcome::result("late")).unwrap();
    assert!(handle.complete(Outcome::fail("again")).is_err(), "the second time fails");
    assert_eq!(fleet.end(&sent).await.result::<String>().unwrap(), "late");
    assert_eq!(runs.count(), 1);
    running.drain().await;
}

/// PR-05: 40 of 100 steps after four seconds means six seconds more.
pub async fn u07_pr_05_progress_counts_steps_and_estimates_the_end(fleet: &Fleet) {
    let wait = fleet.span(Duration::from_secs(4), Duration::from_millis(400));
    let (go, times) = (CancellationToken::new(), Arc::new(Mutex::new(Vec::new())));
    let (gate, noted, clock) = (go.clone(), Arc::clone(&times), fleet.producer().link().world.clock.clone());
    let work = move |ctx: Ctx| {
        let (gate, noted, clock) = (gate.clone(), Arc::clone(&noted), clock.clone());
        async move {
            let note = || noted.lock().unwrap().push(clock.unix_ms());
            note();
            ctx.init_progress(100, None);
            note();
            ctx.sleep(wait).await?;
            note();
            ctx.advance(40);
            note();
            gate.cancelled().await;
            ctx.advance(100);
            Ok::<_, Cancelled>(())
        }
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    let at = |view: &JobView, step| view.progress.as_ref().is_some_and(|progress| progress.step == step);
    fleet.looks(sent.id, "40 steps are done", |view| at(view, 40)).await;
    let snapshot = fleet.producer().link().store.load(vec![sent.id]).await.unwrap().remove(0).unwrap();
    let eta = snapshot.progress.unwrap().eta.unwrap();
    let noted = times.lock().unwrap().clone();
    let [begun, began, reached, told] = noted[..] else { panic!("{noted:?}") };
    // 60 steps at the pace of the 40; the notes before and after each call are the bounds, with 2 ms for rounding.
    let (least, most) = (reached + (reached - began) * 60 / 40, told + (told - begun) * 60 / 40);
    assert!((least - 2..=most + 2).contains(&eta), "{eta} is not between {least} and {most}");
    go.cancel();
    let progress = fleet.end(&sent).await.job.progress.unwrap();
    assert_eq!((progress.step, progress.steps), (100, 100));
    running.drain().await;
}

/// Each attempt keeps its own log and progress, shown with it while later ones run.
pub async fn u07_u08_each_attempt_keeps_its_log_and_its_progress(fleet: &Fleet) {
    let go = CancellationToken::new();
    let gate = go.clone();
    let work = move |ctx: Ctx| {
        let gate = gate.clone();
        async move {
            let attempt = ctx.attempt();
            ctx.log(format!("attempt {attempt} begins")).progress(attempt.into(), 9, "trying");
            if attempt < 3 {
                return Outcome::retry_in(Duration::from_millis(20), "not yet");
            }
            gate.cancelled().await;
            Outcome::done()
        }
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    let third = |view: &JobView| view.attempt == 3 && !view.log.is_empty();
    let view = fleet.looks(sent.id, "the third attempt has said something", third).await;
    let check = |view: &JobView| {
        let told: Vec<_> = view
            .attempts
            .iter()
            .map(|attempt| {
                let progress = attempt.progress.as_ref().unwrap();
                (attempt.number, attempt.log.len(), attempt.log[0].text.clone(), progress.step, progress.steps)
            })
            .collect();
        let expected = (1..=3_u32).map(|n| (n, 1, format!("attempt {n} begins"), u64::from(n), 9));
        assert_eq!(told, expected.collect::<Vec<_>>());
        assert_eq!(log(view), ["attempt 3 begins"], "the job's log is that of its last attempt");
    };
    check(&view);
    go.cancel();
    check(&fleet.end(&sent).await.job);
    running.drain().await;
}

/// At most one write for each 100 ms, however much is said: what is written together has one stamp.
pub async fn u08_reports_are_written_together(fleet: &Fleet) {
    let step = Duration::from_millis(5);
    let work = move |ctx: Ctx| async move {
        for n in 0..150 {
            ctx.log(format!("line {n}"));
            ctx.sleep(step).await?;
        }
        Ok::<_, Cancelled>(())
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    fleet.end(&sent).await;
    let snapshot = fleet.producer().link().store.load(vec![sent.id]).await.unwrap().remove(0).unwrap();
    assert_eq!(snapshot.log.len(), 150);
    let mut stamps: Vec<u64> = snapshot.log.iter().map(|line| line.at).collect();
    stamps.dedup();
    // The last ones go with the end of the attempt, whenever that is.
    let between: Vec<u64> = stamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (_, before) = between.split_last().unwrap();
    let least = fleet.span(Duration::from_millis(100), Duration::from_millis(80)).as_millis();
    assert!(before.iter().all(|span| u128::from(*span) >= least), "{before:?}");
    assert!(stamps.len() >= 3, "it is written while the handler runs: {stamps:?}");
    running.drain().await;
}

/// PR-01: as many lines as the instance is set to, the newest; none; all, up to the bound.
pub async fn u08_pr_01_an_instance_keeps_as_many_lines_as_it_is_set_to(fleet: &Fleet) {
    for (limit, first) in [(10, Some(10)), (0, None), (limits::LOG_LINES, Some(0))] {
        let work = |ctx: Ctx| async move {
            for n in 0..20 {
                ctx.log(format!("line {n}"));
            }
        };
        let consumer = fleet.consumer_with(|settings| settings.instance.log_lines = limit).await.on(TOPIC, work);
        let running = fleet.start(consumer).await;
        let job = fleet.end(&fleet.send_to(TOPIC).await).await.job;
        let expected: Vec<_> = first.into_iter().flat_map(|first| first..20).map(|n| format!("line {n}")).collect();
        assert_eq!(log(&job), expected, "{limit}");
        let marked: Vec<_> = job.log.iter().filter(|line| line.truncated).map(|line| line.text.as_str()).collect();
        assert_eq!(marked, if limit == 10 { vec!["line 19"] } else { Vec::new() }, "{limit}");
        running.drain().await;
    }
}

/// A follower sees what a handler reports well before it would look by itself.
pub async fn u07_u08_what_a_handler_reports_is_pushed_to_followers(fleet: &Fleet) {
    let go = CancellationToken::new();
    let gate = go.clone();
    let work = move |ctx: Ctx| {
        let gate = gate.clone();
        async move {
            gate.cancelled().await;
            ctx.log("it goes on").progress(1, 2, "half of it");
            ctx.until_cancelled().await;
        }
    };
    let running = fleet.start(fleet.consumer().await.on(TOPIC, work)).await;
    let sent = fleet.send_to(TOPIC).await;
    let mut changes = fleet.producer().follow(sent.id);
    let mut until = async |what: &str, fits: fn(&JobView) -> bool| {
        let seen = async { while !fits(&changes.next().await.unwrap().unwrap().job) {} };
        fleet.within(what, seen).await;
    };
    until("it runs", |job| job.state == State::Active).await;
    let said = tokio::time::Instant::now();
    go.cancel();
    until("it has said something", |job| !job.log.is_empty() && job.progress.is_some()).await;
    let after = said.elapsed();
    assert!(after < fleet.span(Duration::from_millis(300), Duration::from_millis(1_500)), "seen after {after:?}");
    fleet.producer().stop([sent.id], "enough").await.unwrap();
    until("it has ended", |job| job.state.is_terminal()).await;
    running.drain().await;
}
