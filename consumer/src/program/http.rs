//! Jobs run as HTTP requests: one POST of the payload, and what its answer means.
//!
//! | Answer | Outcome |
//! |---|---|
//! | 2xx | succeeded; the body is the result, JSON if it parses, else text |
//! | 429 or 503 with `Retry-After` | snooze: tried again then, no attempt spent |
//! | 408, 425, 429, 5xx | failed attempt, to be retried |
//! | any other 4xx, 3xx | permanent error with the status and the beginning of the body |
//! | no connection, timeout, broken answer | failed attempt, to be retried |
//!
//! Redirects are not followed: a POST would become a GET, and the job's data would go where nobody configured it.
//! Proxies of the environment are not used: what runs a job is named in the settings alone. An address may carry a
//! user and a password (sent as basic authentication); neither these nor the query are ever printed.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use longshore_model::{JobId, Topic, limits};
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::program::reply::Reply;

/// How long a connection may take; what is not connected by then will hardly be.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an address cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    /// Not an address at all. The text itself is not repeated: it may hold a password.
    #[error("http is not an address ({0}); write it as http://host:port/path")]
    Unreadable(String),
    /// Another scheme.
    #[error("http = {0}: the scheme must be http or https")]
    Scheme(String),
    /// `https` in a program without encryption.
    #[error("http = {0}: this program was built without the feature `tls`")]
    Unencrypted(String),
}

/// The address of a handler.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is not one that this program can call.
    pub fn new(text: &str) -> Result<Self, BadEndpoint> {
        let endpoint = Self(Url::parse(text).map_err(|error| BadEndpoint::Unreadable(error.to_string()))?);
        match endpoint.0.scheme() {
            "http" => Ok(endpoint),
            "https" if cfg!(feature = "tls") => Ok(endpoint),
            "https" => Err(BadEndpoint::Unencrypted(endpoint.to_string())),
            _ => Err(BadEndpoint::Scheme(endpoint.to_string())),
        }
    }
}

impl fmt::Display for Endpoint {
    /// Scheme, host, port and path: nothing that may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.0.scheme(), self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({self})")
    }
}

/// What is told about the job beside its payload.
#[derive(Debug, Clone)]
pub struct HttpJob {
    /// Sent as `Longshore-Job-Id`.
    pub id: JobId,
    /// Sent as `Longshore-Topic`.
    pub topic: Topic,
    /// How often the job was started, this time included; sent as `Longshore-Attempt`.
    pub attempt: u64,
    /// How often it has failed so far; sent as `Longshore-Retry`.
    pub retry: u64,
    /// How long it may run; sent as `Longshore-Timeout-Ms` when there is such a time.
    pub timeout: Option<Duration>,
    /// When it had better come to an end; sent as `Longshore-Soft-Timeout-Ms` when there is such a time.
    pub soft_timeout: Option<Duration>,
    /// The W3C trace context of the job, sent as `traceparent` when there is one.
    pub trace_parent: Option<String>,
}

/// What the answer means for the job.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpOutcome {
    /// Done, with this result.
    Succeeded(Value),
    /// The endpoint asked to be called again after this time, at most [`limits::DELAY_MS`].
    Snooze(Duration),
    /// Failed, and trying again is pointless; with the kind of error, where it has one.
    Permanent(String, Option<String>),
    /// Failed; the next attempt may do better. With the kind of error.
    Retry(String, Option<String>),
    /// The call was given up because it was cancelled; the endpoint may or may not have done its work.
    Interrupted,
}

/// The HTTP client could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client: {0}")]
pub struct NoClient(String);

/// Calls endpoints. Cheap to clone; clones share their connections.
#[derive(Debug, Clone)]
pub struct Caller(Client);

impl Caller {
    /// A caller with a pool of connections of its own.
    ///
    /// # Errors
    /// When encryption cannot be set up.
    pub fn new() -> Result<Self, NoClient> {
        longshore_link::tls::choose_provider();
        let builder = || {
            Client::builder()
                .user_agent(concat!("longshore-consumer/", env!("CARGO_PKG_VERSION")))
                .redirect(Policy::none())
                .no_proxy()
                .connect_timeout(CONNECT_TIMEOUT)
        };
        // Refused where the system has no certificates at all, as in a small image.
        builder()
            .build()
            .or_else(|_| trust_public_authorities(builder()).build())
            .map(Self)
            .map_err(|error| NoClient(causes(&error)))
    }

    /// Posts `payload` (JSON) and judges the answer. `timeout` bounds the whole exchange. `on_answer` is
    /// called when the answer begins. `now` is this machine's clock, asked only for a `Retry-After` date from an endpoint that does not tell its own time.
    #[expect(clippy::too_many_arguments, reason = "an exchange has so many parts")]
    pub async fn call(
        &self,
        endpoint: &Endpoint,
        job: &HttpJob,
        payload: Bytes,
        timeout: Duration,
        cancel: &CancellationToken,
        on_answer: impl FnOnce(),
        now: impl Fn() -> SystemTime,
    ) -> HttpOutcome {
        let request = self.0.post(endpoint.0.clone()).headers(headers(job)).timeout(timeout).body(payload);
        let exchange = async {
            match request.send().await {
                Ok(response) => {
                    on_answer();
                    judge(endpoint, response, now).await
                }
                Err(error) => failed(endpoint, &error),
            }
        };
        cancel.run_until_cancelled(exchange).await.unwrap_or(HttpOutcome::Interrupted)
    }
}

/// The certificates of the public authorities that come with the program.
#[cfg(feature = "tls")]
fn trust_public_authorities(builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    let certificates = webpki_root_certs::TLS_SERVER_ROOT_CERTS;
    builder.tls_certs_only(certificates.iter().filter_map(|cert| reqwest::Certificate::from_der(cert).ok()))
}

