//! Queues: named policies for the jobs of some topics (not queues of the broker).
//!
//! Owns what a queue can say ([`QueueConfig`]), what is wrong with a set of them, and which one a
//! topic has ([`Queues::resolve`]). Reading them from a file is [`crate::settings`]' work.

mod gates;
mod keep;
mod parallelism;
mod written;

pub use crate::gate::{OnFailure, WhenFull};
pub use gates::{KeySource, QueueKind, QueueLimit, own_limits};
pub use keep::{Keep, Kept};
pub use parallelism::{BadParallelism, Parallelism};
pub use written::write;

use crate::indexed::check_paths;
use crate::kind::RetryRules;
use crate::limits;
use crate::placement::{Origin, Placement};
use crate::priority::Priority;
use crate::retry::Backoff;
use crate::settings::read_queues;
use crate::topic::{Topic, TopicPattern};
use std::cmp::Reverse;
use std::fmt;
use std::time::Duration;

/// More cores than there are: what depends on the machine is checked where the queue runs, so that one text serves
/// machines of every size.
pub const ANY_MACHINE: usize = usize::MAX;

/// The name of the queue of every topic that no other queue takes.
pub const MAIN: &str = "main";

/// The policy of one queue. Times and counts are defaults: what a job, or its kind, says wins over them.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueConfig {
    /// Its name; `{0}` stands for what the wildcard of the matching pattern took, which makes one queue for each.
    pub name: String,
    /// The topics whose jobs it governs. Only the main queue may name none.
    pub topics: Vec<TopicPattern>,
    /// How it runs its jobs; default beside each other.
    pub kind: QueueKind,
    /// Jobs that one instance runs at once; default 15.
    pub max_parallel: Parallelism,
    /// Jobs that the whole fleet runs at once; default any number.
    pub max_in_fleet: Option<u32>,
    /// Jobs of it that wait; default any number.
    pub max_length: Option<u32>,
    /// What becomes of one more; default refused.
    pub when_full: WhenFull,
    /// What a final failure does to the order of the job; default nothing.
    pub on_failure: OnFailure,
    /// Named limits that its jobs count against.
    pub limits: Vec<QueueLimit>,
    /// On whose behalf a job waits for these limits: turns take turns. Default: all the same.
    pub turn: Option<KeySource>,
    /// Whose turn it is first where its jobs wait for a limit; default normal.
    pub priority: Priority,
    /// Where its jobs run; default anywhere.
    pub placement: Placement,
    /// Failures allowed before the last one; -1 without end; default 10.
    pub retries: i32,
    /// Delay between a failure and the next attempt; default 2 s.
    pub retry_delay: Duration,
    /// How that delay grows; default not at all.
    pub backoff: Backoff,
    /// Longest run of one attempt; default no limit.
    pub timeout: Option<Duration>,
    /// After so long an attempt is told that it had better come to an end; default never.
    pub soft_timeout: Option<Duration>,
    /// An attempt that gives no sign of life for so long is cancelled; default no limit.
    pub stall_timeout: Option<Duration>,
    /// No attempt begins later than this after the start of the first that failed; default no limit.
    pub retry_for: Option<Duration>,
    /// Rules by kind of error.
    pub retry_on: RetryRules,
    /// How long its jobs are kept after they ended, and how many.
    pub keep: Keep,
    /// Fields of its jobs' payloads that the store keeps an index of, beside those that a job names itself; default none.
    pub index: Vec<String>,
    /// Among queues that take a topic, the highest wins; default 0.
    pub ranking: i32,
}

/// Something wrong with one field of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field, as in the settings.
    pub field: &'static str,
    /// What is wrong, and the remedy.
    pub why: String,
}

impl fmt::Display for FieldProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why)
    }
}

impl QueueConfig {
    /// A queue with the default policy.
    #[must_use]
    pub fn new(name: impl Into<String>, topics: Vec<TopicPattern>) -> Self {
        Self {
            name: name.into(),
            topics,
            kind: QueueKind::default(),
            max_parallel: Parallelism::default(),
            max_in_fleet: None,
            max_length: None,
            when_full: WhenFull::default(),
            on_failure: OnFailure::default(),
            limits: Vec::new(),
            turn: None,
            priority: Priority::default(),
            placement: Placement::default(),
            retries: 10,
            retry_delay: Duration::from_secs(2),
            backoff: Backoff::default(),
            timeout: None,
            soft_timeout: None,
            stall_timeout: None,
            retry_for: None,
            retry_on: RetryRules::new(),
            keep: Keep::default(),
            index: Vec::new(),
            ranking: 0,
        }
    }

