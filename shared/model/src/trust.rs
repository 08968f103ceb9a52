//! Trust: which live instances belong to the fleet, where joining requires a signature (V22, V23).
//!
//! Every instance that has the fleet's keys signs its card with the first of them; whoever has keys reads the view
//! without the cards that are not signed with one of them. Keys have names, so that they can be changed one process at a
//! time. A signature is for a period of the store's clock and holds one period longer in both directions, so that clocks
//! may differ and a card that somebody copied is soon worth nothing.
//!
//! The *seal* says in the store that joining requires a signature, and with which key: an instance that cannot read it
//! knows by itself that it is outside, also while nobody else is there. Pure: keys, texts, cards and a time come in.

use crate::id::Owner;
use crate::limits::{self, cut};
use crate::names::Namespace;
use crate::secret::Secret;
use crate::topology::matrix::Row;
use crate::topology::{Allowed, Card, View};
use hmac::{Hmac, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

/// Length of a period, ms: ten minutes.
pub const PERIOD_MS: u64 = 600_000;

/// That a card belongs to the fleet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The name of the key that it was made with.
    pub key: String,
    /// The names of all keys that the instance accepts.
    pub accepts: Vec<String>,
    /// Whether the instance ignores those without a signature.
    pub required: bool,
    /// The period that it was made in: ms since 1970, by [`PERIOD_MS`].
    pub period: u64,
    /// HMAC-SHA-256 of the card and all of this, lower-case hex.
    pub mac: String,
}

/// Why a card is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distrust {
    /// It is not signed.
    Unsigned,
    /// With a key of a name that is not known here.
    UnknownKey(String),
    /// With another key of that name, or for another card, instance or namespace.
    WrongMac,
    /// Well signed, but for another time: somebody shows a copy, or the store's clock was changed.
    WrongTime,
    /// Shown twice: the second one is a copy.
    Copied,
}

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("its card is not signed: give it the fleet's keys (trust.keys), or stop it"),
            Self::UnknownKey(name) => {
                write!(f, "its card is signed with a key that is not known here: `{}`", name.escape_debug())
            }
            Self::WrongMac => f.write_str("its signature does not fit its card: compare the keys (trust.keys)"),
            Self::WrongTime => f.write_str("its card was signed at another time: it is a copy of an old one"),
            Self::Copied => f.write_str("its card is a copy of another instance's"),
        }
    }
}

/// A live instance that is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ignored {
    /// Its incarnation, as it says.
    pub owner: Owner,
    /// Its name, as it says.
    pub name: String,
    /// Why.
    pub why: Distrust,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.name.escape_debug(), self.owner.instance.0.escape_debug(), self.why)
    }
}

/// Why an instance may not take part, as it knows by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outside {
    /// It has no keys.
    #[error("the fleet is sealed with the key `{0}`, and this instance has no keys: set trust.keys")]
    NoKeys(String),
    /// It has others.
    #[error(
        "the fleet is sealed with the key `{0}`, and trust.keys does not have it, or another one of that name: add the \
         fleet's key"
    )]
    OtherKeys(String),
}

/// The fleet's keys. What they are is in no text that this type writes, nor is it kept as a text.
#[derive(Clone)]
pub struct Keyring {
    /// The first one signs.
    keys: Vec<Key>,
    required: bool,
}

#[derive(Clone)]
struct Key {
    name: String,
    hmac: Hmac<Sha256>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.names()).field("required", &self.required).finish()
    }
}

impl Keyring {
    /// Reads `name=key, name=key`; nothing is no keyring. `required`: whether instances without a signature are ignored.
    ///
    /// # Errors
    /// What is wrong with it, without any key.
    pub fn read(text: &Secret, required: bool) -> Result<Option<Self>, String> {
        let (least, longest) = (limits::TRUST_KEY_BYTES, limits::TRUST_NAME_BYTES);
        let mut keys: Vec<Key> = Vec::new();
        for (at, part) in text.reveal().split(',').map(str::trim).enumerate().filter(|(_, part)| !part.is_empty()) {
            let number = at + 1;
            let (name, key) = part.split_once('=').ok_or_else(|| format!("key {number}: write name=key"))?;
            let (name, key) = (name.trim(), key.trim());
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if name.is_empty() || name.len() > longest || !name.chars().all(legal) {
                return Err(format!("key {number}: its name has 1 to {longest} letters, digits, `-`, `_` and `.`"));
            }
            // By its number: whoever writes them the other way round has a key for a name.
            if key.len() < least {
                return Err(format!(
                    "key {number}: it is shorter than {least} characters; `openssl rand -hex 32` makes one"
                ));
            }
            if keys.iter().any(|known| known.name == name) {
                return Err(format!("key {number}: its name is there twice; each key has a name of its own"));
            }
            let hmac = Hmac::new_from_slice(key.as_bytes()).map_err(|_| format!("key {number} cannot be used"))?;
            keys.push(Key { name: name.to_owned(), hmac });
        }
        if keys.len() > limits::TRUST_KEYS {
            let (count, most) = (keys.len(), limits::TRUST_KEYS);
            return Err(format!("{count} keys are more than {most}; take away those that nobody signs with"));
        }
        Ok((!keys.is_empty()).then_some(Self { keys, required }))
    }

