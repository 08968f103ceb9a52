//! `longshore config`: what is set, and where.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{Answer, Cell, Screen, Table, Tone};
use crate::session::Session;
use longshore_model::settings::Origin;
use longshore_producer::Loaded;
use serde::Serialize;

pub(crate) fn run(session: &mut Session) -> Result<Exit, Failure> {
    let config = Config::new(&session.settings()?);
    session.out.answer(&config)?;
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Config {
    settings: Vec<Setting>,
    /// `[[queues]]` of the file, by name.
    queues: Vec<String>,
    /// `[[handlers]]` of the file, by topic.
    handlers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Setting {
    key: &'static str,
    value: String,
    origin: String,
    default: bool,
    doc: &'static str,
}

impl Config {
    fn new(loaded: &Loaded) -> Self {
        let settings = loaded.table().into_iter().map(|row| Setting {
            key: row.key,
            value: row.value,
            default: row.origin == Origin::Default,
            origin: row.origin.to_string(),
            doc: row.doc,
        });
        Self {
            settings: settings.collect(),
            queues: loaded.queues.iter().map(|queue| queue.name.clone()).collect(),
            handlers: loaded.handlers.iter().map(|handler| handler.topic.to_string()).collect(),
        }
    }
}

impl Answer for Config {
    fn text(&self, screen: Screen) -> String {
        let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
        for Setting { key, value, origin, default, .. } in &self.settings {
            let tone = if *default { Tone::Faint } else { Tone::Plain };
            table.row([(*key).into(), Cell::new(value, tone), Cell::new(origin, tone)]);
        }
        for queue in &self.queues {
            table.row(["queues".into(), Cell::from(queue.as_str()), "file".into()]);
        }
        for handler in &self.handlers {
            table.row(["handlers".into(), Cell::from(handler.as_str()), "file".into()]);
        }
        table.show(screen)
    }
}