    /// Whether two queues would have one name, once it is made legal.
    pub(crate) fn same_name(&self, other: &Self) -> bool {
        legal_name(&self.name) == legal_name(&other.name)
    }

    /// Everything that is wrong with this queue on a machine with so many cores.
    #[must_use]
    pub fn problems(&self, cores: usize) -> Vec<FieldProblem> {
        let mut problems = Vec::new();
        let mut wrong = |field, why| problems.push(FieldProblem { field, why });
        if self.name.trim().is_empty() {
            wrong("name", "it is empty; give the queue a name, such as `media`".into());
        } else if self.name.len() > limits::QUEUE_NAME_BYTES {
            wrong("name", format!("{} bytes is more than {}", self.name.len(), limits::QUEUE_NAME_BYTES));
        }
        if self.topics.is_empty() && self.name != MAIN {
            wrong("topics", "there are none; list the topics or patterns that it takes, such as [\"media/**\"]".into());
        }
        if self.max_parallel.effective(cores) < 1 {
            let parallel = self.max_parallel;
            wrong(
                "max_parallel",
                format!("{parallel} of {cores} cores rounds to 0 jobs; write 1 or a larger fraction"),
            );
        }
        if self.max_in_fleet == Some(0) {
            wrong("max_in_fleet", "0 would let no job run; use kind = \"hold\", or pause the queue".into());
        }
        if self.kind == QueueKind::RoundRobin && self.max_in_fleet.is_none() {
            let why = "a round_robin queue needs it: turns are taken where jobs wait; write max_in_fleet = 20";
            wrong("max_in_fleet", why.into());
        }
        let mut exact = self.topics.iter().filter_map(TopicPattern::exact);
        if let Some(why) = exact.find_map(|topic| self.placement.site(&Origin::default(), &topic).err()) {
            wrong("placement", why);
        }
        if self.max_length == Some(0) {
            wrong("max_length", "0 would take no job; use kind = \"drop\", or take the topics away".into());
        }
        if self.when_full != WhenFull::default() && self.max_length.is_none() {
            wrong("when_full", "a queue without a max_length is never full; write max_length = 1000".into());
        }
        if self.limits.len() >= limits::JOB_LIMITS {
            wrong("limits", format!("{} is more than {}", self.limits.len(), limits::JOB_LIMITS - 1));
        }
        if !(-1..=limits::RETRIES).contains(&self.retries) {
            wrong("retries", format!("{} is not -1 (without end) to {}", self.retries, limits::RETRIES));
        }
        let year = Duration::from_millis(limits::DELAY_MS);
        if let Err(why) = check_paths(&self.index) {
            wrong("index", why);
        }
        if self.retry_delay > year {
            wrong("retry_delay", "more than a year".into());
        }
        for (field, span) in
            [("timeout", self.timeout), ("soft_timeout", self.soft_timeout), ("stall_timeout", self.stall_timeout)]
        {
            if span.is_some_and(|span| span.is_zero()) {
                wrong(field, "0 would never let a job run; leave it out for no limit".into());
            }
        }
        if let (Some(soft), Some(hard)) = (self.soft_timeout, self.timeout)
            && soft >= hard
        {
            wrong("soft_timeout", "it is not shorter than timeout, and would never come".into());
        }
        if let Err(why) = self.retry_on.check() {
            wrong("retry_on", why);
        }
        if let Backoff::Exponential { factor, max } = self.backoff {
            if !(2..=100).contains(&factor) {
                wrong("backoff.factor", format!("{factor} is not 2 to 100"));
            }
            if max < self.retry_delay {
                wrong("backoff.max", "it is shorter than retry_delay; make it longer, or use fixed back-off".into());
            }
        }
        problems
    }
}

/// All queues of an installation, in the order in which they are asked.
#[derive(Debug, Clone)]
pub struct Queues {
    ranked: Vec<QueueConfig>,
    main: QueueConfig,
    has_main: bool,
}

