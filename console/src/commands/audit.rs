//! `longshore audit`: who changed what.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Screen, Table};
use crate::session::Session;
use longshore_model::audit::Entry;
use longshore_model::span::rfc3339;
use serde::Serialize;
use std::collections::BTreeMap;

/// Who changed what, newest first: pauses, limits, queues, schedules, jobs stopped, removed and sent again, letters, rebuilds.
/// The last 1 000 entries are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: usize,
}

pub(crate) async fn run(args: &Args, session: &mut Session) -> Result<Exit, Failure> {
    let producer = session.reader().await?;
    let entries = producer.audited(args.limit).await?.into_iter().map(Shown::from).collect();
    session.out.answer(&Audit { entries })?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Audit {
    entries: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct Shown {
    at: String,
    until: String,
    who: String,
    action: String,
    of: String,
    plan: String,
    counts: BTreeMap<String, u64>,
}

impl From<Entry> for Shown {
    fn from(entry: Entry) -> Self {
        let Entry { at, until, deed } = entry;
        Self {
            at: rfc3339(at),
            until: rfc3339(until),
            who: deed.who,
            action: deed.action,
            of: deed.of,
            plan: deed.plan,
            counts: deed.counts,
        }
    }
}

impl Answer for Audit {
    fn text(&self, screen: Screen) -> String {
        if self.entries.is_empty() {
            return "nobody changed anything".to_owned();
        }
        let mut table = Table::new(&["WHEN", "WHO", "WHAT", "OF", "HOW MANY", "AS ASKED FOR"]);
        for entry in &self.entries {
            let counts: Vec<String> = entry.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
            table.row([
                entry.at.as_str().into(),
                entry.who.as_str().into(),
                entry.action.as_str().into(),
                entry.of.as_str().into(),
                counts.join(", ").into(),
                entry.plan.as_str().into(),
            ]);
        }
        table.show(screen)
    }
}
