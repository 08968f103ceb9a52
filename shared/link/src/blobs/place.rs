//! Where blobs are: opening the place that an address names.
//!
//! A directory is opened when it is first needed, so that a process starts, and shows and controls jobs, while the
//! directory is away. Cloud stores are features: `s3`, `gcs` and `azure`. No message repeats a key or a signed address.

use crate::error::{Fault, Service};
use longshore_model::names::Namespace;
use longshore_model::settings::BlobSettings;
use object_store::local::LocalFileSystem;
use object_store::{Error, ObjectStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Bytes of one part of an upload into a directory or into memory.
const PART: usize = 1024 * 1024;
/// Bytes of one part of an upload to a cloud store: the least that S3 takes.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
const CLOUD_PART: usize = 5 * 1024 * 1024;

/// Where blobs are.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// There, with parts of so many bytes.
    Store(Arc<dyn ObjectStore>, usize),
    /// In a directory.
    Directory(Arc<Directory>),
    /// Nowhere.
    Nowhere,
}

/// A directory that is opened when it is needed.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    opened: OnceCell<Arc<dyn ObjectStore>>,
}

impl Place {
    /// A directory.
    pub(super) fn directory(path: &Path) -> Self {
        Self::Directory(Arc::new(Directory { path: path.to_owned(), opened: OnceCell::new() }))
    }

    /// What keeps everything in this process.
    pub(super) fn memory() -> Self {
        Self::Store(Arc::new(object_store::memory::InMemory::new()), PART)
    }

    /// The part of the place that the settings name that belongs to a namespace: what no job of it needs is deleted.
    ///
    /// # Errors
    /// [`Fault::Refused`] for an address of another kind, and for one whose feature is not part of this program.
    pub(super) fn of(settings: &BlobSettings, namespace: &Namespace) -> Result<Self, Fault> {
        let address = settings.url.reveal();
        if let Some(path) = directory_of(address) {
            return Ok(Self::directory(&path.join(namespace.as_str())));
        }
        match address.split_once("://").map(|(scheme, _)| scheme) {
            Some("s3") => s3(settings, namespace),
            Some("gs") => gcs(settings, namespace),
            Some("az") => azure(settings, namespace),
            _ => {
                let remedy = "use file:///an/absolute/directory, s3://bucket/prefix, gs://bucket/prefix, \
                              az://container/prefix, or embedded: with an embedded broker and store";
                let shown = settings.url.shown();
                Err(Fault::refused(Service::Blobs, format!("`{shown}` is not an address of blobs: {remedy}")))
            }
        }
    }

    /// The object store, opened if need be.
    ///
    /// # Errors
    /// [`Fault::Unreachable`] or [`Fault::Blocked`] for a directory that is away; [`Fault::Refused`] without a place.
    pub(super) async fn store(&self) -> Result<Arc<dyn ObjectStore>, Fault> {
        match self {
            Self::Store(store, _) => Ok(Arc::clone(store)),
            Self::Directory(directory) => directory.store().await,
            Self::Nowhere => Err(Fault::refused(
                Service::Blobs,
                "there is no place for files: set blobs.url (LONGSHORE_BLOBS__URL) to a shared directory, file:///…",
            )),
        }
    }

    /// Bytes of one part of an upload.
    pub(super) const fn part(&self) -> usize {
        match self {
            Self::Store(_, part) => *part,
            Self::Directory(_) | Self::Nowhere => PART,
        }
    }

    /// The directory, where it is one.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(&directory.path),
            Self::Store(..) | Self::Nowhere => None,
        }
    }
}

impl Directory {
    async fn store(&self) -> Result<Arc<dyn ObjectStore>, Fault> {
        let open = async || {
            let away = |why: String| Fault::unreachable(Service::Blobs, format!("{}: {why}", self.path.display()));
            tokio::fs::create_dir_all(&self.path).await.map_err(|error| away(error.to_string()))?;
            let store =
                LocalFileSystem::new_with_prefix(&self.path).map_err(|error| away(clean(&error.to_string())))?;
            Ok::<Arc<dyn ObjectStore>, Fault>(Arc::new(store.with_fsync(true)))
        };
        self.opened.get_or_try_init(open).await.cloned()
    }
}

