//! The lanes, letters and sessions of the embedded broker.
//!
//! Owns every message from its publish until it is settled, in one place at a time: in a lane, with
//! a session, parked, or among the letters. A message keeps its place number, so that one that comes
//! back takes its old place in the lane. Sessions of one lane get turns.

mod copies;

pub(super) use copies::Taken;

use super::listening::Listener;
use super::pile::{Kept, Pile};
use crate::broker::{Delivery, Intake, Letters, Message, Tag, Target};
use crate::letters::Eviction;
use longshore_model::lane::Lane;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

#[derive(Debug, Default)]
struct Queue {
    /// Which of the lanes that had this name: messages of a deleted one do not come back into a new one.
    life: u64,
    ready: BTreeMap<u64, Stored>,
    /// Sessions that consume it; the first is next to get a message.
    turns: VecDeque<u64>,
}

#[derive(Debug)]
struct Stored {
    message: Message,
    redelivered: bool,
}

#[derive(Debug)]
struct Held {
    lane: Lane,
    life: u64,
    place: u64,
    stored: Message,
}

#[derive(Debug)]
struct Consumer {
    prefetch: usize,
    unsettled: usize,
}

#[derive(Debug)]
struct Session {
    consumers: BTreeMap<Lane, Consumer>,
    held: BTreeMap<u64, Held>,
    inbox: VecDeque<Intake>,
    next_tag: u64,
    wake: Arc<Notify>,
}