    /// The names of the keys.
    fn names(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.name.clone()).collect()
    }

    fn find(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// Whether instances without a signature are ignored, or only told of.
    #[must_use]
    pub const fn is_required(&self) -> bool {
        self.required
    }

    /// Signs a card. `now_ms`: the store's clock.
    #[must_use]
    pub fn sign(&self, namespace: &Namespace, card: &Card, now_ms: u64) -> Option<Signature> {
        let key = self.keys.first()?;
        let (period, required) = (now_ms / PERIOD_MS, self.required);
        let unsigned = Signature { key: key.name.clone(), accepts: self.names(), required, period, mac: String::new() };
        let mac = hex(key.message(namespace, card, &unsigned).finish());
        Some(Signature { mac, ..unsigned })
    }

    /// Whether a card is signed with one of the keys, for now. `now_ms`: the store's clock.
    ///
    /// # Errors
    /// [`Distrust`] with what is wrong.
    pub fn verify(&self, namespace: &Namespace, card: &Card, now_ms: u64) -> Result<(), Distrust> {
        let signature = card.signature.as_ref().ok_or(Distrust::Unsigned)?;
        let unknown = || Distrust::UnknownKey(cut(&signature.key, limits::TRUST_NAME_BYTES));
        let key = self.find(&signature.key).ok_or_else(unknown)?;
        let message = key.message(namespace, card, signature);
        if !message.is(&signature.mac) {
            return Err(Distrust::WrongMac);
        }
        if signature.period.abs_diff(now_ms / PERIOD_MS) > 1 {
            return Err(Distrust::WrongTime);
        }
        Ok(())
    }

    /// The view without instances that are not trusted, and those. Where signatures are not required, all but copies stay
    /// in the view. A coordinator that is not in it is none: the first one who is takes its place, as it would if the
    /// other were dead.
    #[must_use]
    pub fn sift(&self, namespace: &Namespace, mut view: View, now_ms: u64) -> (View, Vec<Ignored>) {
        let mut ignored = Vec::new();
        let mut seen = BTreeSet::new();
        view.instances.retain(|card| {
            let why = match self.verify(namespace, card, now_ms) {
                Err(why) => why,
                Ok(()) if seen.insert(card.owner.clone()) => return true,
                Ok(()) => Distrust::Copied,
            };
            let stays = !self.required && why != Distrust::Copied;
            ignored.push(Ignored { owner: card.owner.clone(), name: card.name.clone(), why });
            stays
        });
        if let Some(coordinator) = &view.coordinator
            && !view.instances.iter().any(|card| card.owner == *coordinator)
        {
            view.coordinator = view.instances.first().map(|card| card.owner.clone());
        }
        (view, ignored)
    }

    /// The seal by the first key.
    fn seal(&self, namespace: &Namespace) -> Option<String> {
        let key = self.keys.first()?;
        Some(format!("{}:{}", key.name, hex(key.seal(namespace).finish())))
    }

    /// The name of the key that a seal is of, if it is one of these.
    fn opens(&self, namespace: &Namespace, seal: &str) -> Option<&str> {
        let (name, mac) = seal.split_once(':')?;
        let key = self.find(name)?;
        key.seal(namespace).is(mac).then_some(key.name.as_str())
    }

    /// What the fleet should be sealed with instead, if anything; an empty text is no seal. Whoever requires signatures
    /// seals what is not sealed. The seal follows the key when all who are trusted sign with another one, and goes when
    /// none of them requires it: `me` has to be among them.
    #[must_use]
    pub fn reseal(&self, namespace: &Namespace, seal: &str, view: &View, me: &Owner, now_ms: u64) -> Option<String> {
        let own = self.keys.first()?;
        if seal.is_empty() {
            return if self.required { self.seal(namespace) } else { None };
        }
        let of = self.opens(namespace, seal)?;
        let trusted = view.instances.iter().filter(|card| self.verify(namespace, card, now_ms).is_ok());
        let signed: Vec<(&Owner, &Signature)> =
            trusted.filter_map(|card| Some((&card.owner, card.signature.as_ref()?))).collect();
        if !signed.iter().any(|(owner, _)| *owner == me) {
            return None;
        }
        let all = |fits: &dyn Fn(&Signature) -> bool| signed.iter().all(|(_, signature)| fits(signature));
        if self.required {
            (of != own.name && all(&|signature| signature.key == own.name)).then(|| self.seal(namespace))?
        } else {
            all(&|signature| !signature.required).then(String::new)
        }
    }
}

