//! Encrypted connections: the files that they need, and what a failed handshake means.
//!
//! Owns nothing that lives on: both client libraries get what is read here once, when a process connects. There is no
//! way to leave the server's certificate or its name unchecked.

use crate::error::{Fault, Service};
use longshore_model::settings::TlsSettings;
use std::path::Path;

/// More than any bundle of certificates has, bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;

/// Chooses the library that encrypts, once per process. Where the application has chosen one already, its choice stands.
#[cfg(feature = "tls")]
pub fn choose_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Nothing to choose: nothing is encrypted.
#[cfg(not(feature = "tls"))]
pub const fn choose_provider() {}

/// The content of the files that the settings name; PEM.
#[derive(Default)]
#[cfg_attr(not(feature = "tls"), expect(dead_code, reason = "read, and then refused with the address"))]
pub(crate) struct Files {
    /// Certificates to trust.
    pub(crate) ca: Option<Vec<u8>>,
    /// The process's own certificate and its key.
    pub(crate) identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// Reads the files.
///
/// # Errors
/// [`Fault::Refused`] naming the setting, when a file cannot be read or holds nothing of the kind.
pub(crate) fn read(settings: &TlsSettings, service: Service) -> Result<Files, Fault> {
    let load = |name: &str, path: Option<&Path>, mark: &str| match path {
        Some(path) => file(&format!("{}.{name}", section(service)), path, mark).map(Some),
        None => Ok(None),
    };
    let read = || {
        let certificate = "-----BEGIN CERTIFICATE-----";
        let ca = load("ca", settings.ca.as_deref(), certificate)?;
        let cert = load("cert", settings.cert.as_deref(), certificate)?;
        let key = load("key", settings.key.as_deref(), "PRIVATE KEY-----")?;
        Ok(Files { ca, identity: cert.zip(key) })
    };
    read().map_err(|why: String| Fault::refused(service, why))
}

/// The section of the settings that is about a service.
const fn section(service: Service) -> &'static str {
    match service {
        Service::Broker => "broker",
        _ => "store",
    }
}

/// The content of one file, which has to hold `mark`. It is never part of an error: it may be a key.
fn file(setting: &str, path: &Path, mark: &str) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_err(|error| format!("{setting}: {shown}: {error}"))?.len();
    if size > FILE_BYTES {
        return Err(format!("{setting}: {shown}: {size} bytes are too many for a PEM file"));
    }
    let content = std::fs::read(path).map_err(|error| format!("{setting}: {shown}: {error}"))?;
    if !content.windows(mark.len()).any(|window| window == mark.as_bytes()) {
        return Err(format!("{setting}: {shown}: there is no `{mark}` in it; name a file in PEM form"));
    }
    Ok(content)
}

/// What somebody has to change after a handshake that failed for its certificates, by what the library said of it.
/// `None`: it failed otherwise, and may pass.
pub(crate) fn remedy(said: &str, service: Service) -> Option<String> {
    let section = section(service);
    let alerted = |alert: &str| said.contains("received fatal alert: ") && said.contains(alert);
    let remedy = if ["Certificate", "UnknownCA", "AccessDenied", "DecryptError"].into_iter().any(alerted) {
        format!("the server asks for a certificate that it knows: see {section}.cert and {section}.key")
    } else if said.contains("UnknownIssuer") || said.contains("BadSignature") {
        format!("name the file with the certificate of its authority in {section}.ca")
    } else if said.contains("not valid for name") || said.contains("NotValidForName") {
        format!("use a host in {section}.url that is a name in the server's certificate")
    } else if said.contains("Expired") || said.contains("expired") || said.contains("NotValidYet") {
        "renew the server's certificate, or set this machine's clock".to_owned()
    } else if said.contains("invalid peer certificate") {
        "give the server a certificate that can be verified".to_owned()
    } else if said.contains("InvalidContentType") {
        format!("that port does not speak TLS: check the scheme and the port in {section}.url")
    } else {
        return None;
    };
    Some(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_of_no_use_is_named_with_its_setting_and_never_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f.pem");
        let settings =
            |ca: bool| TlsSettings { ca: ca.then(|| path.clone()), cert: None, key: (!ca).then(|| path.clone()) };
        let why = |ca, service| read(&settings(ca), service).err().unwrap().to_string();
        assert!(why(true, Service::Store).contains("store.ca: "), "{}", why(true, Service::Store));
        std::fs::write(&path, "hunter2").unwrap();
        let text = why(false, Service::Broker);
        assert!(text.contains("broker.key: ") && text.contains("PEM") && !text.contains("hunter2"), "{text}");
        std::fs::File::create(&path).unwrap().set_len(FILE_BYTES + 1).unwrap();
        assert!(why(true, Service::Store).contains("too many"));
    }
}
