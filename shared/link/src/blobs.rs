//! Payload files by content: stored once under their SHA-256, checked when read.
//!
//! Owns the object store and nothing else; who may read which blob is decided by whoever holds its
//! digest. A blob is written whole or not at all, and reading one whose bytes do not match its
//! digest is a refusal, never a wrong file. Memory is bounded whatever the size of a file.
//!
//! Layout: `blobs/<first two digits>/<digest>`, and `store-id`, by which two processes notice that
//! they look at different places.

use crate::error::{Fault, Service};
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::StreamExt as _;
use longshore_model::envelope::FileRef;
use longshore_model::secret::Secret;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, WriteMultipart};
use sha2::{Digest as _, Sha256};
use std::any::Any;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes that are read from a file at once.
const CHUNK: usize = 256 * 1024;
/// Parts of one upload that may be under way at once; each has 5 MiB.
const PARTS: usize = 2;
/// Where a store keeps its id.
const STORE_ID: &str = "store-id";

/// The place of payload files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    place: Place,
    /// The id that the place gets if it has none yet.
    candidate: String,
    random: crate::world::Random,
    /// Whatever must live as long as anybody reads the blobs.
    _keep: Option<Arc<dyn Any + Send + Sync>>,
}

#[derive(Debug, Clone)]
enum Place {
    Store(Arc<dyn ObjectStore>),
    Nowhere,
}

/// What is known of stored content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
}

impl Content {
    /// What these bytes are called.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = Sum::default();
        sum.add(bytes);
        sum.content()
    }

    /// A reference to it under a file name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> FileRef {
        FileRef { name: name.into(), size: self.size, sha256: self.sha256, inline: None }
    }
}

/// A reference that carries its content, for small files.
#[must_use]
pub fn inline(name: impl Into<String>, bytes: &[u8]) -> FileRef {
    FileRef { inline: Some(BASE64.encode(bytes)), ..Content::of(bytes).named(name) }
}

impl Blobs {
    /// Blobs in this process, for the embedded backend.
    #[must_use]
    pub fn in_memory(world: &World) -> Self {
        Self::new(Place::Store(Arc::new(InMemory::new())), world)
    }

