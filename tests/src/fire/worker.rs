//! The consumer process of a run: the real engine with handlers in it that do what their payload says and write down
//! that they did.
//!
//! The process is the program `fire` again, as `fire worker`. It also runs the `[[handlers]]` of its settings, as
//! `longshore-consumer` does.

use super::files;
use super::history::{Event, History, How};
use longshore_consumer::program::{handlers, health, logging};
use longshore_consumer::{Consumer, Ctx, Outcome};
use longshore_link::World;
use longshore_producer::settings;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The pattern of all topics with such payloads.
pub const TOPICS: &str = "fire/*";
/// First argument of such a process.
pub const MODE: &str = "worker";
/// The kind of error of failures that have a rule.
pub const RULED: &str = "ruled";
/// Delay of a retry.
const RETRY: Duration = Duration::from_secs(1);
/// Work that takes so long says that it began.
const REPORTED_MS: u64 = 100;
/// Memory that a job which exhausts it may take beside what its process has.
const SPARE: u64 = 64 << 20;

/// What a handler does; the payload of a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// How long it works, ms.
    pub ms: u64,
    /// How many attempts fail, before one does not.
    pub fails: u32,
    /// Whether they fail in the way for which there is a rule.
    pub ruled: bool,
    /// Whether it was sent with a file, and leaves one.
    pub files: bool,
    /// What it does then.
    pub act: Act,
}

/// What a handler does at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Act {
    /// Says that it is done, with its fence as the result.
    #[default]
    Done,
    /// Fails for good.
    Fatal,
    /// Panics.
    Panic,
    /// Panics on a thread of its own, and fails for good because of that.
    ThreadPanic,
    /// Works without ever letting the runtime do anything else, then says that it is done.
    Block,
    /// Aborts the process.
    Abort,
    /// Ends the process, as if all were well.
    Exit,
    /// Uses up the stack.
    Overflow,
    /// Uses up the memory that the process may have.
    Exhaust,
}

/// Arguments of such a process, behind [`MODE`].
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Settings file
    #[arg(long)]
    config: PathBuf,
    /// History to append to
    #[arg(long)]
    history: PathBuf,
    /// Name in the history
    #[arg(long)]
    who: String,
}

/// Runs until it is told to stop.
///
/// # Panics
/// When it cannot start: the harness shows the log.
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    let loaded = settings::load(Some(&args.config), &[]).unwrap_or_else(|problems| panic!("{problems}"));
    let filter = logging::filter(&loaded.settings.log.level).expect("a level that exists");
    logging::start(filter, loaded.settings.log.format);
    let history = History::open(&args.history).expect("open the history");
    let who: Arc<str> = args.who.as_str().into();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("start a runtime");
    let ended = runtime.block_on(async {
        let world = World::system();
        let listener = health::bind(&loaded).await.expect("an address for health");
        let programs = handlers::prepare(&loaded.handlers).expect("handlers that can be run");
        let tools = handlers::Tools::new([], world.clock.clone()).expect("tools for programs");
        let consumer = Consumer::from_loaded(loaded).world(world).on(TOPICS, move |ctx: Ctx| {
            let (history, who) = (history.clone(), Arc::clone(&who));
            async move { run(&ctx, &history, &who).await }
        });
        let consumer = programs.into_iter().fold(consumer, |consumer, program| program.register(consumer, &tools));
        let live = Arc::new(OnceLock::new());
        let running = consumer.run_with(|running| drop(live.set(Arc::clone(running))));
        tokio::select! {
            biased;
            ended = running => ended,
            never = health::serve(listener, Arc::clone(&live)) => match never {},
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// An attempt in the history: noted as cancelled when nothing else was said of it.
struct Noted<'a> {
    history: &'a History,
    who: &'a str,
    ctx: &'a Ctx,
    how: How,
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let (id, fence) = (self.ctx.id(), self.ctx.fence());
        self.history.note(Event::Ended { id, fence, how: self.how });
    }
}

impl Noted<'_> {
    /// Says that this process dies now, because nobody could say it later at the right place.
    fn die(&self, how: &str) {
        self.history.note(Event::Died { who: self.who.to_owned(), how: how.to_owned() });
    }
}

async fn run(ctx: &Ctx, history: &History, who: &str) -> Outcome {
    let (id, fence) = (ctx.id(), ctx.fence());
    history.note(Event::Began { id, fence, attempt: ctx.attempt(), who: who.to_owned() });
    let mut noted = Noted { history, who, ctx, how: How::Cancelled };
    let task: Task = match ctx.payload_as() {
        Ok(task) => task,
        Err(error) => return Outcome::fail(error),
    };
    if task.files {
        match files::exchange(ctx) {
            Ok(true) => {}
            Ok(false) => history.note(Event::Broken { what: format!("job {id} was given another file than was sent") }),
            Err(error) => {
                noted.how = How::Failed;
                return Outcome::retry_in(RETRY, format!("its files: {error}"));
            }
        }
    }
    if task.ms >= REPORTED_MS {
        ctx.progress(0, 1, "");
    }
    if task.act == Act::Block {
        #[expect(clippy::disallowed_methods, reason = "a handler that blocks the runtime is part of the story")]
        std::thread::sleep(Duration::from_millis(task.ms));
    } else if let Err(cancelled) = ctx.sleep(Duration::from_millis(task.ms)).await {
        return Outcome::Cancelled(cancelled);
    }
    if ctx.retry() < task.fails {
        noted.how = How::Failed;
        let failed = Outcome::retry_in(RETRY, "it was told to fail");
        return if task.ruled { failed.kind(RULED) } else { failed };
    }
    act(&mut noted, task.act)
}

fn act(noted: &mut Noted<'_>, act: Act) -> Outcome {
    match act {
        Act::Done | Act::Block => {
            noted.how = How::Done;
            return Outcome::result(noted.ctx.fence().0);
        }
        Act::Fatal => {}
        #[expect(clippy::panic, reason = "a handler that panics is part of the story")]
        Act::Panic => panic!("it was told to panic"),
        Act::ThreadPanic => {
            #[expect(clippy::disallowed_methods, reason = "a thread of the handler's own is part of the story")]
            let ended = std::thread::spawn(|| std::panic::resume_unwind(Box::new("told to"))).join();
            assert!(ended.is_err(), "the thread panics");
        }
        Act::Abort => {
            noted.die("abort");
            std::process::abort();
        }
        Act::Exit => {
            noted.die("exit(0)");
            std::process::exit(0);
        }
        Act::Overflow => {
            noted.die("stack overflow");
            std::hint::black_box(deeper(std::hint::black_box(1)));
        }
        Act::Exhaust => {
            noted.die("out of memory");
            exhaust();
        }
    }
    noted.how = How::Fatal;
    Outcome::fail("it was told to fail for good")
}

/// Never gets to its end: the stack does first.
#[expect(unconditional_recursion, reason = "it is meant to overflow the stack")]
fn deeper(depth: u64) -> u64 {
    let ballast = std::hint::black_box([depth; 512]);
    deeper(ballast[7] + 1) + ballast[9]
}

/// Takes memory until there is none, which aborts the process.
fn exhaust() {
    let pages = std::fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').next()?.parse().ok());
    let now: u64 = pages.unwrap_or(0) * 4_096;
    let hard = getrlimit(Resource::As).maximum;
    setrlimit(Resource::As, Rlimit { current: Some(now + SPARE), maximum: hard }).expect("limit the memory");
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}
