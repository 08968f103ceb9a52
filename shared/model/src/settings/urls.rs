//! The form of addresses. Messages never repeat one: it may hold a password.

/// The scheme of addresses in this process.
const EMBEDDED: &str = "embedded:";

/// The name behind `embedded:`, if the address is one.
pub(super) fn embedded(url: &str) -> Option<&str> {
    url.strip_prefix(EMBEDDED)
}

/// The address of a broker.
pub(super) fn broker(url: &str) -> Result<(), String> {
    if embedded(url).is_some() {
        return Ok(());
    }
    check(url, &["amqp", "amqps"]).map_err(|why| format!("{why}; for the broker in this process write embedded:"))
}

/// The address of a store.
pub(super) fn store(url: &str) -> Result<(), String> {
    if embedded(url).is_some() {
        return Ok(());
    }
    check(url, &["redis", "rediss"]).map_err(|why| format!("{why}; for the store in this process write embedded:"))?;
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let number = path.split(['?', '#']).next().unwrap_or_default();
    if !number.is_empty() && number.parse::<u32>().is_err() {
        return Err("what follows the host is the database, a number such as /0".into());
    }
    Ok(())
}

/// The place of payload files; empty is the default.
pub(super) fn blobs(url: &str) -> Result<(), String> {
    let path = url.strip_prefix("file://");
    if url.is_empty() || embedded(url).is_some() || path.is_some_and(|path| path.starts_with('/') && path.len() > 1) {
        return Ok(());
    }
    let bucket = CLOUDS.iter().find_map(|scheme| url.strip_prefix(scheme));
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match bucket.map(|rest| rest.split('/').next().unwrap_or_default()) {
        Some(bucket) if !bucket.is_empty() && bucket.chars().all(legal) => Ok(()),
        Some(_) => Err(
            "what follows the scheme is a bucket and a prefix, such as s3://bucket/prefix; keys and the address of a \
                 service of your own are settings of their own (blobs.access_key, blobs.secret_key, blobs.endpoint)"
                .into(),
        ),
        None => Err("it is not a place for files; write file:///absolute/directory, s3://bucket/prefix, \
                     gs://bucket/prefix, az://container/prefix, or embedded: for this process"
            .into()),
    }
}

/// Schemes of cloud stores.
const CLOUDS: [&str; 3] = ["s3://", "gs://", "az://"];

/// The address of a service that is compatible with a cloud store; empty is the provider's own.
pub(super) fn endpoint(url: &str) -> Result<Option<String>, String> {
    if url.is_empty() {
        return Ok(None);
    }
    check(url, &["http", "https"])?;
    if url.contains('@') || url.contains('?') {
        return Err("keys do not belong into the address; use blobs.access_key and blobs.secret_key".into());
    }
    Ok(Some(url.to_owned()))
}

/// Checks scheme, host and port.
pub(super) fn check(url: &str, schemes: &[&str]) -> Result<(), String> {
    let form = || format!("write {}://host:port/…", schemes.join(":// or "));
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("it is not an address; {}", form()));
    };
    if !schemes.contains(&scheme) {
        return Err(format!("its scheme is not known here; {}", form()));
    }
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it has a blank in it; encode it as %20".into());
    }
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let address = authority.rsplit('@').next().unwrap_or(authority);
    let (host, port) = match address.rsplit_once(':') {
        // The colon within an IPv6 address parts nothing.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (address, None),
    };
    if host.is_empty() {
        return Err(format!("it has no host (in a user or password, encode `/` as %2F); {}", form()));
    }
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err("its port is not a number from 0 to 65535 (in a user or password, encode `/` as %2F)".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_without_being_repeated() {
        for url in ["amqp://h", "amqps://u:p@h:5671/vh", "amqp://u:p%2F@[::1]:5672/%2f", "embedded:", "embedded:x"] {
            assert_eq!(broker(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "host",
            "http://h",
            "amqp://",
            "amqp://u:secret@",
            "amqp://h:secret",
            "amqp://u:se/cret@h",
            "amqp://h h",
        ] {
            let why = broker(url).unwrap_err();
            assert!(!why.contains("secret") && why.contains("embedded:"), "{url}: {why}");
        }
        for url in ["redis://h", "redis://:p@h:6379/3", "rediss://h/", "redis://h/0?protocol=resp3", "embedded:"] {
            assert_eq!(store(url), Ok(()), "{url}");
        }
        for url in ["redis://h/x", "amqp://h", "redis:/h"] {
            assert!(store(url).is_err(), "{url}");
        }
        for url in ["", "file:///var/blobs", "embedded:", "s3://bucket", "gs://b/deep/prefix", "az://c/p"] {
            assert_eq!(blobs(url), Ok(()), "{url}");
        }
        for url in ["file://var", "file:///", "/var/blobs", "s3://", "s3://key:secret@bucket", "ftp://bucket"] {
            assert!(blobs(url).is_err_and(|why| !why.contains("secret@")), "{url}");
        }
        assert_eq!(endpoint("http://127.0.0.1:9000"), Ok(Some("http://127.0.0.1:9000".into())));
        for url in ["127.0.0.1", "s3://x", "http://key:secret@host", "https://host/?secret"] {
            assert!(endpoint(url).is_err_and(|why| !why.contains("secret@")), "{url}");
        }
    }
}