#[cfg(not(feature = "tls"))]
const fn trust_public_authorities(builder: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
    builder
}

/// A value that cannot stand in a header (a broken trace context) is left out rather than failing the job.
fn headers(job: &HttpJob) -> HeaderMap {
    let values = [
        ("longshore-job-id", Some(job.id.to_string())),
        ("longshore-topic", Some(job.topic.to_string())),
        ("longshore-attempt", Some(job.attempt.to_string())),
        ("longshore-retry", Some(job.retry.to_string())),
        ("longshore-timeout-ms", job.timeout.map(|span| span.as_millis().to_string())),
        ("longshore-soft-timeout-ms", job.soft_timeout.map(|span| span.as_millis().to_string())),
        ("traceparent", job.trace_parent.clone()),
    ];
    let given = values
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::try_from(value?).ok()?)));
    given.chain([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]).collect()
}

/// What an answer means; the table in the head of this module. Reads no more of the body than it may keep.
pub async fn judge(endpoint: &Endpoint, mut response: Response, now: impl Fn() -> SystemTime) -> HttpOutcome {
    let status = response.status();
    let may_snooze = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    if may_snooze && let Some(delay) = retry_after(response.headers(), now) {
        return HttpOutcome::Snooze(delay);
    }
    let mut body = Reply::default();
    let read = read_body(&mut response, &mut body).await;
    if status.is_success() {
        return match (read, body.value()) {
            (Err(error), _) => failed(endpoint, &error),
            (Ok(()), Ok(result)) => HttpOutcome::Succeeded(result),
            (Ok(()), Err(too_large)) => HttpOutcome::Permanent(format!("{endpoint}: {too_large}"), None),
        };
    }
    // A failure is a failure, also when its explanation breaks off.
    let mut message = format!("{endpoint} answered {status}");
    let excerpt = body.excerpt();
    if status.is_redirection() {
        message.push_str("; redirects are not followed, set the final address");
    } else if !excerpt.is_empty() {
        message = format!("{message}: {excerpt}");
    }
    let message = limits::cut(&message, limits::MESSAGE_BYTES);
    let kind = Some(format!("http-{}", status.as_u16()));
    if is_temporary(status) { HttpOutcome::Retry(message, kind) } else { HttpOutcome::Permanent(message, kind) }
}

/// The statuses that say themselves that a later attempt may succeed.
fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS)
}

/// Stops where there is too much: the rest would be of no use, and may never end.
async fn read_body(response: &mut Response, body: &mut Reply) -> Result<(), reqwest::Error> {
    while !body.is_too_large()
        && let Some(chunk) = response.chunk().await?
    {
        body.push(&chunk);
    }
    Ok(())
}

/// Seconds, or a date. A date is compared with the endpoint's own clock where it tells it, so that clocks need not
/// agree.
fn retry_after(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let date = |name| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let delay = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => date(RETRY_AFTER)?.duration_since(date(DATE).unwrap_or_else(now)).unwrap_or_default(),
    };
    Some(delay.min(Duration::from_millis(limits::DELAY_MS)))
}

fn failed(endpoint: &Endpoint, error: &reqwest::Error) -> HttpOutcome {
    let (what, kind) = if error.is_timeout() {
        ("did not answer in time", "http-timeout")
    } else if error.is_connect() {
        ("cannot be reached", "http-unreachable")
    } else {
        ("broke off the exchange", "http-broken-off")
    };
    let message = limits::cut(&format!("{endpoint} {what}: {}", causes(error)), limits::MESSAGE_BYTES);
    HttpOutcome::Retry(message, Some(kind.to_owned()))
}

/// The causes alone: the error's own text names the address as it was configured.
fn causes(error: &reqwest::Error) -> String {
    let mut texts = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    if texts.is_empty() { "no cause given".to_owned() } else { texts.join(": ") }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn addresses_are_read_and_their_secrets_kept() {
        let endpoint = Endpoint::new("http://me:secret@host:8080/run?token=secret").unwrap();
        assert_eq!(format!("{endpoint} {endpoint:?}"), "http://host:8080/run Endpoint(http://host:8080/run)");
        assert!(matches!(Endpoint::new("secret@host"), Err(BadEndpoint::Unreadable(text)) if !text.contains("secret")));
        let bad = Endpoint::new("ftp://me:secret@host/").unwrap_err();
        assert_eq!(bad.to_string(), "http = ftp://host/: the scheme must be http or https");
        assert_eq!(Endpoint::new("https://host/").is_ok(), cfg!(feature = "tls"));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = || UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let check = |given: &[(HeaderName, &'static str)], expect: Option<u64>| {
            let headers = given.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect();
            assert_eq!(retry_after(&headers, now), expect.map(Duration::from_secs), "{given:?}");
        };
        check(&[(RETRY_AFTER, "120")], Some(120));
        check(&[(RETRY_AFTER, "0")], Some(0));
        check(&[(RETRY_AFTER, "99999999999")], Some(limits::DELAY_MS / 1000));
        check(&[(RETRY_AFTER, "Sun, 09 Sep 2001 01:47:10 GMT")], Some(30));
        check(&[(RETRY_AFTER, "Sun, 09 Sep 2001 01:46:00 GMT")], Some(0));
        let server = (DATE, "Wed, 01 Jan 2025 00:00:00 GMT");
        check(&[(RETRY_AFTER, "Wed, 01 Jan 2025 00:01:00 GMT"), server], Some(60));
        for bad in ["", "-1", "soon", "1.5"] {
            check(&[(RETRY_AFTER, bad)], None);
        }
        check(&[], None);
    }
}
