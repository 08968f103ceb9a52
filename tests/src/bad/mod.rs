//! Bad input, made from a seed: what a broken, foreign or hostile program may hand to Longshore.
//!
//! [`messages`] are bodies and headers for a lane, each with what has to become of it; [`texts`] are inputs for
//! everything that reads bytes or text and knows no broker. The same seed makes the same cases, and a case is known
//! by its kind and number, so that a failure can be repeated. Nothing here judges: the tests do.

mod draw;
mod messages;
mod texts;

pub use draw::Draw;
pub use messages::{BadMessage, Fate, messages};
pub use texts::{Corpus, texts};
