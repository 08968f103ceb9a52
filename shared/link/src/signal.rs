//! A value that tasks follow: everybody sees the newest one, nobody sees all of them.
//!
//! Like tokio's watch channel, but waiters are woken in the order in which they began to wait. Tokio's
//! spreads its waiters over random lists, and a simulation could not repeat itself with that.

use std::fmt;
use std::ops::Deref;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

struct State<T> {
    value: T,
    version: u64,
    closed: bool,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every sender is gone: the value will not change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody is left who could change the value")]
pub struct Closed;

/// A look at the value. Keep it short: it holds a lock.
pub struct Ref<'a, T>(MutexGuard<'a, State<T>>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.value.fmt(f)
    }
}

/// Changes the value. Clones change the same one.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
    alive: Arc<Alive<T>>,
}

/// Dropped with the last sender.
struct Alive<T>(Arc<Shared<T>>);

impl<T> Drop for Alive<T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_waiters();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), alive: self.alive.clone() }
    }
}

impl<T: Default> Default for Sender<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sender").field(&self.shared.lock().value).finish()
    }
}

impl<T> Sender<T> {
    /// A value that nobody follows yet.
    #[must_use]
    pub fn new(value: T) -> Self {
        let state = Mutex::new(State { value, version: 0, closed: false });
        let shared = Arc::new(Shared { state, changed: Notify::new() });
        Self { alive: Arc::new(Alive(shared.clone())), shared }
    }

    /// The value now.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.lock())
    }

    /// Replaces the value and wakes every follower; answers the old one.
    pub fn send_replace(&self, value: T) -> T {
        let mut state = self.shared.lock();
        let old = std::mem::replace(&mut state.value, value);
        state.version += 1;
        drop(state);
        self.shared.changed.notify_waiters();
        old
    }

    /// Changes the value; followers are woken if the closure says that it did. Answers the same.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        let mut state = self.shared.lock();
        let modified = modify(&mut state.value);
        state.version += u64::from(modified);
        drop(state);
        if modified {
            self.shared.changed.notify_waiters();
        }
        modified
    }

    /// Follows the value; what it is now counts as seen.
    #[must_use]
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.shared.lock().version;
        Receiver { shared: self.shared.clone(), seen }
    }
}

/// Follows a value.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), seen: self.seen }
    }
}

impl<T: fmt::Debug> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Receiver").field(&self.shared.lock().value).finish()
    }
}

impl<T> Receiver<T> {
    /// The value now.
    #[must_use]
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.lock())
    }

    /// The value now, which counts as seen.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.lock();
        self.seen = state.version;
        Ref(state)
    }

    /// What the value is now counts as seen.
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.lock().version;
    }

    /// Waits until the value changes from what was seen. Safe to drop while waiting.
    ///
    /// # Errors
    /// [`Closed`] when it cannot change any more.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let shared = self.shared.clone();
        loop {
            let mut changed = pin!(shared.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            {
                let state = shared.lock();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Ok(());
                }
                if state.closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }

    /// Waits until the value fits; answers a look at it. Safe to drop while waiting.
    ///
    /// # Errors
    /// [`Closed`] when it does not fit and cannot change any more.
    pub async fn wait_for(&mut self, fits: impl Fn(&T) -> bool) -> Result<Ref<'_, T>, Closed> {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            {
                let state = self.shared.lock();
                self.seen = state.version;
                if fits(&state.value) {
                    return Ok(Ref(state));
                }
                if state.closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn followers_see_the_newest_value_and_the_end() {
        let sender = Sender::new(1);
        let mut receiver = sender.subscribe();
        sender.send_replace(2);
        sender.send_replace(3);
        receiver.changed().await.unwrap();
        assert_eq!(*receiver.borrow(), 3);
        assert!(!sender.send_if_modified(|_| false));
        drop(sender);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert_eq!(*receiver.wait_for(|value| *value == 3).await.unwrap(), 3);
        assert!(receiver.wait_for(|value| *value == 4).await.is_err());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn waiters_are_woken_in_the_order_of_their_waiting() {
        let sender = Sender::new(false);
        let order = Arc::new(AtomicUsize::new(0));
        let waiters: Vec<_> = (0..32)
            .map(|place| {
                let (mut receiver, order) = (sender.subscribe(), order.clone());
                #[expect(clippy::disallowed_methods, reason = "a test of what tasks see")]
                tokio::spawn(async move {
                    drop(receiver.wait_for(|value| *value).await.unwrap());
                    assert_eq!(order.fetch_add(1, Ordering::SeqCst), place);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        sender.send_replace(true);
        for waiter in waiters {
            waiter.await.unwrap();
        }
    }
}
