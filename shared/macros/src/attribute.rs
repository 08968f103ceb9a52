//! Reads `#[job(…)]` and checks every value; reports all that is wrong at once, each at its place.

use longshore_model::placement::Placement;
use longshore_model::priority::Priority;
use longshore_model::{RetryRules, Topic, indexed, limits, span, suggest};
use std::time::Duration;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Attribute, Error, Expr, ExprLit, ExprUnary, Ident, Lit, LitStr, Path, Result, Token, UnOp};

const KEYS: [&str; 14] = [
    "topic",
    "version",
    "retries",
    "retry_delay",
    "retry_for",
    "retry_on",
    "timeout",
    "soft_timeout",
    "stall_timeout",
    "expires_in",
    "priority",
    "placement",
    "index",
    "crate",
];

/// What the attribute says.
#[derive(Default)]
pub(crate) struct JobAttribute {
    pub(crate) topic: String,
    pub(crate) version: Option<u32>,
    pub(crate) retries: Option<i32>,
    pub(crate) retry_delay: Option<Duration>,
    pub(crate) retry_for: Option<Duration>,
    pub(crate) retry_on: Vec<String>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) soft_timeout: Option<Duration>,
    pub(crate) stall_timeout: Option<Duration>,
    pub(crate) expires_in: Option<Duration>,
    pub(crate) index: Vec<String>,
    pub(crate) priority: Option<Priority>,
    pub(crate) placement: Option<Placement>,
    pub(crate) krate: Option<Path>,
}

struct Entry {
    key: Ident,
    value: Option<Expr>,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        // `crate` is a keyword, yet a key here.
        let key = input.call(Ident::parse_any)?;
        let value = if input.parse::<Option<Token![=]>>()?.is_some() { Some(input.parse()?) } else { None };
        Ok(Self { key, value })
    }
}

impl JobAttribute {
    pub(crate) fn read(name: &Ident, attributes: &[Attribute]) -> Result<Self> {
        let mut read = Self::default();
        let mut problems: Option<Error> = None;
        let mut wrong = |error: Error| match &mut problems {
            Some(all) => all.combine(error),
            None => problems = Some(error),
        };
        let mut seen: Vec<String> = Vec::new();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("job")) {
            match attribute.parse_args_with(Punctuated::<Entry, Token![,]>::parse_terminated) {
                Ok(entries) => {
                    for entry in entries {
                        let key = entry.key.unraw().to_string();
                        if seen.contains(&key) {
                            wrong(Error::new(entry.key.span(), format!("`{key}` is given twice; keep one of them")));
                        } else if let Err(error) = read.set(&key, &entry) {
                            wrong(error);
                        }
                        seen.push(key);
                    }
                }
                Err(error) => wrong(error),
            }
        }
        if problems.is_none() && read.topic.is_empty() {
            let why = "a job needs its topic: add #[job(topic = \"media/thumbnail\")]; it is never taken from the \
                       type's name, so that renaming the type strands no jobs";
            return Err(Error::new(name.span(), why));
        }
        problems.map_or(Ok(read), Err)
    }

    fn set(&mut self, key: &str, entry: &Entry) -> Result<()> {
        if !KEYS.contains(&key) {
            let advice = suggest::advice(key, KEYS);
            return Err(Error::new(entry.key.span(), format!("#[job] has no key `{key}`; {advice}")));
        }
        let Some(value) = &entry.value else {
            let why = format!("`{key}` needs a value; {}", example(key));
            return Err(Error::new(entry.key.span(), why));
        };
        match key {
            "topic" => {
                let text = text(key, value)?;
                Topic::new(text.value()).map_err(|error| Error::new(text.span(), error))?;
                self.topic = text.value();
            }
            "version" => self.version = Some(number(key, value, 1, i64::from(u32::MAX))?),
            "retries" => self.retries = Some(number(key, value, -1, i64::from(limits::RETRIES))?),
            "retry_delay" => self.retry_delay = Some(length(key, value)?),
            "retry_for" => self.retry_for = Some(length(key, value)?),
            "retry_on" => self.retry_on = rules(key, value)?,
            "timeout" => self.timeout = Some(more_than_zero(key, value)?),
            "soft_timeout" => self.soft_timeout = Some(more_than_zero(key, value)?),
            "stall_timeout" => self.stall_timeout = Some(more_than_zero(key, value)?),
            "expires_in" => self.expires_in = Some(more_than_zero(key, value)?),
            "index" => self.index = paths(key, value)?,
            "priority" => {
                let text = text(key, value)?;
                let wrong = |why| Error::new(text.span(), format!("`priority`: {why}"));
                self.priority = Some(text.value().parse().map_err(wrong)?);
            }
            "placement" => {
                let text = text(key, value)?;
                let wrong = |why| Error::new(text.span(), format!("`placement`: {why}"));
                self.placement = Some(text.value().parse().map_err(wrong)?);
            }
            _ => self.krate = Some(text(key, value)?.parse()?),
        }
        Ok(())
    }
}

