//! Values that are fine one by one and contradict each other.

use super::Settings;
use super::urls::embedded;

/// A contradiction: the settings that take part in it, the one to change first, and what is wrong. It is reported at
/// the first of them that was set.
pub(super) struct Contradiction {
    pub(super) keys: &'static [&'static str],
    pub(super) why: String,
}

/// Every contradiction within the settings.
pub(super) fn contradictions(settings: &Settings) -> Vec<Contradiction> {
    let mut found = Vec::new();
    let mut wrong = |keys, why: &str| found.push(Contradiction { keys, why: why.to_owned() });
    let Settings { broker, store, blobs, lease, .. } = settings;
    match (embedded(broker.url.reveal()), embedded(store.url.reveal())) {
        (Some(one), Some(other)) if one != other => wrong(
            &["store.url", "broker.url"],
            "broker and store are embedded under different names; give both the same, or no name",
        ),
        (Some(_), None) => wrong(
            &["store.url", "broker.url"],
            "the broker is embedded and the store is not; make both embedded: or neither",
        ),
        (None, Some(_)) => wrong(
            &["broker.url", "store.url"],
            "the store is embedded and the broker is not; make both embedded: or neither",
        ),
        _ => {}
    }
    if embedded(blobs.url.reveal()).is_some() && embedded(broker.url.reveal()).is_none() {
        let why = "payload files in this process cannot be read by other instances; name a directory that all share, \
                   such as file:///srv/longshore, or make broker and store embedded: as well";
        wrong(&["blobs.url", "broker.url"], why);
    }
    let sections: [(_, _, _, [&'static [&'static str]; 2]); 2] = [
        (
            &broker.url,
            &broker.tls,
            "amqps",
            [&["broker.ca", "broker.cert", "broker.key"], &["broker.cert", "broker.key"]],
        ),
        (&store.url, &store.tls, "rediss", [&["store.ca", "store.cert", "store.key"], &["store.cert", "store.key"]]),
    ];
    for (url, tls, scheme, [all, pair]) in sections {
        if tls.cert.is_some() != tls.key.is_some() {
            wrong(pair, &format!("{} and {} go together: set both or none", pair[0], pair[1]));
        }
        let used = tls.ca.is_some() || tls.cert.is_some() || tls.key.is_some();
        if used && embedded(url.reveal()).is_none() && !url.reveal().starts_with(&format!("{scheme}://")) {
            wrong(all, &format!("the connection is not encrypted; write {scheme}:// in the address"));
        }
    }
    if lease.doubt >= lease.length {
        let why = "an instance must stop by itself before others take its jobs over: make lease.doubt shorter than \
                   lease.length";
        wrong(&["lease.doubt", "lease.length"], why);
    }
    if lease.beat * 2 > lease.doubt {
        let why = "one late beat would stop the instance: make lease.beat at most half of lease.doubt";
        wrong(&["lease.beat", "lease.doubt"], why);
    }
    if store.call_timeout >= lease.doubt {
        let why = "a single slow call would stop the instance: make store.call_timeout shorter than lease.doubt";
        wrong(&["store.call_timeout", "lease.doubt"], why);
    }
    if broker.heartbeat.subsec_nanos() != 0 {
        wrong(&["broker.heartbeat"], "AMQP counts heartbeats in whole seconds; write 1s or more");
    }
    found
}
