//! Questions to instances, on Redis: they are kept in the fleet's slot, where it is known who is in.

use super::args;
use super::connection::Repeat;
use super::reply::{self, Items};
use super::server::Server;
use crate::error::{Fault, too_many};
use crate::store::{Asked, Standing};
use longshore_model::id::Owner;
use longshore_model::limits;
use longshore_model::topology::asking::{Question, QuestionId, Said};
use redis::Cmd;

fn owners(cmd: &mut Cmd, of: &[Owner]) {
    cmd.arg(of.len());
    for owner in of {
        cmd.arg(owner.to_string());
    }
}

pub(super) async fn ask(
    server: &Server,
    watcher: &str,
    id: &QuestionId,
    question: &Question,
    of: &[Owner],
    ms: u64,
) -> Result<bool, Fault> {
    let script = &server.scripts.ask;
    let mut cmd = server.fleet_call(script);
    cmd.arg(&id.0).arg(args::json(question)?).arg(ms).arg(server.names.outcomes(watcher));
    owners(&mut cmd, of);
    match Items::of(server.run(script, &cmd, Repeat::Safe).await?)?.text()?.as_str() {
        "ok" => Ok(true),
        "over" => Ok(false),
        _ => Err(too_many("open questions", limits::QUESTIONS)),
    }
}

pub(super) async fn take(
    server: &Server,
    owner: &Owner,
    known: &[QuestionId],
    limit: usize,
) -> Result<Vec<Asked>, Fault> {
    let script = &server.scripts.take_questions;
    let mut cmd = server.fleet_call(script);
    cmd.arg(owner.to_string()).arg(limit).arg(known.len());
    for id in known {
        cmd.arg(&id.0);
    }
    let answers = Items::of(server.run(script, &cmd, Repeat::Safe).await?)?;
    answers.each(|mut asked| {
        let (id, text, left_ms) = (QuestionId(asked.text()?), asked.text()?, asked.number()?);
        let question = serde_json::from_str(&text).map_err(|_| reply::unexpected("a question"))?;
        Ok(Asked { id, question, left_ms })
    })
}

pub(super) async fn answer(server: &Server, id: &QuestionId, owner: &Owner, said: &Said) -> Result<bool, Fault> {
    let script = &server.scripts.answer;
    let mut cmd = server.fleet_call(script);
    cmd.arg(&id.0).arg(owner.to_string()).arg(args::json(said)?);
    let kept = server.run(script, &cmd, Repeat::Safe).await?;
    redis::from_redis_value::<u64>(kept).map(|kept| kept == 1).map_err(|_| reply::unexpected("an answer's fate"))
}

pub(super) async fn standings(
    server: &Server,
    id: &QuestionId,
    of: &[Owner],
    close: bool,
) -> Result<Option<Vec<Standing>>, Fault> {
    let script = &server.scripts.standings;
    let mut cmd = server.fleet_call(script);
    cmd.arg(&id.0).arg(u8::from(close));
    owners(&mut cmd, of);
    let mut answer = Items::of(server.connection.run_knowing_server(script, &cmd).await?)?;
    if answer.is_empty() {
        return Ok(None);
    }
    answer.number()?;
    let found = answer.texts()?.into_iter().map(|text| standing(&text)).collect::<Result<Vec<_>, _>>()?;
    if found.len() != of.len() {
        return Err(reply::unexpected("another number of answers"));
    }
    Ok(Some(found))
}

fn standing(text: &str) -> Result<Standing, Fault> {
    Ok(match text {
        "w" => Standing::Waiting,
        "b" => Standing::Begun,
        "g" => Standing::Gone { begun: false },
        "G" => Standing::Gone { begun: true },
        _ => {
            let said = text.strip_prefix('s').and_then(|said| serde_json::from_str(said).ok());
            Standing::Said(said.ok_or_else(|| reply::unexpected("what an instance said"))?)
        }
    })
}
