//! `longshore demo`: the main job of Longshore, for everybody to see.

use crate::demo::{Row, Story, Summary, pictures_in};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, state_tone};
use crate::session::Session;
use longshore_model::span;
use longshore_producer::World;
use std::path::PathBuf;
use std::time::Duration;

/// Ingest pictures with an author and two workers in this process, one of which is stopped half way.
///
/// Every picture is a job with the file as payload; a worker makes three renditions of it and reads what is known of
/// it. Runs without any service unless --broker and --store (or the settings) name them. Exit code 0 when every
/// picture was ingested; of the sample pictures, one is broken and has to fail.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Directory with pictures (JPEG, PNG, WebP) [default: sample pictures].
    dir: Option<PathBuf>,
    /// Where renditions and summary.json go, one directory per picture; files there are replaced.
    #[arg(long, value_name = "DIR", default_value = "longshore-demo-out")]
    out: PathBuf,
}

pub(crate) async fn run(args: Args, session: &mut Session) -> Result<Exit, Failure> {
    let world = World::system();
    let settings = session.settings_or_embedded("demo", &world)?;
    let pictures = match &args.dir {
        Some(dir) => Some(pictures_in(dir).await?),
        None => None,
    };
    let what = match &pictures {
        Some(pictures) => format!("{} pictures", pictures.len()),
        None => "sample pictures".into(),
    };
    let place = settings.broker.url.shown();
    let place = if place.starts_with("embedded:") { "the embedded backend" } else { &place };
    session.out.note(&format!("{what}, one author, two workers, on {place}; one worker is stopped half way"));
    let bar = session.out.progress();
    let story = Story { settings, world, pictures, out: args.out };
    let told = Box::pin(story.run(&bar)).await;
    drop(bar);
    let summary = told?;
    session.out.answer(&summary)?;
    Ok(if summary.as_expected { Exit::Done } else { Exit::Failed })
}

impl Answer for Summary {
    fn text(&self, screen: Screen) -> String {
        let mut table = Table::new(&["IMAGE", "WORKER", "ATTEMPTS", "RENDITIONS", "TIME", "STATE", "REASON"]);
        for row in &self.images {
            table.row([
                row.image.as_str().into(),
                worker(row),
                row.attempts.to_string().into(),
                renditions(row).into(),
                row.took_ms.map(milliseconds).unwrap_or_default().into(),
                state(row),
                row.reason.clone().unwrap_or_default().into(),
            ]);
        }
        format!("{}\n\n{}", table.show(screen), self.conclusion())
    }
}

impl Summary {
    fn conclusion(&self) -> String {
        let mut text = format!(
            "{} of {} pictures ingested in {}, {} failed, {} lost",
            self.succeeded,
            self.pictures,
            milliseconds(self.took_ms),
            self.failed,
            self.lost
        );
        if let Some(worker) = self.stopped {
            text += &format!("\n{worker} was stopped half way; pictures that ran again elsewhere: {}", self.moved);
        }
        text + &format!("\noutputs and summary.json are in {}", self.out.display())
    }
}

fn milliseconds(ms: u64) -> String {
    span::show(Duration::from_millis(ms))
}

fn worker(row: &Row) -> Cell {
    match (&row.worker, row.moved_from()) {
        (Some(worker), Some(first)) => Cell::new(&format!("{first} > {worker}"), Tone::Waiting),
        (Some(worker), None) => worker.as_str().into(),
        (None, _) => Cell::default(),
    }
}

fn renditions(row: &Row) -> String {
    let sizes: Vec<String> = row.renditions.iter().map(|made| format!("{}x{}", made.width, made.height)).collect();
    sizes.join(" ")
}

fn state(row: &Row) -> Cell {
    match (row.state, row.id) {
        (Some(state), _) => Cell::new(&state.to_string(), state_tone(state)),
        (None, Some(_)) => Cell::new("lost", Tone::Bad),
        (None, None) => Cell::new("refused", Tone::Bad),
    }
}
