//! What the client library's errors mean: not happened, perhaps happened, or refused with a remedy.

use crate::error::{Fault, Service};
use redis::{ErrorKind, RedisError};

/// What a failed call means for its caller and for the connection.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the caller.
    pub(super) fault: Fault,
    /// For the connection.
    pub(super) connection: Condition,
}

/// What a failed call tells about the connection it was made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// It works.
    Sound,
    /// It answered too late; a few of these in a row, and it counts as broken.
    Slow,
    /// It is of no more use.
    Broken,
}

/// A connection could not be made.
pub(super) fn of_connecting(error: &RedisError) -> Fault {
    match refusal(error) {
        Some(fault) => fault,
        None => match error.kind() {
            ErrorKind::AuthenticationFailed => Fault::refused(
                Service::Store,
                format!("user or password are wrong: {}; check the store's url", said(error)),
            ),
            ErrorKind::InvalidClientConfig => {
                Fault::refused(Service::Store, format!("the store's url cannot be used: {}", said(error)))
            }
            ErrorKind::RESP3NotSupported => Fault::refused(Service::Store, too_old("older than 6.0")),
            _ => match crate::tls::remedy(&error.to_string(), Service::Store) {
                Some(remedy) => Fault::refused(Service::Store, format!("{}; {remedy}", said(error))),
                None => Fault::unreachable(Service::Store, said(error)),
            },
        },
    }
}

/// A connection could not be made to an address that is meant to be `encrypted`, or not. A server that takes the other
/// kind says nothing that a client could read, so an outage that looks like it names that as well.
pub(super) fn of_opening(error: &RedisError, encrypted: bool) -> Fault {
    let hint = if encrypted && error.is_timeout() {
        "a port that does not speak TLS answers nothing either: check the scheme and the port in store.url"
    } else if !encrypted && (error.is_connection_dropped() || error.is_timeout()) {
        "a port that speaks TLS does this to plain text, and a server in protected mode to strangers: check the scheme \
         and the port in store.url, and set a password on the server"
    } else {
        return of_connecting(error);
    };
    match of_connecting(error) {
        Fault::Unreachable { service, detail } => Fault::unreachable(service, format!("{detail}; {hint}")),
        fault => fault,
    }
}

/// A call failed on a connection that had been made.
pub(super) fn of_call(error: &RedisError) -> Failure {
    if let Some(fault) = refusal(error) {
        // Another server may hold the data by now: ask again where the name leads.
        let connection = if error.code() == Some("READONLY") { Condition::Broken } else { Condition::Sound };
        return Failure { fault, connection };
    }
    match (error.code(), error.kind()) {
        (Some("LOADING" | "MASTERDOWN" | "TRYAGAIN" | "BUSY"), _) => {
            Failure { fault: Fault::unreachable(Service::Store, said(error)), connection: Condition::Sound }
        }
        (Some(_), _) => Failure { fault: Fault::refused(Service::Store, said(error)), connection: Condition::Sound },
        (None, ErrorKind::Io) if error.is_timeout() => {
            Failure { fault: Fault::unknown(Service::Store, "no answer in time"), connection: Condition::Slow }
        }
        (None, _) => Failure { fault: Fault::unknown(Service::Store, said(error)), connection: Condition::Broken },
    }
}

/// The message for a server that cannot run the scripts.
pub(super) fn too_old(version: &str) -> String {
    format!("Redis {version} is too old: use 7.0 or newer")
}

/// What the server refuses until somebody changes something.
fn refusal(error: &RedisError) -> Option<Fault> {
    let remedy = match error.code()? {
        "READONLY" => "this server is a replica: use the address of the primary",
        "NOPERM" => "give the user the rights that the manual lists",
        "NOAUTH" | "WRONGPASS" => "check user and password in the store's url",
        "OOM" => "raise maxmemory, or purge history; what is accepted goes on running",
        "MISCONF" => "it cannot write to its disk: make room, then look at its log",
        "NOREPLICAS" => "too few replicas are connected: see min-replicas-to-write",
        "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" => CLUSTER,
        _ => return None,
    };
    Some(Fault::refused(Service::Store, format!("{}; {remedy}", said(error))))
}

/// Why Cluster is refused.
pub(super) const CLUSTER: &str = "Redis Cluster is not supported: use a single server, with replicas if you like";

/// What was seen, short and on one line. The client library puts neither urls nor arguments into its errors.
fn said(error: &RedisError) -> String {
    longshore_model::limits::cut(&error.to_string().replace(['\r', '\n'], " "), 300)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn server(line: &str) -> RedisError {
        let (code, detail) = line.split_once(' ').unwrap();
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn refusals_are_told_from_outages() {
        for line in [
            "OOM command not allowed when used memory > 'maxmemory'.",
            "MISCONF Errors writing to the AOF file",
            "NOREPLICAS Not enough good replicas to write.",
            "READONLY You can't write against a read only replica.",
            "NOPERM this user has no permissions to run the 'evalsha' command",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
        ] {
            let failure = of_call(&server(line));
            assert!(matches!(failure.fault, Fault::Refused { .. }), "{line}: {failure:?}");
        }
        for line in ["LOADING Redis is loading the dataset in memory", "BUSY Redis is busy running a script."] {
            let failure = of_call(&server(line));
            assert!(matches!(failure.fault, Fault::Unreachable { .. }), "{line}: {failure:?}");
            assert_eq!(failure.connection, Condition::Sound);
        }
    }

    #[test]
    fn a_lost_answer_is_unknown() {
        let late = of_call(&io::Error::from(io::ErrorKind::TimedOut).into());
        assert!(late.fault.is_unknown());
        assert_eq!(late.connection, Condition::Slow);
        let broken = of_call(&io::Error::from(io::ErrorKind::BrokenPipe).into());
        assert!(broken.fault.is_unknown());
        assert_eq!(broken.connection, Condition::Broken);
    }

    #[test]
    fn a_port_of_the_other_kind_is_named() {
        let late = io::Error::from(io::ErrorKind::TimedOut).into();
        let closed = io::Error::from(io::ErrorKind::BrokenPipe).into();
        for (error, encrypted, word) in
            [(&late, true, "does not speak TLS"), (&closed, false, "speaks TLS"), (&closed, false, "protected mode")]
        {
            let fault = of_opening(error, encrypted);
            assert!(matches!(fault, Fault::Unreachable { .. }) && fault.to_string().contains(word), "{fault}");
        }
        assert_eq!(of_opening(&closed, true), of_connecting(&closed));
    }

    #[test]
    fn a_connection_that_was_never_made_is_no() {
        let refused = of_connecting(&io::Error::from(io::ErrorKind::ConnectionRefused).into());
        assert!(matches!(refused, Fault::Unreachable { .. }));
    }
}