    /// Blobs in a directory, which is made if need be. Processes on several machines must mount the same one.
    ///
    /// # Errors
    /// [`Fault::Refused`] when it cannot be made or used.
    pub async fn directory(path: &Path, world: &World) -> Result<Self, Fault> {
        let refused = |why: String| Fault::refused(Service::Blobs, format!("directory {}: {why}", path.display()));
        tokio::fs::create_dir_all(path).await.map_err(|error| refused(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(path).map_err(|error| refused(error.to_string()))?;
        Ok(Self::new(Place::Store(Arc::new(store.with_fsync(true))), world))
    }

    /// No place for blobs: inline content works, everything else is refused with the remedy.
    #[must_use]
    pub fn nowhere(world: &World) -> Self {
        Self::new(Place::Nowhere, world)
    }

    /// The place that an address names: `file:///directory`.
    ///
    /// # Errors
    /// [`Fault::Refused`] for any other address and for a directory that cannot be used.
    pub(crate) async fn open(url: &Secret, world: &World) -> Result<Self, Fault> {
        let path = directory_of(url.reveal()).ok_or_else(|| {
            let shown = url.shown();
            let remedy = "use file:///an/absolute/directory, or embedded: with an embedded broker and store";
            Fault::refused(Service::Blobs, format!("`{shown}` is not an address of blobs: {remedy}"))
        })?;
        Self::directory(&path, world).await
    }

    fn new(place: Place, world: &World) -> Self {
        let candidate = uuid::Builder::from_random_bytes(world.random.bytes()).into_uuid().to_string();
        Self { place, candidate, random: world.random.clone(), _keep: None }
    }

    /// The same blobs, which keep something alive.
    #[must_use]
    pub(crate) fn keeping(self, keep: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _keep: Some(keep), ..self }
    }

    /// The id of the place: whoever answers another one looks at another place.
    ///
    /// # Errors
    /// When the place cannot be read, or written by the first who asks.
    pub async fn id(&self) -> Result<String, Fault> {
        let (store, key) = (self.store()?, Key::from(STORE_ID));
        let mine = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match store.put_opts(&key, self.candidate.clone().into(), mine).await {
            Ok(_) | Err(Error::AlreadyExists { .. }) => {}
            // A place that may only be read has an id all the same.
            Err(error) if store.head(&key).await.is_err() => return Err(fault(&error)),
            Err(_) => {}
        }
        let read = async { store.get(&key).await?.bytes().await };
        let bytes = read.await.map_err(|error| fault(&error))?;
        Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// Stores bytes; what is there already is not written again.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<Content, Fault> {
        let content = Content::of(&bytes);
        let store = self.store()?;
        if !self.exists(&content).await? {
            store.put(&key(&content.sha256), bytes.into()).await.map_err(|error| fault(&error))?;
        }
        Ok(content)
    }

    /// Stores a file; what is there already is not written again. The file is read twice: its name must be known
    /// before the first byte is written.
    ///
    /// # Errors
    /// When the file cannot be read or changes meanwhile, and when the place cannot be written.
    pub async fn put_file(&self, path: &Path) -> Result<Content, Fault> {
        let store = self.store()?;
        let mut pieces = Pieces::open(path).await?;
        while pieces.next().await?.is_some() {}
        let content = pieces.sum.content();
        if self.exists(&content).await? {
            return Ok(content);
        }
        let upload = store.put_multipart(&key(&content.sha256)).await.map_err(|error| fault(&error))?;
        let mut upload = WriteMultipart::new(upload);
        if let Err(fault) = copy(path, &content, &mut upload).await {
            // What was written so far is nowhere to be found under the digest, aborted or not.
            let _ = upload.abort().await;
            return Err(fault);
        }
        upload.finish().await.map_err(|error| fault(&error))?;
        Ok(content)
    }

    /// Whether the content is there, with the right size.
    ///
    /// # Errors
    /// When the place does not answer.
    pub async fn exists(&self, content: &Content) -> Result<bool, Fault> {
        match self.store()?.head(&key(&content.sha256)).await {
            Ok(meta) => Ok(meta.size == content.size),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(fault(&error)),
        }
    }

    /// Writes the content of a reference to a file: whole and checked, or not at all.
    ///
    /// # Errors
    /// [`Fault::Refused`] when the content does not match its digest or size, or the file cannot be written;
    /// [`Fault::Unreachable`] when the content is not there (yet).
    pub async fn fetch_to(&self, file: &FileRef, path: &Path) -> Result<(), Fault> {
        file.check().map_err(|why| Fault::refused(Service::Blobs, why))?;
        let part = self.part(path);
        let fetched = self.write(file, &part).await;
        let fetched = match fetched {
            Ok(()) => tokio::fs::rename(&part, path).await.map_err(|error| unwritable(path, &error)),
            Err(fault) => Err(fault),
        };
        if fetched.is_err() {
            // It may not even have been made.
            let _ = tokio::fs::remove_file(&part).await;
        }
        fetched
    }

    async fn write(&self, file: &FileRef, part: &Path) -> Result<(), Fault> {
        let mut out = File::create_new(part).await.map_err(|error| unwritable(part, &error))?;
        let mut sum = Sum::default();
        if let Some(text) = &file.inline {
            let bytes = BASE64.decode(text).map_err(|error| wrong(file, &format!("its base64 is broken ({error})")))?;
            sum.add(&bytes);
            out.write_all(&bytes).await.map_err(|error| unwritable(part, &error))?;
        } else {
            let found = self.store()?.get(&key(&file.sha256)).await.map_err(|error| fault(&error))?;
            let mut chunks = found.into_stream();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|error| fault(&error))?;
                sum.add(&chunk);
                if sum.size > file.size {
                    return Err(wrong(file, "there is more of it than its size says"));
                }
                out.write_all(&chunk).await.map_err(|error| unwritable(part, &error))?;
            }
        }
        let content = sum.content();
        if content.size != file.size {
            return Err(wrong(file, &format!("{} bytes were found", content.size)));
        }
        if content.sha256 != file.sha256 {
            return Err(wrong(file, "its bytes do not match its digest"));
        }
        out.flush().await.map_err(|error| unwritable(part, &error))
    }

    /// A name beside the file that nobody else uses.
    fn part(&self, path: &Path) -> PathBuf {
        path.with_file_name(format!(".{:016x}.part", self.random.next()))
    }

    fn store(&self) -> Result<&dyn ObjectStore, Fault> {
        match &self.place {
            Place::Store(store) => Ok(store.as_ref()),
            Place::Nowhere => Err(Fault::refused(
                Service::Blobs,
                "there is no place for files: set blobs.url (LONGSHORE_BLOBS__URL) to a shared directory, file:///…",
            )),
        }
    }
}

