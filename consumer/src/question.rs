//! Questions that an instance answers: what a handler of them gets, and which handlers there are.
//!
//! A question is no job: it goes to each instance that is meant, is answered at once or not at all, and leaves
//! nothing behind. Who asks is `longshore_producer::Ask`.

use crate::consumer::StartError;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use longshore_model::topic::Topic;
use longshore_model::topology::asking::{self, QuestionId, Said};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::future::Future;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

/// A question to this instance.
#[derive(Debug, Clone)]
pub struct Question {
    pub(crate) id: QuestionId,
    pub(crate) asked: asking::Question,
    pub(crate) left: Duration,
}

impl Question {
    /// Which asking this is: the same at every instance that is asked.
    #[must_use]
    pub const fn id(&self) -> &QuestionId {
        &self.id
    }

    /// Under which name it is asked.
    #[must_use]
    pub const fn name(&self) -> &Topic {
        &self.asked.name
    }

    /// How long somebody waits for the answer, from when it arrived here. The handler is dropped after that.
    #[must_use]
    pub const fn left(&self) -> Duration {
        self.left
    }

    /// What it is about, as JSON text.
    #[must_use]
    pub fn payload(&self) -> &str {
        self.asked.payload.get()
    }

    /// What it is about.
    ///
    /// # Errors
    /// When the payload is not such a value.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.payload())
    }
}

type Handler = Arc<dyn Fn(Question) -> BoxFuture<'static, Said> + Send + Sync>;

/// The handlers of questions, by their names. What is not there is answered with "no handler".
#[derive(Clone, Default)]
pub(crate) struct Answers {
    handlers: BTreeMap<Topic, (Handler, &'static Location<'static>)>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.handlers.keys()).finish()
    }
}

impl Answers {
    pub(crate) fn add<F, Fut, T, E>(
        &mut self,
        name: &str,
        handler: F,
        place: &'static Location<'static>,
    ) -> Result<(), StartError>
    where
        F: Fn(Question) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize + 'static,
        E: Display + 'static,
    {
        let name = Topic::new(name)?;
        if let Some((_, first)) = self.handlers.get(&name) {
            let (first, second) = (first.to_string(), place.to_string());
            return Err(StartError::AnsweredTwice { name, first, second });
        }
        let run = move |question| handler(question).map(said).boxed();
        self.handlers.insert(name, (Arc::new(run), place));
        Ok(())
    }

    pub(crate) fn of(&self, name: &Topic) -> Option<Handler> {
        self.handlers.get(name).map(|(handler, _)| Arc::clone(handler))
    }
}

fn said<T: Serialize, E: Display>(answer: Result<T, E>) -> Said {
    match answer {
        Ok(answer) => match serde_json::value::to_raw_value(&answer) {
            Ok(answer) => Said::answered(answer),
            Err(error) => Said::failed(&format!("the answer cannot be written as JSON: {error}")),
        },
        Err(error) => Said::failed(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn nothing(_: Question) -> Result<(), String> {
        Ok(())
    }

    #[test]
    fn a_name_is_a_topic_and_has_one_handler() {
        let mut answers = Answers::default();
        answers.add("cache/clear", nothing, Location::caller()).unwrap();
        let twice = answers.add("cache/clear", nothing, Location::caller()).unwrap_err().to_string();
        assert!(twice.starts_with("`cache/clear` is answered twice") && twice.contains("question.rs"), "{twice}");
        assert!(matches!(answers.add("cache/*", nothing, Location::caller()), Err(StartError::Topic(_))));
        assert!(answers.of(&Topic::new("cache/clear").unwrap()).is_some());
        assert!(answers.of(&Topic::new("cache").unwrap()).is_none(), "what is not registered is not answered");
    }
}
