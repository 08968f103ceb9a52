//! The demo: pictures are ingested, as a digital asset management system would do it.

pub mod images;
pub mod samples;
