//! What listeners hear of the topology: `Init (Changing Changed | PropertiesChanged)*`, each of them, whatever happens.
//!
//! Two state machines without a clock. An [`Announcer`], one for each process, decides which view is announced and
//! when: a change is told at once, the new view when it was stable for a while and all members have reached it. A
//! [`Hearing`], one for each listener, makes the listener's events from what is announced, so that one who comes late
//! or is slow hears the newest view in the right order and holds up nobody.

use super::{Card, View};
use crate::id::Owner;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Answers whether the process can prove, at the moment it is asked, that it is alive. Asked whenever somebody wants to
/// know whether a view is current, so that a process that was suspended knows it before anything else of it runs.
#[derive(Clone)]
pub struct Proof(Arc<dyn Fn() -> bool + Send + Sync>);

impl Proof {
    /// A proof that goes by a question. It should not take long.
    pub fn new(question: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(question))
    }

    fn holds(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Proof")
    }
}

/// A view as one process sees it.
#[derive(Debug)]
pub struct TopologyView {
    view: View,
    me: Owner,
    proof: Proof,
    current: AtomicBool,
}

impl TopologyView {
    /// A view that is current until it is superseded, or the proof does not hold. `me`: the instance that looks at it.
    #[must_use]
    pub const fn new(view: View, me: Owner, proof: Proof) -> Self {
        Self { view, me, proof, current: AtomicBool::new(true) }
    }

    /// A view that is not current, and never was.
    #[must_use]
    pub fn outdated(view: View, me: Owner) -> Self {
        Self { view, me, proof: Proof::new(|| false), current: AtomicBool::new(false) }
    }

    /// Whether it is the newest view that is known here, and this process can prove that it is alive. Once it is not, it
    /// never is again: whoever does what only one instance may do stops then, and waits for the next view.
    #[must_use]
    pub fn is_current(&self) -> bool {
        if !self.proof.holds() {
            self.supersede();
        }
        self.current.load(Ordering::SeqCst)
    }

    /// From now on it is not current.
    pub fn supersede(&self) {
        self.current.store(false, Ordering::SeqCst);
    }

    /// This instance's own card, where it is in the view.
    #[must_use]
    pub fn local(&self) -> Option<&Card> {
        self.view.instances.iter().find(|card| card.owner == self.me)
    }

    /// Whether this process's instance leads its cluster, by a view that is still current.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        let leads = |me: &Card| self.view.leader(&me.cluster).is_some_and(|leader| leader.owner == me.owner);
        self.is_current() && self.local().is_some_and(leads)
    }

    /// Whether this process's instance is the coordinator of the whole fleet, by a view that is still current.
    #[must_use]
    pub fn is_coordinator(&self) -> bool {
        self.is_current() && self.view.coordinator.as_ref() == Some(&self.me)
    }

    /// The instances that fit, in the order in which they joined.
    pub fn find<'v>(&'v self, fits: impl Fn(&Card) -> bool + 'v) -> impl Iterator<Item = &'v Card> {
        self.view.instances.iter().filter(move |card| fits(card))
    }
}

impl Deref for TopologyView {
    type Target = View;
    fn deref(&self) -> &View {
        &self.view
    }
}

/// How two views differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// Not at all, load apart.
    None,
    /// In what instances say of themselves.
    Properties,
    /// In who is in, who leads, or in the number alone: somebody came and went unseen.
    Members,
}

impl View {
    /// How this view differs from a later one.
    #[must_use]
    pub fn differs(&self, later: &Self) -> Difference {
        let same = |(a, b): (&Card, &Card)| a.owner == b.owner;
        let members =
            self.instances.len() == later.instances.len() && self.instances.iter().zip(&later.instances).all(same);
        if !members || self.number != later.number || self.coordinator != later.coordinator {
            return Difference::Members;
        }
        let alike = |(a, b): (&Card, &Card)| a.profile() == b.profile();
        let alike = self.instances.iter().zip(&later.instances).all(alike);
        if alike { Difference::None } else { Difference::Properties }
    }
}

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum TopologyEvent {
    /// The first one, once: the view as it is.
    Init(Arc<TopologyView>),
    /// The view does not hold any more, and the next one is not known yet: stop what only one instance may do.
    Changing(Arc<TopologyView>),
    /// There is a new view. It may be like the old one, when somebody came and went, or the process was cut off.
    Changed {
        /// What was announced before.
        old: Arc<TopologyView>,
        /// What holds now.
        new: Arc<TopologyView>,
    },
    /// The same instances say other things of themselves.
    PropertiesChanged {
        /// What was announced before.
        old: Arc<TopologyView>,
        /// What holds now.
        new: Arc<TopologyView>,
    },
}

/// What is announced now.
#[derive(Debug, Clone, Default)]
pub struct Announced {
    /// The view that was announced last; `None` before the first.
    pub view: Option<Arc<TopologyView>>,
    /// Whether it does not hold any more.
    pub changing: bool,
    /// How often a view took the place of one that did not hold any more.
    changes: u64,
}

impl Announced {
    /// Whether it is the same as another one: the same view, not merely an equal one.
    fn is(&self, other: &Self) -> bool {
        let views = match (&self.view, &other.view) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        views && (self.changing, self.changes) == (other.changing, other.changes)
    }

    /// Becomes the same as another one; a view that is replaced is not current any more. Answers whether it differed.
    pub fn follow(&mut self, other: &Self) -> bool {
        if self.is(other) {
            return false;
        }
        let old = std::mem::replace(self, other.clone());
        if let (Some(old), Some(new)) = (old.view, &self.view)
            && !Arc::ptr_eq(&old, new)
        {
            old.supersede();
        }
        true
    }
}