/// The directory of a `file:` address.
fn directory_of(url: &str) -> Option<PathBuf> {
    url::Url::parse(url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

/// What a failed call means. What only somebody's change can mend is a refusal for now all the same: jobs wait for
/// their files, and do not fail because a key ran out.
pub(super) fn fault(error: &Error) -> Fault {
    match error {
        Error::NotFound { path, .. } => Fault::unreachable(Service::Blobs, format!("`{}` is not there", clean(path))),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
            Fault::blocked(Service::Blobs, clean(&error.to_string()))
        }
        Error::NotSupported { .. } | Error::NotImplemented { .. } | Error::UnknownConfigurationKey { .. } => {
            Fault::refused(Service::Blobs, clean(&error.to_string()))
        }
        _ => Fault::unknown(Service::Blobs, clean(&error.to_string())),
    }
}

/// The text without what follows a `?` in an address, which may be a signature, and not too long.
fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut hidden = false;
    for c in text.chars() {
        let ends = c.is_whitespace() || matches!(c, '"' | '\'' | '`' | ')' | '<' | '>');
        hidden = hidden && !ends || c == '?';
        if !hidden {
            out.push(if c.is_control() { ' ' } else { c });
        }
    }
    longshore_model::limits::cut(&out, 500)
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod cloud {
    use super::{CLOUD_PART, Place, clean};
    use crate::error::{Fault, Service};
    use longshore_model::names::Namespace;
    use longshore_model::settings::BlobSettings;
    use object_store::path::Path as Key;
    use object_store::prefix::PrefixStore;
    use object_store::{BackoffConfig, ClientOptions, Error, ObjectStore, RetryConfig};
    use std::sync::Arc;
    use std::time::Duration;

    /// A store that is away is waited for by the job and not by the call.
    pub(super) fn retry() -> RetryConfig {
        RetryConfig { backoff: BackoffConfig::default(), max_retries: 3, retry_timeout: Duration::from_secs(20) }
    }

    pub(super) fn client(settings: &BlobSettings) -> ClientOptions {
        crate::tls::choose_provider();
        ClientOptions::new()
            .with_connect_timeout(Duration::from_secs(5))
            .with_timeout(Duration::from_secs(60))
            .with_allow_http(settings.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")))
    }

    /// Bucket and prefix of `scheme://bucket/prefix`.
    pub(super) fn parts(settings: &BlobSettings) -> (&str, &str) {
        let rest = settings.url.reveal().split_once("://").map_or("", |(_, rest)| rest);
        rest.split_once('/').unwrap_or((rest, ""))
    }

    pub(super) fn place<S: ObjectStore>(
        built: Result<S, Error>,
        prefix: &str,
        namespace: &Namespace,
    ) -> Result<Place, Fault> {
        let store = built.map_err(|error| {
            Fault::refused(Service::Blobs, format!("blobs.url cannot be opened: {}", clean(&error.to_string())))
        })?;
        let prefix = Key::from(format!("{}/{namespace}", prefix.trim_matches('/')));
        Ok(Place::Store(Arc::new(PrefixStore::new(store, prefix)), CLOUD_PART))
    }
}

#[cfg(feature = "s3")]
fn s3(settings: &BlobSettings, namespace: &Namespace) -> Result<Place, Fault> {
    use object_store::aws::AmazonS3Builder;
    let (bucket, prefix) = cloud::parts(settings);
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_retry(cloud::retry())
        .with_client_options(cloud::client(settings));
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(key) = &settings.access_key {
        builder = builder.with_access_key_id(key).with_secret_access_key(settings.secret_key.reveal());
    }
    cloud::place(builder.build(), prefix, namespace)
}

#[cfg(feature = "gcs")]
fn gcs(settings: &BlobSettings, namespace: &Namespace) -> Result<Place, Fault> {
    use object_store::gcp::GoogleCloudStorageBuilder;
    let (bucket, prefix) = cloud::parts(settings);
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(bucket)
        .with_retry(cloud::retry())
        .with_client_options(cloud::client(settings));
    cloud::place(builder.build(), prefix, namespace)
}

#[cfg(feature = "azure")]
fn azure(settings: &BlobSettings, namespace: &Namespace) -> Result<Place, Fault> {
    use object_store::azure::MicrosoftAzureBuilder;
    let (container, prefix) = cloud::parts(settings);
    let mut builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(container)
        .with_retry(cloud::retry())
        .with_client_options(cloud::client(settings));
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.clone());
    }
    if let Some(account) = &settings.access_key {
        builder = builder.with_account(account).with_access_key(settings.secret_key.reveal());
    }
    cloud::place(builder.build(), prefix, namespace)
}