/// Whether an instance belongs to the fleet, by the seal; an empty text is no seal.
///
/// # Errors
/// [`Outside`] with the remedy.
pub fn membership(keys: Option<&Keyring>, namespace: &Namespace, seal: &str) -> Result<(), Outside> {
    if seal.is_empty() {
        return Ok(());
    }
    let name = seal.split(':').next().unwrap_or_default();
    let name = cut(name, limits::TRUST_NAME_BYTES).escape_debug().to_string();
    match keys {
        None => Err(Outside::NoKeys(name)),
        Some(keys) if keys.opens(namespace, seal).is_some() => Ok(()),
        Some(_) => Err(Outside::OtherKeys(name)),
    }
}

/// Pairs of instances of which the first does not accept the key that the second one signs with: keys were changed in
/// another order than they should be.
#[must_use]
pub fn refusals(view: &View) -> Vec<(&Card, &Card)> {
    let refuses = |by: &Card, card: &Card| match (&by.signature, &card.signature) {
        (Some(by), Some(of)) => !by.accepts.contains(&of.key),
        _ => false,
    };
    let pairs = view.instances.iter().flat_map(|by| view.instances.iter().map(move |card| (by, card)));
    pairs.filter(|(by, card)| refuses(by, card)).collect()
}

impl Key {
    /// What is signed of a card: everything in it but when it started, which the store says. A field that is new in a card
    /// does not belong here before all who read it know it: a fleet is upgraded one instance after the other.
    fn message(&self, namespace: &Namespace, card: &Card, signature: &Signature) -> Message {
        let Card {
            owner,
            name,
            cluster,
            version,
            started: _,
            capabilities,
            allowed: Allowed { allow, deny },
            row,
            slots,
            running,
            held,
            held_at,
            draining,
            outside,
            lag_ms,
            skew_ms,
            labels,
            endpoints,
            properties,
            leader_preference,
            signature: _,
        } = card;
        let Signature { key, accepts, required, period, mac: _ } = signature;
        let mut message = Message::new(self, "longshore card 1", namespace);
        message.text(key).list(accepts, Message::text).number(u64::from(*required)).number(*period);
        message.text(&owner.instance.0).text(&owner.incarnation.0).text(name).text(cluster).text(version);
        message.list(capabilities, |message, capability| {
            message.text(&capability.pattern.to_string()).number(capability.version.into())
        });
        message.number(u64::from(allow.is_some()));
        for patterns in [allow.as_deref().unwrap_or_default(), deny] {
            message.list(patterns, |message, pattern| message.text(&pattern.to_string()));
        }
        // An open row is not written into a card.
        let open = Row::default();
        let Row { rules, drained, by } = if row.is_open() { &open } else { row };
        message.list(rules, |message, (pattern, rule)| message.text(&pattern.to_string()).text(rule.as_str()));
        message.number(u64::from(*drained)).text(by);
        message.number((*slots).into()).number((*running).into());
        message.list(held, |message, (topic, count)| message.text(topic.as_str()).number(*count));
        message.number(u64::from(*draining)).number(u64::from(*outside)).number(*lag_ms);
        message.text(&skew_ms.map(|skew| skew.to_string()).unwrap_or_default());
        message.list(labels, |message, (name, value)| message.text(name).text(value));
        message.list(endpoints, Message::text);
        message.list(properties, |message, (name, value)| message.text(name).text(value));
        // Versions that do not know it say nothing of it, and neither does a card without one.
        if *leader_preference != 0 {
            message.text(&leader_preference.to_string());
        }
        if !held_at.is_empty() {
            message.text("held_at").list(held_at, |message, (lane, count)| message.text(lane).number(*count));
        }
        message
    }

    fn seal(&self, namespace: &Namespace) -> Message {
        let mut message = Message::new(self, "longshore seal 1", namespace);
        message.text(&self.name);
        message
    }
}

/// Something that is signed: every text with its length in front, every list with its count, so that no two messages
/// have the same bytes.
struct Message(Hmac<Sha256>);

impl Message {
    fn new(key: &Key, what: &str, namespace: &Namespace) -> Self {
        let mut message = Self(key.hmac.clone());
        message.text(what).text(namespace.as_str());
        message
    }

    fn number(&mut self, number: u64) -> &mut Self {
        self.0.update(&number.to_be_bytes());
        self
    }

    fn text<T: AsRef<str> + ?Sized>(&mut self, text: &T) -> &mut Self {
        self.number(text.as_ref().len() as u64);
        self.0.update(text.as_ref().as_bytes());
        self
    }

    fn list<I>(&mut self, items: I, write: impl Fn(&mut Self, I::Item) -> &mut Self) -> &mut Self
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
    {
        let items = items.into_iter();
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
        self
    }

    fn finish(self) -> impl AsRef<[u8]> {
        self.0.finalize().into_bytes()
    }

    /// Whether this is the message's code, in hex. Compared in constant time.
    fn is(self, mac: &str) -> bool {
        bytes_of(mac).is_some_and(|mac| self.0.verify_slice(&mac).is_ok())
    }
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().fold(String::new(), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes_of(hex: &str) -> Option<Vec<u8>> {
    let legal = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if hex.len() != 64 || !hex.as_bytes().iter().all(legal) {
        return None;
    }
    (0..32).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests;
