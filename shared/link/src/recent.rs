//! What the store took a moment ago, kept in case it turns out to have lost it.
//!
//! A store that syncs its file every second, or fails over to a replica, forgets its last writes and does not know that
//! it did. Whoever made them does: producers keep what they sent and consumers what they committed, for
//! [`limits::RECENT_MS`] and within [`limits::RECENT_BYTES`], and offer it again when the store began anew. Everything
//! that is offered again can be repeated: what was not lost stays as it is.

use longshore_model::limits;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The last things of one kind, oldest first. What is over the bounds is forgotten, the oldest first.
#[derive(Debug)]
pub struct Recent<T> {
    kept: Mutex<Kept<T>>,
}

#[derive(Debug)]
struct Kept<T> {
    entries: VecDeque<(Duration, usize, T)>,
    bytes: usize,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { kept: Mutex::new(Kept { entries: VecDeque::new(), bytes: 0 }) }
    }
}

impl<T: Clone> Recent<T> {
    /// Keeps something of about so many bytes. `now`: the boot clock.
    pub fn note(&self, now: Duration, bytes: usize, item: T) {
        let mut kept = self.kept();
        kept.bytes += bytes;
        kept.entries.push_back((now, bytes, item));
        while kept.bytes > limits::RECENT_BYTES {
            kept.forget();
        }
        kept.forget_old(now);
    }

    /// All that is recent, oldest first, to be offered again: it stays, and is as recent as what is noted now, because a
    /// store that began anew twice may lose it twice.
    pub fn again(&self, now: Duration) -> Vec<T> {
        let mut kept = self.kept();
        kept.forget_old(now);
        kept.entries.iter_mut().for_each(|(at, ..)| *at = now);
        kept.entries.iter().map(|(.., item)| item.clone()).collect()
    }

    /// Forgets what is too old, and answers whether nothing is left.
    pub fn is_over(&self, now: Duration) -> bool {
        let mut kept = self.kept();
        kept.forget_old(now);
        kept.entries.is_empty()
    }

    fn kept(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Kept<T> {
    fn forget_old(&mut self, now: Duration) {
        while self.entries.front().is_some_and(|(at, ..)| now.saturating_sub(*at) > SPAN) {
            self.forget();
        }
    }

    fn forget(&mut self) {
        if let Some((_, bytes, _)) = self.entries.pop_front() {
            self.bytes -= bytes;
        }
    }
}

const SPAN: Duration = Duration::from_millis(limits::RECENT_MS);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_old_or_too_much_is_forgotten() {
        let (recent, second) = (Recent::default(), Duration::from_secs(1));
        recent.note(second, 1, 'a');
        recent.note(second * 2, 1, 'b');
        assert!(!recent.is_over(second + SPAN));
        recent.note(second * 2 + SPAN, 1, 'c');
        let handed_out = second * 2 + SPAN;
        assert_eq!(recent.again(handed_out), ['b', 'c']);
        assert_eq!(recent.again(handed_out + SPAN), ['b', 'c'], "as recent as if noted then");
        assert!(recent.is_over(handed_out + SPAN * 2 + second) && recent.again(second).is_empty());

        recent.note(second, limits::RECENT_BYTES - 1, 'd');
        recent.note(second, 1, 'e');
        assert_eq!(recent.again(second), ['d', 'e'], "at the bound");
        recent.note(second, limits::RECENT_BYTES, 'f');
        recent.note(second, 1, 'g');
        assert_eq!(recent.again(second), ['g'], "one byte beyond it");
        recent.note(second, 1, 'h');
        assert!(recent.is_over(second * 2 + SPAN) && recent.again(second).is_empty());
    }
}