#[cfg(not(feature = "s3"))]
fn s3(_: &BlobSettings, _: &Namespace) -> Result<Place, Fault> {
    Err(without("s3"))
}

#[cfg(not(feature = "gcs"))]
fn gcs(_: &BlobSettings, _: &Namespace) -> Result<Place, Fault> {
    Err(without("gcs"))
}

#[cfg(not(feature = "azure"))]
fn azure(_: &BlobSettings, _: &Namespace) -> Result<Place, Fault> {
    Err(without("azure"))
}

#[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
fn without(feature: &str) -> Fault {
    let why = format!("this program was built without `{feature}`: build it with `--features {feature}`");
    Fault::refused(Service::Blobs, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o05_only_absolute_directories_are_addresses_of_directories() {
        assert_eq!(directory_of("file:///var/lib/a%20b"), Some(PathBuf::from("/var/lib/a b")));
        for text in ["", "/var/lib", "s3://bucket", "file://host/dir"] {
            assert_eq!(directory_of(text), None, "{text}");
        }
    }

    #[test]
    fn o05_an_address_that_names_no_place_is_refused_with_the_remedy() {
        for url in ["http://host/x", "/var/blobs"] {
            let settings = BlobSettings { url: longshore_model::secret::Secret::new(url), ..blob_settings() };
            let fault = Place::of(&settings, &Namespace::default()).unwrap_err();
            assert!(!fault.is_passing() && fault.to_string().contains("s3://"), "{fault}");
        }
    }

    #[cfg(feature = "s3")]
    #[test]
    fn keys_of_a_cloud_store_are_in_no_message() {
        let settings = BlobSettings {
            url: longshore_model::secret::Secret::new("s3://bucket/deep/prefix"),
            access_key: Some("AKIAEXAMPLE".into()),
            secret_key: longshore_model::secret::Secret::new("hunter2"),
            region: Some("eu-west-1".into()),
            ..blob_settings()
        };
        let place = Place::of(&settings, &Namespace::default()).unwrap();
        assert!(!format!("{place:?}").contains("hunter2"));
        assert_eq!(place.part(), CLOUD_PART);
    }

    #[test]
    fn o05_a_store_that_is_not_part_of_the_program_is_named() {
        let cases = [
            ("s3", "s3", cfg!(feature = "s3")),
            ("gs", "gcs", cfg!(feature = "gcs")),
            ("az", "azure", cfg!(feature = "azure")),
        ];
        for (scheme, feature, built) in cases {
            let url = longshore_model::secret::Secret::new(format!("{scheme}://bucket/prefix"));
            let opened = Place::of(&BlobSettings { url, ..blob_settings() }, &Namespace::default());
            if !built {
                let fault = opened.unwrap_err();
                assert!(!fault.is_passing() && fault.to_string().contains(&format!("--features {feature}")), "{fault}");
            }
        }
    }

    #[test]
    fn signed_addresses_are_cut_where_the_signature_begins() {
        let text = "GET https://a.blob.core/c/x?sig=hunter2&se=1: 503 (http://b/?k=hunter2) end";
        assert_eq!(clean(text), "GET https://a.blob.core/c/x 503 (http://b/) end");
    }

    fn blob_settings() -> BlobSettings {
        longshore_model::settings::Settings::default().blobs
    }
}