/// The directory of a `file:` address.
fn directory_of(url: &str) -> Option<PathBuf> {
    url::Url::parse(url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()
}

fn key(sha256: &str) -> Key {
    Key::from_iter(["blobs", sha256.get(..2).unwrap_or("__"), sha256])
}

/// Sends a file that must still hold what was found in it.
async fn copy(path: &Path, content: &Content, upload: &mut WriteMultipart) -> Result<(), Fault> {
    let mut pieces = Pieces::open(path).await?;
    while let Some(piece) = pieces.next().await? {
        upload.wait_for_capacity(PARTS).await.map_err(|error| fault(&error))?;
        upload.write(piece);
    }
    if pieces.sum.content() == *content { Ok(()) } else { Err(unreadable(path, "it changes while it is sent")) }
}

/// A file, read piece by piece with bounded memory.
struct Pieces<'p> {
    path: &'p Path,
    file: File,
    buffer: Vec<u8>,
    sum: Sum,
}

impl<'p> Pieces<'p> {
    async fn open(path: &'p Path) -> Result<Self, Fault> {
        let file = File::open(path).await.map_err(|error| unreadable(path, &error.to_string()))?;
        Ok(Self { path, file, buffer: vec![0; CHUNK], sum: Sum::default() })
    }

    async fn next(&mut self) -> Result<Option<&[u8]>, Fault> {
        let read = self.file.read(&mut self.buffer).await;
        let count = read.map_err(|error| unreadable(self.path, &error.to_string()))?;
        let piece = &self.buffer[..count];
        self.sum.add(piece);
        Ok((count > 0).then_some(piece))
    }
}

/// Digest and size of what went by.
#[derive(Default)]
struct Sum {
    digest: Sha256,
    size: u64,
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        self.digest.update(bytes);
        self.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    }

    fn content(self) -> Content {
        let mut sha256 = String::with_capacity(64);
        for byte in self.digest.finalize() {
            // Writing to a text cannot fail.
            let _ = write!(sha256, "{byte:02x}");
        }
        Content { sha256, size: self.size }
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::NotFound { path, .. } => Fault::unreachable(Service::Blobs, format!("`{path}` is not there")),
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } | Error::NotSupported { .. } => {
            Fault::refused(Service::Blobs, error.to_string())
        }
        _ => Fault::unknown(Service::Blobs, error.to_string()),
    }
}

fn unreadable(path: &Path, why: &str) -> Fault {
    Fault::refused(Service::Blobs, format!("file {} cannot be read: {why}", path.display()))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Fault {
    Fault::refused(Service::Blobs, format!("file {} cannot be written: {error}", path.display()))
}

fn wrong(file: &FileRef, why: &str) -> Fault {
    Fault::refused(Service::Blobs, format!("file `{}` ({} bytes, {}): {why}", file.name, file.size, file.sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_directories_are_addresses() {
        assert_eq!(directory_of("file:///var/lib/a%20b"), Some(PathBuf::from("/var/lib/a b")));
        for text in ["", "/var/lib", "s3://bucket", "file://host/dir"] {
            assert_eq!(directory_of(text), None, "{text}");
        }
    }

    #[tokio::test]
    async fn two_handles_of_one_directory_see_one_id_and_another_directory_has_another() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let world = World::system();
        let open = async |path: &Path| Blobs::directory(path, &world).await.unwrap().id().await.unwrap();
        let id = open(one.path()).await;
        assert_eq!(open(one.path()).await, id);
        assert_ne!(open(two.path()).await, id);
    }

    #[tokio::test]
    async fn without_a_place_the_remedy_is_named_and_inline_content_works() {
        let (dir, blobs) = (tempfile::tempdir().unwrap(), Blobs::nowhere(&World::system()));
        let fault = blobs.put_bytes(Bytes::from_static(b"x")).await.unwrap_err();
        assert!(!fault.is_passing() && fault.to_string().contains("LONGSHORE_BLOBS__URL"), "{fault}");
        let path = dir.path().join("a");
        blobs.fetch_to(&inline("a", b"content"), &path).await.unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"content");
    }

    #[tokio::test]
    async fn a_damaged_blob_in_a_directory_is_refused_and_leaves_no_file() {
        let (place, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let blobs = Blobs::directory(place.path(), &World::system()).await.unwrap();
        let content = blobs.put_bytes(Bytes::from_static(b"right")).await.unwrap();
        let file = place.path().join("blobs").join(&content.sha256[..2]).join(&content.sha256);
        for (bytes, why) in [("wrong", "do not match"), ("right and more", "more of it"), ("rig", "3 bytes")] {
            std::fs::write(&file, bytes).unwrap();
            let fault = blobs.fetch_to(&content.clone().named("f"), &out.path().join("f")).await.unwrap_err();
            assert!(!fault.is_passing() && fault.to_string().contains(why), "{fault}");
            assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
        }
    }
}