/// The queue of a topic.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved<'q> {
    /// Its name, filled in: what jobs are accepted and counted under.
    pub name: String,
    /// Its policy.
    pub config: &'q QueueConfig,
    /// Whether somebody configured it; what nobody did is the main queue, which asks nothing.
    pub configured: bool,
}

/// Queues that cannot be used: every problem of every queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadQueues(pub Vec<String>);

impl fmt::Display for BadQueues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for BadQueues {}

impl Default for Queues {
    /// The main queue alone.
    fn default() -> Self {
        Self { ranked: Vec::new(), main: QueueConfig::new(MAIN, Vec::new()), has_main: false }
    }
}

impl Queues {
    /// Checks the queues, in the order in which they were registered. One that is named `main` sets the policy of
    /// the main queue.
    ///
    /// # Errors
    /// [`BadQueues`] with all that is wrong with all of them; none is left out silently.
    pub fn new(configs: Vec<QueueConfig>, cores: usize) -> Result<Self, BadQueues> {
        let mut problems = Vec::new();
        if configs.len() > limits::QUEUES {
            let why = "a queue is a policy: give topics that need the same one the same queue";
            return Err(BadQueues(vec![format!("queues: {} is more than {}; {why}", configs.len(), limits::QUEUES)]));
        }
        for (index, config) in configs.iter().enumerate() {
            let shown = format!("queue {} `{}`", index + 1, limits::cut(&config.name, 80));
            problems.extend(config.problems(cores).into_iter().map(|problem| format!("{shown}: {problem}")));
            if let Some(other) = configs[..index].iter().find(|other| other.same_name(config)) {
                problems.push(format!("{shown}: name: the queue `{}` has it already; choose another", other.name));
            }
        }
        if !problems.is_empty() {
            return Err(BadQueues(problems));
        }
        let mut queues = Self { ranked: configs, ..Self::default() };
        if let Some(main) = queues.ranked.iter().find(|config| config.name == MAIN) {
            queues.main = main.clone();
            queues.has_main = true;
        }
        // A stable sort: among equals the one that was registered first stays first.
        queues.ranked.sort_by_key(|config| Reverse(config.ranking));
        Ok(queues)
    }

    /// The queue of a topic: the first that takes it, by ranking and then by registration; else the main queue
    /// (Q05, Q06).
    #[must_use]
    pub fn resolve(&self, topic: &Topic) -> Resolved<'_> {
        let found = self.ranked.iter().find_map(|config| {
            let rest = config.topics.iter().find_map(|pattern| pattern.remainder(topic))?;
            Some(Resolved { name: legal_name(&config.name.replace("{0}", rest)), config, configured: true })
        });
        let main = || Resolved { name: MAIN.to_owned(), config: &self.main, configured: self.has_main };
        found.unwrap_or_else(main)
    }

    /// The queues of a text that was applied ([`write`]), on a machine with so many cores.
    ///
    /// # Errors
    /// A sentence with all that is wrong with them.
    pub fn applied(text: &str, cores: usize) -> Result<Self, String> {
        let configs = read_queues("the store", text).map_err(|problems| problems.to_string())?;
        Self::new(configs, cores).map_err(|bad| bad.to_string())
    }

    /// What queues say of their history, by name as it is legal; those that say nothing are not there.
    #[must_use]
    pub fn keeping(&self) -> Vec<(String, Keep)> {
        let says = self.ranked.iter().filter(|config| config.keep != Keep::default());
        let mut keeping: Vec<_> = says.map(|config| (legal_name(&config.name), config.keep)).collect();
        keeping.sort_by(|a, b| a.0.cmp(&b.0));
        keeping
    }

    /// Whether nobody configured any: all topics have the main queue, which asks nothing.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.ranked.is_empty()
    }

    /// What was configured.
    #[must_use]
    pub fn configs(&self) -> &[QueueConfig] {
        &self.ranked
    }

    /// Every queue, in the order in which they are asked; the main queue last.
    pub fn iter(&self) -> impl Iterator<Item = &QueueConfig> {
        self.ranked.iter().filter(|config| config.name != MAIN).chain(std::iter::once(&self.main))
    }
}

