//! Longshore's borders: the broker, the store and the blobs behind traits, and the world behind a struct.
//!
//! This is the only crate that knows RabbitMQ's and Redis's client libraries; no type of theirs
//! crosses its border. Every seam has two first-class implementations: `amqp` and `redis` for
//! production, `embedded` in this process for development, tests and simulation. One conformance
//! suite (`conformance`) holds all of them to the same promises.
//!
//! Every remote call answers yes, no or unknown: a call that failed without leaving the process is
//! [`error::Fault::Unreachable`], one whose fate is open is [`error::Fault::Unknown`].
//!
//! Reading order: [`world`], [`error`], [`store`], [`broker`], [`letters`], [`blobs`], then an implementation.

pub mod amqp;
pub mod batch;
pub mod blobs;
pub mod broker;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
pub mod connect;
pub mod embedded;
pub mod error;
pub mod events;
pub mod letters;
mod loss;
pub mod recent;
pub mod redis;
pub mod schedules;
pub mod scrub;
pub mod signal;
pub mod store;
pub mod tls;
pub mod trusted;
pub mod world;

pub use connect::Link;
pub use embedded::Embedded;
pub use error::Fault;
pub use world::World;