/// The remedy: how the key is written.
fn example(key: &str) -> &'static str {
    match key {
        "topic" => "write topic = \"media/thumbnail\"",
        "version" => "write version = 2",
        "retries" => "write retries = 5, or -1 to retry without end",
        "retry_delay" => "write retry_delay = \"30s\"; units are ms, s, m, h and d",
        "retry_for" => "write retry_for = \"1h\"; units are ms, s, m, h and d",
        "retry_on" => "write retry_on = \"timeout=2; busy=100,30s\"",
        "soft_timeout" => "write soft_timeout = \"90s\"; units are ms, s, m, h and d",
        "stall_timeout" => "write stall_timeout = \"30s\"; units are ms, s, m, h and d",
        "timeout" => "write timeout = \"2m\"; units are ms, s, m, h and d",
        "expires_in" => "write expires_in = \"1h\"; units are ms, s, m, h and d",
        "index" => "write index = [\"asset\", \"size.width\"]",
        "placement" => "write placement = \"local_first\", \"leader\" or \"label:gpu=yes\"",
        "priority" => "write priority = \"urgent\", \"normal\" or \"low\"",
        _ => "write crate = \"my_crate::longshore\"",
    }
}

fn text<'v>(key: &str, value: &'v Expr) -> Result<&'v LitStr> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text),
        other => Err(Error::new(other.span(), format!("`{key}` is a text; {}", example(key)))),
    }
}

/// A list of paths in the payload.
fn paths(key: &str, value: &Expr) -> Result<Vec<String>> {
    let Expr::Array(list) = value else {
        return Err(Error::new(value.span(), format!("`{key}` is a list of texts; {}", example(key))));
    };
    let mut paths = Vec::new();
    for element in &list.elems {
        let path = text(key, element)?;
        indexed::check_path(&path.value()).map_err(|why| Error::new(path.span(), format!("`{key}`: {why}")))?;
        paths.push(path.value());
    }
    indexed::check_paths(&paths).map_err(|why| Error::new(list.span(), format!("`{key}`: {why}")))?;
    Ok(paths)
}

fn number<N: TryFrom<i64>>(key: &str, value: &Expr, from: i64, to: i64) -> Result<N> {
    let (sign, literal) = match value {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => (-1, expr.as_ref()),
        other => (1, other),
    };
    let Expr::Lit(ExprLit { lit: Lit::Int(digits), .. }) = literal else {
        return Err(Error::new(value.span(), format!("`{key}` is a whole number; {}", example(key))));
    };
    let number = digits.base10_parse::<i64>().ok().map(|number| number * sign);
    let number = number.filter(|number| (from..=to).contains(number)).and_then(|number| N::try_from(number).ok());
    number.ok_or_else(|| Error::new(value.span(), format!("`{key}` is {from} to {to}; {}", example(key))))
}

fn length(key: &str, value: &Expr) -> Result<Duration> {
    let text = text(key, value)?;
    let wrong = |why: &dyn std::fmt::Display| Error::new(text.span(), format!("`{key}`: {why}"));
    let span = span::parse(&text.value()).map_err(|error| wrong(&error))?;
    if span > Duration::from_millis(limits::DELAY_MS) {
        return Err(wrong(&"it is more than a year; shorten it"));
    }
    Ok(span)
}

/// Rules by kind of error, parted by `;`, as texts that can be read.
fn rules(key: &str, value: &Expr) -> Result<Vec<String>> {
    let text = text(key, value)?;
    let rules = text.value();
    let rules = rules.split(';').map(str::trim).filter(|rule| !rule.is_empty());
    let rules = RetryRules::parse(rules).map_err(|why| Error::new(text.span(), format!("`{key}`: {why}")))?;
    Ok(rules.texts())
}

fn more_than_zero(key: &str, value: &Expr) -> Result<Duration> {
    let span = length(key, value)?;
    if span.is_zero() {
        let why = format!("`{key}`: zero would never let the job run; leave it out for no limit");
        return Err(Error::new(value.span(), why));
    }
    Ok(span)
}