/// The name with every character that is not a letter, a digit, `_`, `-` or `.` made `_`. (Replaced, not refused:
/// what `{0}` brings in may hold a `/`.)
fn legal_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.') { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, patterns: &[&str]) -> QueueConfig {
        let patterns = patterns.iter().map(|text| TopicPattern::from_queue_pattern(text).unwrap()).collect();
        QueueConfig::new(name, patterns)
    }

    fn name_of(queues: &Queues, topic: &str) -> String {
        queues.resolve(&Topic::new(topic).unwrap()).name
    }

    fn problems(configs: Vec<QueueConfig>) -> Vec<String> {
        Queues::new(configs, 4).unwrap_err().0
    }

    #[test]
    fn qc_04_05_06_a_topic_gets_the_queue_whose_pattern_takes_it() {
        let queues = Queues::new(vec![queue("children", &["a."]), queue("tree", &["b*"]), queue("one", &["c"])], 4);
        let queues = queues.unwrap();
        for (topic, name) in
            [("a/b", "children"), ("a/b/c", "main"), ("a", "main"), ("b/x/y", "tree"), ("c", "one"), ("c/d", "main")]
        {
            assert_eq!(name_of(&queues, topic), name, "{topic}");
        }
    }

    #[test]
    fn qc_07_a_queue_for_each_remainder() {
        let queues = Queues::new(vec![queue("test-queue-{0}", &["a."])], 4).unwrap();
        assert_eq!(name_of(&queues, "a/b"), "test-queue-b");
        assert_eq!(name_of(&queues, "a/d"), "test-queue-d");
        assert_eq!(name_of(&queues, "x"), "main");
        let deep = Queues::new(vec![queue("q {0}", &["a*"])], 4).unwrap();
        assert_eq!(name_of(&deep, "a/b/c"), "q_b_c", "what is not legal in a name becomes _");
    }

    #[test]
    fn qc_08_a_queue_without_topics_or_name_is_refused() {
        assert!(problems(vec![queue("idle", &[])])[0].starts_with("queue 1 `idle`: topics: there are none"));
        assert!(problems(vec![queue(" ", &["a"])])[0].contains("name: it is empty"));
    }

    #[test]
    fn qc_09_the_highest_ranking_wins_and_among_equals_the_first() {
        let ranked = |name: &str, ranking| QueueConfig { ranking, ..queue(name, &["a/b"]) };
        for order in [vec![ranked("low", 1), ranked("high", 10)], vec![ranked("high", 10), ranked("low", 1)]] {
            assert_eq!(name_of(&Queues::new(order, 4).unwrap(), "a/b"), "high");
        }
        let equal = Queues::new(vec![ranked("first", 3), ranked("second", 3)], 4).unwrap();
        assert_eq!(name_of(&equal, "a/b"), "first");
        let wide = Queues::new(vec![queue("wide", &["a*"]), queue("exact", &["a/b"])], 4).unwrap();
        assert_eq!(name_of(&wide, "a/b"), "wide", "no rule prefers the longer pattern");
    }

    #[test]
    fn every_problem_of_every_queue_is_listed() {
        let mut bad = queue("x", &[]);
        bad.retries = -2;
        bad.max_parallel = Parallelism::parse("0.1").unwrap();
        bad.timeout = Some(Duration::ZERO);
        bad.backoff = Backoff::Exponential { factor: 1, max: Duration::ZERO };
        let found = problems(vec![bad, queue("y z", &["a"]), queue("y_z", &["b"])]);
        let starts = ["topics", "max_parallel", "retries", "timeout", "backoff.factor", "backoff.max"];
        for (problem, field) in found.iter().zip(starts) {
            assert!(problem.starts_with(&format!("queue 1 `x`: {field}: ")), "{problem}");
        }
        assert_eq!(found.len(), 7, "{found:?}");
        assert!(found[6].contains("the queue `y z` has it already"), "{}", found[6]);
    }

    #[test]
    fn the_main_queue_can_be_given_a_policy() {
        let main = QueueConfig { retries: 3, ..queue(MAIN, &[]) };
        let queues = Queues::new(vec![main, queue("a", &["a"])], 4).unwrap();
        assert_eq!(queues.resolve(&Topic::new("other").unwrap()).config.retries, 3);
        assert_eq!(queues.iter().map(|config| config.name.as_str()).collect::<Vec<_>>(), ["a", "main"]);
        assert_eq!(Queues::default().resolve(&Topic::new("other").unwrap()).config.retries, 10);
    }
}