/// What a view has to wait for before it is announced, ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// A new view is announced when it was the newest one for so long (V14). Not the first one.
    pub stable_ms: u64,
    /// Not all members may reach a view; it is announced after this all the same (V16).
    pub synced_ms: u64,
}

/// Decides what is announced. Times are milliseconds of any clock that does not go back.
#[derive(Debug)]
pub struct Announcer {
    patience: Patience,
    me: Owner,
    proof: Proof,
    now: Announced,
    next: Option<Next>,
}

#[derive(Debug)]
struct Next {
    view: View,
    since: u64,
    synced: bool,
}

impl Announcer {
    /// One that has announced nothing. `me`: the instance that looks; `proof`: whether it can prove that it is alive.
    #[must_use]
    pub fn new(patience: Patience, me: Owner, proof: Proof) -> Self {
        Self { patience, me, proof, now: Announced::default(), next: None }
    }

    /// What is announced.
    #[must_use]
    pub const fn announced(&self) -> &Announced {
        &self.now
    }

    /// The announced view does not hold any more: there is a newer one that was not read yet, or the process cannot
    /// prove that it is alive, and is nobody until it can.
    pub fn changing(&mut self) {
        self.next = None;
        self.supersede();
    }

    /// Whether the announced view ceased to be current without a word from here: [`Self::changing`] is due.
    #[must_use]
    pub fn has_lapsed(&self) -> bool {
        !self.now.changing && self.now.view.as_ref().is_some_and(|view| !view.is_current())
    }

    fn announce(&mut self, view: View) {
        self.now.view = Some(Arc::new(TopologyView::new(view, self.me.clone(), self.proof.clone())));
    }

    fn supersede(&mut self) {
        if let Some(view) = &self.now.view {
            view.supersede();
            self.now.changing = true;
        }
    }

    /// A view was read. `synced`: all its members have reached it.
    pub fn read(&mut self, view: View, synced: bool, now: u64) {
        let difference = self.now.view.as_ref().map(|announced| announced.differs(&view));
        match difference {
            Some(Difference::None) if !self.now.changing => return,
            Some(Difference::Properties) if !self.now.changing => {
                self.announce(view);
                return;
            }
            _ => self.supersede(),
        }
        // The newest one counts: what was to be announced before it never is.
        let same = |next: &&Next| next.view.differs(&view) != Difference::Members;
        let since = self.next.as_ref().filter(same).map_or(now, |next| next.since);
        let synced = synced || self.next.as_ref().filter(same).is_some_and(|next| next.synced);
        self.next = Some(Next { view, since, synced });
        self.tick(now);
    }

    /// All members have reached the view with this number.
    pub fn synced(&mut self, number: u64, now: u64) {
        if let Some(next) = self.next.as_mut().filter(|next| next.view.number == number) {
            next.synced = true;
            self.tick(now);
        }
    }

    /// When something is to be announced by itself, ms; `None`: nothing is.
    #[must_use]
    pub fn due(&self) -> Option<u64> {
        let next = self.next.as_ref()?;
        let stable = if self.now.view.is_some() { self.patience.stable_ms } else { 0 };
        let patience = if next.synced { stable } else { stable.max(self.patience.synced_ms) };
        Some(next.since.saturating_add(patience))
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        if let Some(Next { view, .. }) = self.next.take() {
            self.now.changes += u64::from(self.now.view.is_some());
            self.announce(view);
            self.now.changing = false;
        }
    }
}

/// What one listener has heard.
#[derive(Debug, Default)]
pub struct Hearing {
    /// Nothing is heard before this, ms.
    from: u64,
    heard: Option<Heard>,
}

#[derive(Debug)]
struct Heard {
    view: Arc<TopologyView>,
    changes: u64,
    changing: bool,
}

/// A listener cannot be held back for no time at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("delay: zero holds nothing back; leave the delay out")]
pub struct NoDelay;

impl Hearing {
    /// One that hears nothing for a while, then the newest view as [`TopologyEvent::Init`], then everything as it comes
    /// (CH-03 to CH-07): for an application that is still starting.
    ///
    /// # Errors
    /// [`NoDelay`], when there is nothing to hold back.
    pub fn after(delay_ms: u64, now: u64) -> Result<Self, NoDelay> {
        if delay_ms == 0 {
            return Err(NoDelay);
        }
        Ok(Self { from: now.saturating_add(delay_ms), heard: None })
    }

    /// How long nothing will be heard, ms.
    #[must_use]
    pub const fn silence(&self, now: u64) -> u64 {
        self.from.saturating_sub(now)
    }

    /// The next event, by what is announced now; `None`: none yet. Ask again until there is none.
    pub fn next(&mut self, announced: &Announced, now: u64) -> Option<TopologyEvent> {
        if self.silence(now) > 0 {
            return None;
        }
        let new = announced.view.as_ref()?;
        let Some(heard) = &mut self.heard else {
            if announced.changing || !new.is_current() {
                return None;
            }
            self.heard = Some(Heard { view: Arc::clone(new), changes: announced.changes, changing: false });
            return Some(TopologyEvent::Init(Arc::clone(new)));
        };
        let missed = heard.changes != announced.changes;
        if !heard.changing && (announced.changing || missed) {
            heard.changing = true;
            return Some(TopologyEvent::Changing(Arc::clone(&heard.view)));
        }
        if announced.changing || Arc::ptr_eq(&heard.view, new) {
            return None;
        }
        let old = std::mem::replace(&mut heard.view, Arc::clone(new));
        heard.changes = announced.changes;
        let new = Arc::clone(new);
        Some(if std::mem::replace(&mut heard.changing, false) {
            TopologyEvent::Changed { old, new }
        } else {
            TopologyEvent::PropertiesChanged { old, new }
        })
    }
}

#[cfg(test)]
mod tests;
