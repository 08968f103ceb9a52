//! What a private service asks of its clients: a password, and certificates of an authority made for the test.

use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// The password of every private broker, unless the test gives another: no log may hold it.
pub const PASSWORD: &str = "canary4yellow7bird";

/// What a service asks for; nothing by default.
#[derive(Debug, Default, Clone, Copy)]
pub struct Protection<'a> {
    /// The only password that it takes: letters and digits.
    pub password: Option<&'a str>,
    /// Beside the plain port, one for encrypted connections of clients with a certificate of the same authority.
    pub certificate: Option<&'a Issued>,
}

/// An authority that nobody else trusts; its files go with the value.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate, as files.
#[derive(Debug)]
pub struct Issued {
    /// The certificate of the authority.
    pub ca: PathBuf,
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Default for Authority {
    /// A new one, with keys of its own.
    ///
    /// # Panics
    /// When its files cannot be written.
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "an authority of a test");
        let key = KeyPair::generate().expect("make a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("make an authority");
        let directory = tempfile::Builder::new().prefix("ls-ca-").tempdir().expect("make a directory for an authority");
        fs::write(directory.path().join("ca.pem"), issuer.pem()).expect("write the authority's certificate");
        Self { directory, issuer }
    }
}

impl Authority {
    /// The file with its certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A certificate for a host, or for a client of this name.
    ///
    /// # Panics
    /// When the name cannot be one, or files cannot be written.
    #[must_use]
    pub fn issue(&self, name: &str) -> Issued {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name for a certificate");
        params.distinguished_name.push(DnType::CommonName, name);
        let pair = KeyPair::generate().expect("make a key");
        let certificate = params.signed_by(&pair, &self.issuer).expect("sign a certificate");
        let write = |kind: &str, text: String| {
            let path = self.directory.path().join(format!("{name}.{kind}.pem"));
            fs::write(&path, text).expect("write a certificate");
            path
        };
        Issued { ca: self.ca(), cert: write("cert", certificate.pem()), key: write("key", pair.serialize_pem()) }
    }
}
