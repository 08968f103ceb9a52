//! `longshore schedule list` and `longshore schedule show`.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone, clean, moment, one_line, state_tone};
use crate::session::Session;
use longshore_producer::schedule::{FiredView, RunView};
use longshore_producer::{ScheduleHandle, SchedulePage, ScheduleView};
use serde::Serialize;
use std::fmt::Write as _;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name.
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ListArgs {
    /// Only those whose jobs are of these topics: a/b, a/*, a/** or **.
    #[arg(long, value_name = "PATTERN")]
    topic: Option<String>,
    /// At most so many; 0 for all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Go on where an earlier page ended (its `next`).
    #[arg(long, value_name = "C")]
    cursor: Option<String>,
}

pub(super) async fn list(args: ListArgs, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let mut find = producer.schedules().limit(args.limit);
    if let Some(topic) = args.topic {
        find = find.topic(topic);
    }
    if let Some(cursor) = args.cursor {
        find = find.from_cursor(cursor);
    }
    let listing = Listing(find.list().await?);
    session.out.answer(&listing)?;
    if let Some(next) = &listing.0.next {
        session.out.note(&format!("there are more: the same command with --cursor {next}, or with a higher --limit"));
    }
    Ok(Exit::Done)
}

pub(super) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    answer(&producer.schedule(&args.name), &args.name, session).await
}

/// Prints a schedule as it is now.
pub(super) async fn answer(schedule: &ScheduleHandle, name: &str, session: &mut Session) -> Result<Exit, Failure> {
    let view = schedule.get().await?;
    let view = view.ok_or_else(|| longshore_producer::ScheduleError::NotFound(name.to_owned()))?;
    session.out.answer(&Shown(view)).map(|()| Exit::Done)
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Listing(SchedulePage);

impl Answer for Listing {
    fn text(&self, screen: Screen) -> String {
        if self.0.schedules.is_empty() && screen.terminal {
            return "no schedules".into();
        }
        let mut table = Table::new(&["NAME", "TOPIC", "WHEN", "ZONE", "NEXT", "LAST", "STATE"]);
        for schedule in &self.0.schedules {
            let last = schedule.last.first();
            table.row([
                schedule.name.as_str().into(),
                schedule.topic.as_str().into(),
                when(schedule).into(),
                schedule.zone.as_str().into(),
                schedule.next.as_deref().map(moment).unwrap_or_default().into(),
                last.map(|fired| moment(&fired.at)).unwrap_or_default().into(),
                standing(schedule),
            ]);
        }
        table.show(screen)
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown(ScheduleView);

impl Answer for Shown {
    fn text(&self, screen: Screen) -> String {
        let view = &self.0;
        let ScheduleView { fired, skipped, missed_count, refused, .. } = view;
        let mut text = String::new();
        let mut line = |name: &str, value: &str, tone: Tone| {
            let name = screen.paint(Tone::Faint, &format!("{name:<11}"));
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name} {}", screen.paint(tone, &clean(value)));
        };
        line("schedule", &view.name, Tone::Strong);
        line("topic", view.topic.as_str(), Tone::Plain);
        line("when", &format!("{}, in {}", when(view), view.zone), Tone::Plain);
        let policies = format!("overlap {}, missed {}, jitter {}", view.overlap, view.missed, view.jitter);
        line("policies", &policies, Tone::Plain);
        if let Some(suspended) = &view.suspended {
            line("paused", &format!("since {} by {}", moment(&suspended.since), suspended.by), Tone::Waiting);
        }
        line("payload", &one_line(view.payload.get()), Tone::Plain);
        let counts = format!("{fired} fired, {skipped} skipped, {missed_count} missed, {refused} refused");
        line("counts", &counts, Tone::Plain);
        if view.waiting {
            line("waits", "its next job goes when the one before has ended", Tone::Waiting);
        }
        if let Some(problem) = &view.problem {
            line("problem", problem, Tone::Bad);
        }
        for RunView { at, local, .. } in &view.upcoming {
            line("next", &format!("{}  {local}", moment(at)), Tone::Plain);
        }
        for FiredView { job, at, state, slot } in &view.last {
            let (state, tone) = state.map_or(("gone", Tone::Faint), |state| (state.as_str(), state_tone(state)));
            let asked = if slot.is_none() { ", asked for" } else { "" };
            line("last", &format!("{}  {job}  {state}{asked}", moment(at)), tone);
        }
        text.truncate(text.trim_end().len());
        text
    }
}

/// Its timings in words.
fn when(schedule: &ScheduleView) -> String {
    let all: Vec<&str> = schedule.timings.iter().map(|timing| timing.text.as_str()).collect();
    all.join("; ")
}

/// How it stands.
fn standing(schedule: &ScheduleView) -> Cell {
    match (&schedule.suspended, &schedule.problem, schedule.last.first().and_then(|fired| fired.state)) {
        (Some(suspended), ..) => Cell::new(&format!("paused by {}", suspended.by), Tone::Waiting),
        (None, Some(problem), _) => Cell::new(problem, Tone::Bad),
        (None, None, Some(state)) => Cell::new(&format!("last {state}"), state_tone(state)),
        (None, None, None) => Cell::new("", Tone::Plain),
    }
}