/// Where a message is that was not settled.
enum Place<'a> {
    /// It waits in a lane.
    Lane(&'a Lane),
    /// A session has it, from this lane.
    Held(&'a Lane),
    /// It is parked until then, us.
    Parked(u64),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lane(lane) => write!(f, "in {lane}"),
            Self::Held(lane) => write!(f, "held, from {lane}"),
            Self::Parked(due_us) => write!(f, "parked until {due_us} us"),
        }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(in crate::embedded) struct Exchange {
    lanes: BTreeMap<Lane, Queue>,
    piles: BTreeMap<Letters, Pile>,
    /// Readings of letters that go on.
    readings: BTreeSet<u64>,
    /// By when they are due, us, then in the order in which they came.
    parked: BTreeMap<(u64, u64), Message>,
    /// Everything that was ever written to it; there is one when something was.
    journal: Option<Vec<Message>>,
    sessions: BTreeMap<u64, Session>,
    listeners: Vec<Listener>,
    /// Why sessions ended that their owners have not let go of.
    ended: BTreeMap<u64, String>,
    blocked: Option<(String, Duration)>,
    /// Most bytes in quarantine; `None`: any number.
    quarantine_bytes: Option<u64>,
    last: u64,
    /// How often it lost everything.
    wipes: u64,
}

impl Exchange {
    /// Makes sure that a lane exists.
    pub(super) fn declare(&mut self, name: &Lane) {
        if !self.lanes.contains_key(name) {
            let life = self.number();
            self.lanes.insert(name.clone(), Queue { life, ..Queue::default() });
        }
    }

    /// Takes responsibility for a message.
    pub(super) fn publish(&mut self, message: Message, now_us: u64) {
        match &message.target {
            Target::Jobs(name) | Target::Lane(name) => self.arrive(&name.clone(), message),
            Target::Parked(park, _) => {
                let due = (now_us + park.ms() * 1_000, self.number());
                let is_next = self.parked.keys().next().is_none_or(|first| due < *first);
                self.parked.insert(due, message);
                if is_next {
                    // Whoever waits for the next parked message waits too long now.
                    self.sessions.values().for_each(|session| session.wake.notify_one());
                }
            }
            Target::Quarantine => self.keep(Letters::Quarantine, message, None),
            Target::Dead => self.keep(Letters::Dead, message, None),
            Target::Journal(..) => self.journal.get_or_insert_default().push(message),
            Target::Event(class, topic) => {
                let (class, topic) = (*class, topic.clone());
                self.spread(class, &topic, &message.body);
            }
        }
    }

    /// Puts parked messages whose time has come at the end of their lanes.
    pub(in crate::embedded) fn unpark(&mut self, now_us: u64) {
        while let Some(entry) = self.parked.first_entry()
            && entry.key().0 <= now_us
        {
            let message = entry.remove();
            if let Target::Parked(_, name) = &message.target {
                self.arrive(&name.clone(), message);
            }
        }
    }

    /// When the next parked message is due, us.
    pub(super) fn next_parked(&self) -> Option<u64> {
        self.parked.keys().next().map(|(due, _)| *due)
    }

    fn arrive(&mut self, name: &Lane, message: Message) {
        let place = self.number();
        match self.lanes.get_mut(name) {
            Some(lane) => {
                lane.ready.insert(place, Stored { message, redelivered: false });
                self.serve(name);
            }
            None => self.keep(Letters::Unrouted, message, None),
        }
    }

    /// Hands out what waits in a lane to sessions with room, in turns.
    fn serve(&mut self, name: &Lane) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        let mut without_room = 0;
        while without_room < lane.turns.len() {
            let Some(entry) = lane.ready.first_entry() else { return };
            lane.turns.rotate_left(1);
            let Some(id) = lane.turns.back().copied() else { return };
            let Some(session) = self.sessions.get_mut(&id) else {
                without_room += 1;
                continue;
            };
            let room = session.consumers.get_mut(name).filter(|consumer| consumer.unsettled < consumer.prefetch);
            let Some(consumer) = room else {
                without_room += 1;
                continue;
            };
            without_room = 0;
            consumer.unsettled += 1;
            session.next_tag += 1;
            let (number, place) = (session.next_tag, *entry.key());
            let Stored { message, redelivered } = entry.remove();
            session.inbox.push_back(Intake::Delivery(Delivery {
                lane: name.clone(),
                tag: Tag { session: id, channel: 0, number },
                nonce: format!("{id}-{number}"),
                message_id: Some(message.message_id.clone()).filter(|id| !id.is_empty()),
                headers: message.headers.clone(),
                body: message.body.clone(),
                redelivered,
            }));
            session.held.insert(number, Held { lane: name.clone(), life: lane.life, place, stored: message });
            session.wake.notify_one();
        }
    }

    /// Opens a session; the answer's second part wakes its owner.
    pub(super) fn open(&mut self) -> (u64, Arc<Notify>) {
        let id = self.number();
        let wake = Arc::new(Notify::new());
        self.sessions.insert(
            id,
            Session {
                consumers: BTreeMap::new(),
                held: BTreeMap::new(),
                inbox: VecDeque::new(),
                next_tag: 0,
                wake: wake.clone(),
            },
        );
        (id, wake)
    }

    /// Registers a session's consumer, or changes its prefetch. Answers why not when the session has ended.
    pub(super) fn consume(&mut self, session: u64, name: &Lane, prefetch: u16) -> Result<(), String> {
        let Some(entry) = self.sessions.get_mut(&session) else { return Err(self.why(session)) };
        let prefetch = usize::from(prefetch.max(1));
        let held = entry.held.values().filter(|held| held.lane == *name).count();
        entry.consumers.insert(name.clone(), Consumer { prefetch, unsettled: held });
        self.declare(name);
        if let Some(lane) = self.lanes.get_mut(name)
            && !lane.turns.contains(&session)
        {
            lane.turns.push_back(session);
        }
        self.serve(name);
        Ok(())
    }

    /// Ends a session's consumer. What it was given stays with it.
    pub(super) fn cancel(&mut self, session: u64, name: &Lane) {
        if let Some(entry) = self.sessions.get_mut(&session) {
            entry.consumers.remove(name);
        }
        if let Some(lane) = self.lanes.get_mut(name) {
            lane.turns.retain(|id| *id != session);
        }
    }

    pub(super) fn consumed(&self, session: u64) -> Vec<Lane> {
        self.sessions.get(&session).map(|entry| entry.consumers.keys().cloned().collect()).unwrap_or_default()
    }

    pub(super) fn is_live(&self, session: u64) -> bool {
        self.sessions.contains_key(&session)
    }

    /// The next thing for a session's owner: `None` when there is nothing yet.
    pub(super) fn take(&mut self, session: u64) -> Option<Intake> {
        match self.sessions.get_mut(&session) {
            Some(entry) => entry.inbox.pop_front(),
            None => Some(Intake::Ended { why: self.why(session) }),
        }
    }

    /// Settles a delivery; what an ended session held was given back already.
    pub(super) fn settle(&mut self, tag: Tag, settled: Settled) {
        let Some(session) = self.sessions.get_mut(&tag.session) else { return };
        let Some(held) = session.held.remove(&tag.number) else { return };
        let name = held.lane.clone();
        if let Some(consumer) = session.consumers.get_mut(&name) {
            consumer.unsettled = consumer.unsettled.saturating_sub(1);
        }
        if settled == Settled::GivenBack {
            self.put_back(held);
        }
        self.serve(&name);
    }

    /// Ends a session: what it held goes back to the front of its lanes.
    pub(super) fn end(&mut self, id: u64, why: &str) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.ended.insert(id, why.to_owned());
        for name in session.consumers.keys() {
            if let Some(lane) = self.lanes.get_mut(name) {
                lane.turns.retain(|turn| *turn != id);
            }
        }
        let lanes: Vec<Lane> = session.held.values().map(|held| held.lane.clone()).collect();
        session.held.into_values().for_each(|held| self.put_back(held));
        lanes.iter().for_each(|name| self.serve(name));
        session.wake.notify_one();
    }

    /// Ends every session.
    pub(in crate::embedded) fn end_all(&mut self, why: &str) {
        // All leave their lanes before anything is given back, or one would get what the next gave back.
        self.lanes.values_mut().for_each(|lane| lane.turns.clear());
        let sessions: Vec<u64> = self.sessions.keys().copied().collect();
        sessions.into_iter().for_each(|id| self.end(id, why));
        self.readings.clear();
        self.listeners.clear();
        self.piles.values_mut().for_each(|pile| pile.give_back(None));
    }

    /// The owner of an ended session has let go of it.
    pub(super) fn forget(&mut self, id: u64) {
        self.end(id, "the session was closed");
        self.ended.remove(&id);
    }

    fn put_back(&mut self, held: Held) {
        if let Some(lane) = self.lanes.get_mut(&held.lane)
            && lane.life == held.life
        {
            lane.ready.insert(held.place, Stored { message: held.stored, redelivered: true });
        }
    }

    fn why(&self, session: u64) -> String {
        self.ended.get(&session).cloned().unwrap_or_else(|| "the session was closed".to_owned())
    }

    /// How many messages wait in a lane.
    pub(super) fn depth(&self, name: &Lane) -> Option<u64> {
        self.lanes.get(name).map(|lane| u64::try_from(lane.ready.len()).unwrap_or(u64::MAX))
    }

    /// Tries the first `limit` unrouted letters again.
    pub(super) fn reroute(&mut self, limit: usize) -> u64 {
        let mut moved = 0;
        for (place, kept) in self.pile(Letters::Unrouted).take(limit) {
            match &kept.message.target {
                Target::Jobs(name) | Target::Lane(name) | Target::Parked(_, name) if self.lanes.contains_key(name) => {
                    self.arrive(&name.clone(), kept.message);
                    moved += 1;
                }
                _ => {
                    // More than were tried may lie behind it: it goes to the end then.
                    let full = self.pile(Letters::Unrouted).len() > 0;
                    let place = if full { self.number() } else { place };
                    self.pile(Letters::Unrouted).put(place, kept);
                }
            }
        }
        moved
    }

    fn keep(&mut self, place: Letters, message: Message, evicted: Option<Eviction>) {
        let number = self.number();
        self.pile(place).put(number, Kept { message, evicted });
    }

    /// The letters of one place.
    pub(super) fn pile(&mut self, place: Letters) -> &mut Pile {
        self.piles.entry(place).or_default()
    }

    /// Begins a reading of letters.
    pub(super) fn open_reading(&mut self) -> u64 {
        let reading = self.number();
        self.readings.insert(reading);
        reading
    }

    /// Whether a reading goes on.
    pub(super) fn is_reading(&self, reading: u64) -> bool {
        self.readings.contains(&reading)
    }

    /// Ends a reading: what it holds goes back.
    pub(super) fn end_reading(&mut self, reading: u64) {
        self.readings.remove(&reading);
        self.piles.values_mut().for_each(|pile| pile.give_back(Some(reading)));
    }

    /// Puts everything that waits in a lane among the dead, as a broker does at its delivery limit.
    pub(in crate::embedded) fn evict(&mut self, name: &Lane, reason: &str, queue: &str) {
        let Some(lane) = self.lanes.get_mut(name) else { return };
        for stored in std::mem::take(&mut lane.ready).into_values() {
            let message = Message { target: Target::Lane(name.clone()), ..stored.message };
            let evicted = Eviction { reason: reason.to_owned(), queue: queue.to_owned() };
            self.keep(Letters::Dead, message, Some(evicted));
        }
    }

    /// Deletes a lane and what waits in it.
    pub(in crate::embedded) fn delete(&mut self, name: &Lane) {
        let Some(lane) = self.lanes.remove(name) else { return };
        for id in lane.turns {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.consumers.remove(name);
                let why = "the lane was deleted".to_owned();
                session.inbox.push_back(Intake::LaneLost { lane: name.clone(), why });
                session.wake.notify_one();
            }
        }
    }

    /// Forgets every copy of a lane. What a session holds is not given back any more, and its settling does nothing.
    pub(in crate::embedded) fn lose(&mut self, name: &Lane) {
        let life = self.number();
        if let Some(lane) = self.lanes.get_mut(name) {
            lane.ready.clear();
            lane.life = life;
        }
        self.parked.retain(|_, message| !matches!(&message.target, Target::Parked(_, lane) if lane == name));
    }

    /// Copies of a lane arrive once more: first those with consumers, then those that wait.
    pub(in crate::embedded) fn duplicate(&mut self, name: &Lane, limit: usize) {
        let Some(lane) = self.lanes.get(name) else { return };
        let held = self.sessions.values().flat_map(|session| session.held.values());
        let held = held.filter(|held| held.lane == *name && held.life == lane.life).map(|held| &held.stored);
        let ready = lane.ready.values().map(|stored| &stored.message);
        let copies: Vec<Message> = held.chain(ready).take(limit).cloned().collect();
        copies.into_iter().for_each(|message| self.arrive(name, message));
    }

    /// What sessions hold and would give back: not what came from a lane that is gone.
    fn held(&self) -> impl Iterator<Item = &Held> {
        let held = self.sessions.values().flat_map(|session| session.held.values());
        held.filter(|held| self.lanes.get(&held.lane).is_some_and(|lane| lane.life == held.life))
    }

    /// Every message on its way to a consumer, and where it is.
    fn kept(&self) -> impl Iterator<Item = (Place<'_>, &Message)> {
        let ready = self
            .lanes
            .iter()
            .flat_map(|(name, queue)| queue.ready.values().map(move |stored| (Place::Lane(name), &stored.message)));
        let held = self.held().map(|held| (Place::Held(&held.lane), &held.stored));
        let parked = self.parked.iter().map(|((due, _), message)| (Place::Parked(*due), message));
        ready.chain(held).chain(parked)
    }

    pub(in crate::embedded) fn copies(&self, id: &str) -> usize {
        let letters = self.piles.values().flat_map(Pile::all).filter(|message| message.message_id == id);
        self.kept().filter(|(_, message)| message.message_id == id).count() + letters.count()
    }

    pub(in crate::embedded) fn letters(&self, place: Letters) -> Vec<Message> {
        self.piles.get(&place).map(Pile::all).unwrap_or_default()
    }

    pub(in crate::embedded) fn messages(&self) -> usize {
        self.kept().count()
    }

    /// What [`Self::messages`] counts, by where it is.
    pub(in crate::embedded) fn left(&self) -> Vec<String> {
        self.kept().map(|(place, message)| format!("{place}: {message:?}")).collect()
    }

    pub(in crate::embedded) fn set_blocked(&mut self, why: Option<&str>, now: Duration) {
        self.blocked = why.map(|why| (why.to_owned(), now));
    }

    pub(in crate::embedded) const fn set_quarantine_bytes(&mut self, bytes: u64) {
        self.quarantine_bytes = Some(bytes);
    }

    /// Why this message is refused, though others are not.
    pub(super) fn refuses(&mut self, message: &Message) -> Option<&'static str> {
        let full = message.target == Target::Quarantine
            && self
                .quarantine_bytes
                .is_some_and(|most| self.pile(Letters::Quarantine).bytes() + message.body.len() as u64 > most);
        full.then_some("the quarantine is full")
    }

    /// Who listens to events.
    pub(super) const fn listeners(&mut self) -> &mut Vec<Listener> {
        &mut self.listeners
    }

    /// How often it lost everything.
    pub(super) const fn wipes(&self) -> u64 {
        self.wipes
    }

    /// Why publishes are refused, and since when.
    pub(super) const fn blocked(&self) -> Option<&(String, Duration)> {
        self.blocked.as_ref()
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}

/// What was done with a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Done,
    GivenBack,
}
