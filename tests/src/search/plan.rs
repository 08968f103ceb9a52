//! What a search is about: how many of whom, what handlers do, and which faults may happen how often.

use super::system::Ending;

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// An instance dies; its deliveries go back to their lanes, and it starts again.
    Worker,
    /// A sender dies for good.
    Sender,
    /// Somebody who does a duty dies in the middle of it.
    Duty,
    /// An instance stands still, for longer than its lease and the broker's patience.
    Pause,
    /// An instance loses the store, and therefore its right to go on.
    Cut,
    /// A session with the broker ends; its delivery goes back to its lane.
    Blip,
    /// A store or a broker did what it was asked and the answer is lost.
    Reply,
    /// A message is in its lane twice.
    Duplicate,
    /// Whoever publishes takes so long that somebody does it in their place, or misses the message.
    Slow,
    /// The broker forgets every message.
    Broker,
    /// The store forgets everything.
    Wipe,
    /// The store's clock jumps back.
    Clock,
    /// Somebody stops or removes the job. No fault, yet nothing may depend on it.
    Control,
    /// The first job takes down the instance that runs it.
    Poison,
}

impl Fault {
    /// Every one, in the order of [`Plan::faults`].
    pub const ALL: [Self; 14] = [
        Self::Worker,
        Self::Sender,
        Self::Duty,
        Self::Pause,
        Self::Cut,
        Self::Blip,
        Self::Reply,
        Self::Duplicate,
        Self::Slow,
        Self::Broker,
        Self::Wipe,
        Self::Clock,
        Self::Control,
        Self::Poison,
    ];
}

/// The faults that are left, of each kind and together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Left {
    each: [u8; Fault::ALL.len()],
    total: u8,
}

impl Left {
    /// Whether there is one left; then there is one less.
    pub(super) fn spend(&mut self, fault: Fault) -> bool {
        let each = &mut self.each[fault as usize];
        if *each == 0 {
            return false;
        }
        *each -= 1;
        self.total -= 1;
        for each in &mut self.each {
            *each = self.total.min(*each);
        }
        true
    }

    /// Whether there is one left.
    pub(super) const fn has(&self, fault: Fault) -> bool {
        self.each[fault as usize] > 0
    }
}

/// What a search is about.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is for.
    pub about: &'static str,
    /// One, or two.
    pub jobs: usize,
    /// Whether two share a unique key; else they run beside each other.
    pub keyed: bool,
    /// Crashes that they have behind them when they are sent.
    pub crashes: u8,
    /// How many do duties at once, 1 or 2.
    pub duties: usize,
    /// Slots that run jobs, 1 or 2.
    pub slots: usize,
    /// Whether both slots belong to one instance.
    pub one_instance: bool,
    /// Whether jobs are accepted with a delay.
    pub delayed: bool,
    /// What handlers may do.
    pub endings: Vec<Ending>,
    /// Failures that are allowed before the last one.
    pub retries: i32,
    /// The crash that gives a job up.
    pub max_crashes: u32,
    /// How often attempts are given back, by a drain or a snooze.
    pub releases: u8,
    /// Whether a long attempt swaps its delivery for a parked copy.
    pub swaps: bool,
    /// Whether who takes a job back runs it without waiting for its message.
    pub runs_here: bool,
    /// Whether history is purged.
    pub purges: bool,
    /// Most messages of a job that lie in the broker at once: senders and duties wait while there are that many.
    pub messages: usize,
    /// How often each kind may happen, and at most so many of all of them.
    pub faults: Vec<(Fault, u8)>,
    /// See `faults`.
    pub total: u8,
}

impl Plan {
    /// One job, two instances, one at the duties, no faults: what the others are made from.
    #[must_use]
    pub fn plain() -> Self {
        Self {
            name: "plain",
            about: "one job, no fault",
            jobs: 1,
            keyed: true,
            crashes: 0,
            duties: 1,
            slots: 2,
            one_instance: false,
            delayed: false,
            endings: vec![Ending::Succeeded, Ending::Failed],
            retries: 1,
            max_crashes: 3,
            releases: 0,
            swaps: false,
            runs_here: false,
            purges: true,
            messages: 3,
            faults: Vec::new(),
            total: 0,
        }
    }

    /// The same with these faults, each once, at most `total` of them.
    #[must_use]
    pub fn with(self, total: u8, faults: &[Fault]) -> Self {
        Self { faults: faults.iter().map(|fault| (*fault, 1)).collect(), total, ..self }
    }

    /// Whether the store may forget everything: then only what the broker confirmed is promised.
    pub(super) fn wipes(&self) -> bool {
        self.faults.iter().any(|(fault, count)| *fault == Fault::Wipe && *count > 0)
    }

    pub(super) fn left(&self) -> Left {
        let mut left = Left { each: [0; Fault::ALL.len()], total: self.total };
        for (fault, count) in &self.faults {
            left.each[*fault as usize] = self.total.min(*count);
        }
        left
    }
}
