//! Breadth-first search of every state that a system can reach, with the shortest way to whatever is wrong.
//!
//! Knows nothing of jobs. Of each state it keeps a fingerprint of 64 bits, its predecessor and, where something is
//! owed, its fault-free transitions; whole states live only between being found and being expanded. Two states with
//! one fingerprint would be taken for one: at 10^8 states that happens anywhere with a probability below 10^-3.
//!
//! Why not the crate `stateright`: the promise "from every state a fault-free continuation ends the job" quantifies
//! over continuations of every state. Its properties are `always`, `sometimes` and `eventually`; the last is about all
//! paths and is documented as right on graphs without cycles only, and a parked copy that comes back is a cycle. The
//! graph needed for the answer is not kept either. What remained to be used of it is shorter than this file.

use std::collections::VecDeque;
use std::collections::hash_map::{DefaultHasher, Entry, HashMap};
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// A system: its first state, and what can happen in each.
pub trait Space {
    /// One state; two equal ones have the same future.
    type State: Copy + Hash;
    /// What is said of a transition in a trace.
    type Label: Copy + fmt::Display;
    /// What can be wrong with a state.
    type Wrong: Copy;

    /// Where it begins.
    fn initial(&self) -> Self::State;
    /// Appends everything that can happen next.
    fn next(&self, state: &Self::State, into: &mut Vec<Next<Self::State, Self::Label>>);
    /// What the way to this state broke.
    fn wrong(&self, state: &Self::State) -> Option<Self::Wrong>;
    /// Whether a promise is still to be kept in this state.
    fn owes(&self, state: &Self::State) -> bool;
    /// What it is when a promise cannot be kept any more; `None`: that is not to be looked at.
    fn loss(&self) -> Option<Self::Wrong>;
}

/// One transition.
#[derive(Debug, Clone, Copy)]
pub struct Next<S, L> {
    /// What happens.
    pub label: L,
    /// Whether it is a fault. Promises have to be kept without hoping for one.
    pub fault: bool,
    /// What comes of it.
    pub state: S,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found<W> {
    /// Different states.
    pub states: usize,
    /// Transitions between them.
    pub transitions: u64,
    /// Steps on the shortest way to the state farthest away.
    pub depth: usize,
    /// Whether every reachable state was expanded. If not, what was not expanded counts as right.
    pub complete: bool,
    /// The first thing that is wrong, with the shortest way to it.
    pub wrong: Option<(W, Vec<String>)>,
}

/// Searches until everything is known, something is wrong, or about `bound` states are known.
pub fn explore<S: Space>(space: &S, bound: usize) -> Found<S::Wrong> {
    let mut search = Search::new(space);
    let wrong = search.run(bound);
    let complete = search.frontier.is_empty();
    let lost = || search.lost().zip(space.loss()).map(|(state, loss)| (loss, search.way_to(state)));
    let wrong = wrong.map(|(wrong, state)| (wrong, search.way_to(state))).or_else(lost);
    Found { states: search.parents.len(), transitions: search.transitions, depth: search.depth, complete, wrong }
}

/// A fingerprint is a hash already.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!("only fingerprints are keys")
    }
    fn write_u64(&mut self, fingerprint: u64) {
        self.0 = fingerprint;
    }
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

struct Search<'a, S: Space> {
    space: &'a S,
    known: HashMap<u64, u32, BuildHasherDefault<Identity>>,
    /// By the number of a state: where it was found from. Numbers grow with the distance.
    parents: Vec<u32>,
    /// States that owe something.
    owing: Vec<bool>,
    /// Fault-free transitions out of states that owe something: (to, from).
    edges: Vec<(u32, u32)>,
    frontier: VecDeque<(u32, S::State)>,
    /// The first number that was not expanded.
    expanded: u32,
    transitions: u64,
    depth: usize,
}

impl<'a, S: Space> Search<'a, S> {
    fn new(space: &'a S) -> Self {
        let mut search = Self {
            space,
            known: HashMap::default(),
            parents: Vec::new(),
            owing: Vec::new(),
            edges: Vec::new(),
            frontier: VecDeque::new(),
            expanded: 0,
            transitions: 0,
            depth: 0,
        };
        search.meet(space.initial(), 0);
        search
    }

    /// Gives a state its number, and puts it on the list if it is new.
    fn meet(&mut self, state: S::State, from: u32) -> u32 {
        let number = u32::try_from(self.parents.len()).unwrap();
        match self.known.entry(fingerprint(&state)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                free.insert(number);
                self.parents.push(from);
                self.owing.push(self.space.owes(&state));
                self.frontier.push_back((number, state));
                number
            }
        }
    }

    fn run(&mut self, bound: usize) -> Option<(S::Wrong, u32)> {
        let mut next = Vec::new();
        let (mut last_of_level, looks) = (0, self.space.loss().is_some());
        while let Some((number, state)) = self.frontier.pop_front() {
            if let Some(wrong) = self.space.wrong(&state) {
                return Some((wrong, number));
            }
            if self.parents.len() >= bound {
                self.frontier.push_front((number, state));
                return None;
            }
            if number > last_of_level {
                self.depth += 1;
                last_of_level = u32::try_from(self.parents.len() - 1).unwrap();
            }
            self.expanded = number + 1;
            self.space.next(&state, &mut next);
            let owes = looks && self.owing[number as usize];
            for Next { fault, state, .. } in next.drain(..) {
                self.transitions += 1;
                let to = self.meet(state, number);
                if owes && !fault {
                    self.edges.push((to, number));
                }
            }
        }
        None
    }

    /// The first state that owes something from which no fault-free way leads to one that does not.
    fn lost(&self) -> Option<u32> {
        self.space.loss()?;
        // Who leads to each state, in one array: those of `n` are at `starts[n]..starts[n + 1]`.
        let mut starts = vec![0_u32; self.parents.len() + 1];
        for (to, _) in &self.edges {
            starts[*to as usize + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let (mut places, mut sources) = (starts.clone(), vec![0_u32; self.edges.len()]);
        for (to, from) in &self.edges {
            sources[places[*to as usize] as usize] = *from;
            places[*to as usize] += 1;
        }
        let numbers = 0..u32::try_from(self.parents.len()).unwrap();
        let fine = |number: &u32| *number >= self.expanded || !self.owing[*number as usize];
        let mut kept: Vec<u32> = numbers.filter(fine).collect();
        let mut keeps = vec![false; self.parents.len()];
        for number in &kept {
            keeps[*number as usize] = true;
        }
        while let Some(number) = kept.pop() {
            let (start, end) = (starts[number as usize] as usize, starts[number as usize + 1] as usize);
            for from in &sources[start..end] {
                if !std::mem::replace(&mut keeps[*from as usize], true) {
                    kept.push(*from);
                }
            }
        }
        keeps.iter().position(|keeps| !keeps).map(|number| u32::try_from(number).unwrap())
    }

    /// What happened from the beginning to a state, found again from the predecessors.
    fn way_to(&self, mut number: u32) -> Vec<String> {
        let mut numbers = Vec::new();
        while number != 0 {
            numbers.push(number);
            number = self.parents[number as usize];
        }
        let (mut state, mut way, mut next) = (self.space.initial(), Vec::new(), Vec::new());
        for number in numbers.into_iter().rev() {
            self.space.next(&state, &mut next);
            let step = next.drain(..).find(|next| self.known.get(&fingerprint(&next.state)) == Some(&number)).unwrap();
            way.push(format!("{}{}", if step.fault { "FAULT " } else { "" }, step.label));
            state = step.state;
        }
        way
    }
}
