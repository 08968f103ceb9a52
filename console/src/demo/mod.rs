//! The demo: pictures are ingested, as a digital asset management system would do it.
//!
//! An author sends every picture as a job and runs none of them; two workers make renditions. Half way one
//! worker is stopped in the middle of a picture, which then runs again on the other. Reading order:
//! `story` (what happens), `fleet` (the three instances), `worker` (what is done with a picture),
//! `summary` (what came of it).

mod fleet;
pub mod images;
pub mod samples;
mod story;
mod summary;
mod worker;

pub(crate) use story::{Story, pictures_in};
pub(crate) use summary::{Row, Summary};
