//! Jobs run as processes.
//!
//! ```text
//! consumer ──socket──▶ guard ──pipe (payload)──▶ the handler's program ──▶ its own children
//!    ▲                   │                              │
//!    ├───── status ──────┘                              │
//!    └───── stdout (result), stderr (log) ──────────────┘
//! ```
//!
//! The guard is this same program in another mode. The socket between consumer and guard is the lifeline: when either
//! end is gone the other one notices at once, whatever killed it, and ends every process of the job. A parent-death
//! signal alone could not do that: it is tied to the *thread* that started the process, and reaches neither
//! grandchildren nor processes that moved to another session.
//!
//! What holds when one of them is killed without warning:
//!
//! | Killed | Who ends the job's processes |
//! |---|---|
//! | consumer | the guard, which adopts orphans and so finds every descendant |
//! | guard | the kernel ends the handler's program (parent-death signal), the consumer its descendants, but for one that had left the group *and* cleared its environment |
//! | both at once | the kernel ends the handler's program; its descendants may stay |
//!
//! [`protocol`] is what handlers see, [`child`] runs one job, [`guard`] is the other mode.

pub mod child;
pub mod guard;
mod processes;
pub mod protocol;
mod wire;
