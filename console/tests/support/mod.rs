//! The program on an embedded backend, called as `main` calls it: arguments in, text and exit code out.

#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code outside of test functions")]

use longshore::{Exit, Streams, run_with};
use longshore_producer::{Link, Producer, ProducerOptions, Settings, World};
use serde_json::Value;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// What was printed to one stream.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printed {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The program on a backend of its own.
pub(crate) struct Program {
    pub(crate) producer: Producer,
}

/// One run of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    pub(crate) async fn new(name: &str) -> Self {
        let link = Link::connect(&Settings::embedded(name), World::system(), "test").await.unwrap();
        Self { producer: Producer::connect_with(link, ProducerOptions::default()) }
    }

    pub(crate) async fn run(&self, args: &[&str]) -> Ran {
        let (out, err) = (Printed::default(), Printed::default());
        let args = ["longshore"].iter().chain(args).map(Into::into);
        let exit = run_with(args, Streams::into_writers(out.clone(), err.clone()), self.producer.clone()).await;
        Ran { exit, out: out.text(), err: err.text() }
    }

    /// Runs a command that prints JSON and ends in a certain way.
    pub(crate) async fn json(&self, exit: Exit, args: &[&str]) -> Value {
        let ran = self.run(&[args, &["--output", "json"]].concat()).await;
        assert_eq!(ran.exit, exit, "{args:?}: {ran:?}");
        assert!(ran.out.ends_with('\n') && ran.out.lines().count() == 1, "one document on one line: {ran:?}");
        serde_json::from_str(&ran.out).unwrap()
    }

    /// Sends a job and answers its id.
    pub(crate) async fn add(&self, args: &[&str]) -> String {
        let job = self.json(Exit::Done, &[&["job", "add"], args].concat()).await;
        job["id"].as_str().unwrap().to_owned()
    }
}
