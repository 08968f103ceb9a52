//! TCP ports that belong to one test until it drops them.
//!
//! Binding port 0 and closing it again finds a free port but does not keep it: another test, or any outgoing
//! connection, may take it before the server does, and again while a server is down for a restart. So ports come from
//! below the range that Linux gives to outgoing connections, and each is held by a lock on a file, which ends with
//! the process whatever happens to it.

use std::fs::{self, File, TryLockError};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;

const RANGE: Range<u16> = 20_000..32_000;

/// A port on the loopback address that no other test takes while this value lives.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Takes a port on which nothing listens.
    pub(crate) fn reserve() -> Self {
        // Files of another user could not be opened, so each user has locks of their own; the bind test below keeps
        // users apart as far as it matters.
        let user = rustix::process::getuid().as_raw();
        let directory = std::env::temp_dir().join(format!("longshore-test-ports-{user}"));
        fs::create_dir_all(&directory).expect("make the directory of port locks");
        // Different processes start their search at different places, only to save time.
        let offset = (std::process::id() % 1_000) as u16 * 12;
        for step in 0..RANGE.len() as u16 {
            let number = RANGE.start + (offset + step) % RANGE.len() as u16;
            let lock = File::create(directory.join(number.to_string())).expect("open a port's lock file");
            match lock.try_lock() {
                Ok(()) if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() => {
                    return Self { number, _lock: lock };
                }
                Ok(()) | Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => panic!("cannot lock port {number}: {error}"),
            }
        }
        panic!("no free port in {RANGE:?}");
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_not_given_twice_while_it_is_held() {
        let held: Vec<_> = (0..20).map(|_| Port::reserve()).collect();
        let mut numbers: Vec<_> = held.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 20);
    }
}
