//! What RabbitMQ and the client library say, turned into [`Fault`]s and short texts.
//!
//! No text made here holds an address or a password: lapin's errors do not carry the URL, and ours name
//! objects only.

use crate::error::{Fault, Service};
use lapin::ErrorKind;

/// The broker's reply codes that are decided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    /// 403: a right is missing.
    Forbidden,
    /// 404: no such exchange or queue.
    Missing,
    /// 406: it exists and is different.
    Different,
    /// 402, 530 and their like: the virtual host or the whole connection is not allowed.
    NotAllowed,
    /// Anything else, also what never came from the broker.
    Other,
}

/// What the broker said, if it was the broker that spoke.
pub(super) fn said(error: &lapin::Error) -> Said {
    let ErrorKind::ProtocolError(error) = error.kind() else { return Said::Other };
    match error.get_id() {
        403 => Said::Forbidden,
        404 => Said::Missing,
        406 => Said::Different,
        402 | 530 => Said::NotAllowed,
        _ => Said::Other,
    }
}

/// The error as a text for people: the broker's own words where there are any.
pub(super) fn text(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// A fault of a call that has surely not happened.
pub(super) fn unreachable(detail: impl Into<String>) -> Fault {
    Fault::unreachable(Service::Broker, detail)
}

/// A fault of a call that may have happened.
pub(super) fn unknown(detail: impl Into<String>) -> Fault {
    Fault::unknown(Service::Broker, detail)
}

/// A refusal.
pub(super) fn refused(detail: impl Into<String>) -> Fault {
    Fault::refused(Service::Broker, detail)
}

/// A failed question: nothing was to be changed, so nothing can have been.
pub(super) fn asked(what: &str, error: &lapin::Error) -> Fault {
    match said(error) {
        Said::Forbidden => refused(format!("{what}: {}; give the user that right", text(error))),
        _ => unreachable(format!("{what}: {}", text(error))),
    }
}
