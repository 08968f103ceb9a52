//! Real RabbitMQ and Redis servers for tests, from the operating system's packages.
//!
//! [`RabbitMq`] and [`Redis`] are private: own port, own data, made to be stopped, killed, frozen and restarted on the
//! same data. [`Shared`] is for tests that only need *a* broker and *a* store: it takes the pair whose addresses are
//! in the environment (the program `with-services` starts one for a whole run) or starts a private pair; such tests
//! keep apart by [`namespace`].
//!
//! Promises: what is started here ends with its owner, also when the test panics or its process is killed; servers of
//! tests that run at the same time never meet; a missing program is a failure that names the package to install.

mod disk;
pub(crate) mod ports;
pub(crate) mod process;
mod program;
mod protection;
mod rabbitmq;
mod redis;
mod shared;

pub use self::redis::{Options, Redis};
pub use disk::SmallDisk;
pub use protection::{Authority, Issued, PASSWORD, Protection};
pub use rabbitmq::RabbitMq;
pub use shared::{BROKER_URL, STORE_URL, Shared, namespace};
