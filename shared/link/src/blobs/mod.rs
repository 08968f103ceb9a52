//! Payload files by content: stored once under their SHA-256, checked when read.
//!
//! Owns the object store and nothing else; who may read which blob is decided by whoever holds its
//! digest. A blob is written whole or not at all, and reading one whose bytes do not match its
//! digest is a refusal, never a wrong file. Memory is bounded whatever the size of a file and the
//! number of files: so many are on their way at once, the others wait ([`Blobs::turn`]).
//!
//! Layout: `blobs/<first two digits>/<digest>`, and `store-id`, by which two processes notice that
//! they look at different places ([`agreed`]).

mod agreed;
mod pieces;
mod place;

use self::agreed::Agreed;
use self::pieces::{Pieces, Sum, unreadable, unwritable};
use self::place::{Place, fault};
use crate::error::{Fault, Service};
use crate::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use longshore_model::envelope::FileRef;
use longshore_model::names::Namespace;
use longshore_model::settings::BlobSettings;
use object_store::path::Path as Key;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, WriteMultipart};
use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Parts of one upload that may be under way at once.
const PARTS: usize = 1;
/// Files that may be on their way at once in one process: what bounds its memory.
const TURNS: usize = 4;
/// Where a store keeps its id.
const STORE_ID: &str = "store-id";
/// Below it are the blobs.
const BLOBS: &str = "blobs";

/// The place of payload files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Blobs {
    place: Place,
    /// The id that the place gets if it has none yet.
    candidate: String,
    random: crate::world::Random,
    turns: Arc<Semaphore>,
    agreed: Arc<Agreed>,
    /// Why the place is said to be away, for simulations.
    away: Arc<Mutex<Option<String>>>,
    /// Whatever must live as long as anybody reads the blobs.
    _keep: Option<Arc<dyn Any + Send + Sync>>,
}

/// The right to have one file on its way; ends with its value.
#[derive(Debug)]
pub struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

/// Told how many bytes of a file have gone by so far.
pub type Meter<'m> = &'m (dyn Fn(u64) + Send + Sync);

/// A meter that nobody reads.
pub const UNMETERED: Meter<'static> = &|_| {};

/// Whether content that is at the place already may be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reuse {
    /// The store knows that a job needs it ([`crate::store::Store::keep_files`]), so that it stays.
    Kept,
    /// Nobody knows that: it is written again, and is new.
    Never,
}

/// A blob at its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256, lower-case hex.
    pub sha256: String,
    /// Bytes.
    pub size: u64,
    /// When it was written, ms since 1970 by the place's clock.
    pub written: u64,
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
        Self::new(Place::memory(), world)
    }

    /// Blobs in a directory, which is made when it is first needed. Processes on several machines must mount the same one.
    #[must_use]
    pub fn directory(path: &Path, world: &World) -> Self {
        Self::new(Place::directory(path), world)
    }

    /// No place for blobs: inline content works, everything else is refused with the remedy.
    #[must_use]
    pub fn nowhere(world: &World) -> Self {
        Self::new(Place::Nowhere, world)
    }

    /// The place that the settings name: `file:///directory`, `s3://bucket/prefix`, `gs://bucket/prefix`,
    /// `az://container/prefix`. Each namespace has its own part of it.
    ///
    /// # Errors
    /// [`Fault::Refused`] for any other address and for one whose feature is not part of this program.
    pub(crate) fn open(settings: &BlobSettings, namespace: &Namespace, world: &World) -> Result<Self, Fault> {
        Ok(Self::new(Place::of(settings, namespace)?, world))
    }

    fn new(place: Place, world: &World) -> Self {
        let candidate = uuid::Builder::from_random_bytes(world.random.bytes()).into_uuid().to_string();
        let (turns, random) = (Arc::new(Semaphore::new(TURNS)), world.random.clone());
        Self { place, candidate, random, turns, agreed: Arc::default(), away: Arc::default(), _keep: None }
    }

    /// The same blobs for another process, which keep something alive.
    #[must_use]
    pub(crate) fn keeping(self, keep: Arc<dyn Any + Send + Sync>) -> Self {
        Self { _keep: Some(keep), turns: Arc::new(Semaphore::new(TURNS)), agreed: Arc::default(), ..self }
    }

    /// Every call fails as unreachable, in all processes that share this place, until this is called with `None`.
    pub(crate) fn set_away(&self, why: Option<&str>) {
        *self.away.lock().unwrap_or_else(PoisonError::into_inner) = why.map(str::to_owned);
    }

    /// Whether there is a place at all.
    #[must_use]
    pub const fn is_somewhere(&self) -> bool {
        !matches!(self.place, Place::Nowhere)
    }

    /// Waits until one more file may be on its way, in the order of asking.
    pub async fn turn(&self) -> Turn {
        // It is never closed.
        Turn { _permit: Arc::clone(&self.turns).acquire_owned().await.ok() }
    }

    /// The id of the place: whoever answers another one looks at another place.
    ///
    /// # Errors
    /// When the place cannot be read, or written by the first who asks.
    pub async fn id(&self) -> Result<String, Fault> {
        let (store, key) = (self.store().await?, id_key());
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
        self.store_bytes(bytes, &content, Reuse::Kept, UNMETERED).await?;
        Ok(content)
    }

    /// Stores bytes whose content is known.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub async fn store_bytes(
        &self,
        bytes: Bytes,
        content: &Content,
        reuse: Reuse,
        meter: Meter<'_>,
    ) -> Result<(), Fault> {
        let store = self.store().await?;
        if reuse == Reuse::Never || !self.exists(content).await? {
            let mut upload = self.upload(store.as_ref(), content).await?;
            let mut sent = 0;
            for piece in bytes.chunks(self.place.part()) {
                if let Err(error) = upload.wait_for_capacity(PARTS).await {
                    let _ = upload.abort().await;
                    return Err(fault(&error));
                }
                upload.write(piece);
                sent += piece.len() as u64;
                meter(sent);
            }
            upload.finish().await.map_err(|error| fault(&error))?;
        }
        meter(content.size);
        Ok(())
    }

    /// Stores a file; what is there already is not written again. The file is read twice: its name must be known
    /// before the first byte is written.
    ///
    /// # Errors
    /// When the file cannot be read or changes meanwhile, and when the place cannot be written.
    pub async fn put_file(&self, path: &Path) -> Result<Content, Fault> {
        let content = content_of(path).await?;
        self.store_file(path, &content, Reuse::Kept, UNMETERED).await?;
        Ok(content)
    }

    /// Stores a file whose content was read before ([`content_of`]).
    ///
    /// # Errors
    /// When the file cannot be read or has changed, and when the place cannot be written.
    pub async fn store_file(
        &self,
        path: &Path,
        content: &Content,
        reuse: Reuse,
        meter: Meter<'_>,
    ) -> Result<(), Fault> {
        let store = self.store().await?;
        if reuse == Reuse::Never || !self.exists(content).await? {
            let mut upload = self.upload(store.as_ref(), content).await?;
            if let Err(fault) = copy(path, content, &mut upload, meter).await {
                // What was written so far is nowhere to be found under the digest, aborted or not.
                let _ = upload.abort().await;
                return Err(fault);
            }
            upload.finish().await.map_err(|error| fault(&error))?;
        }
        meter(content.size);
        Ok(())
    }

    async fn upload(&self, store: &dyn ObjectStore, content: &Content) -> Result<WriteMultipart, Fault> {
        let upload = store.put_multipart(&key(&content.sha256)).await.map_err(|error| fault(&error))?;
        Ok(WriteMultipart::new_with_chunk_size(upload, self.place.part()))
    }

    /// Whether the content is there, with the right size.
    ///
    /// # Errors
    /// When the place does not answer.
    pub async fn exists(&self, content: &Content) -> Result<bool, Fault> {
        match self.store().await?.head(&key(&content.sha256)).await {
            Ok(meta) => Ok(meta.size == content.size),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(fault(&error)),
        }
    }

    /// Writes the content of a reference to a file: whole and checked, or not at all.
    ///
    /// # Errors
    /// [`Fault::Refused`] when the content does not match its digest or size; [`Fault::Blocked`] when the file cannot be
    /// written; [`Fault::Unreachable`] when the content is not there (yet).
    pub async fn fetch_to(&self, file: &FileRef, path: &Path) -> Result<(), Fault> {
        self.fetch_metered(file, path, UNMETERED).await
    }

    /// As [`Self::fetch_to`], and tells how much of it is there.
    ///
    /// # Errors
    /// As [`Self::fetch_to`].
    pub async fn fetch_metered(&self, file: &FileRef, path: &Path, meter: Meter<'_>) -> Result<(), Fault> {
        file.check().map_err(|why| Fault::refused(Service::Blobs, why))?;
        let part = self.part(path);
        let fetched = self.write(file, &part, meter).await;
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

    async fn write(&self, file: &FileRef, part: &Path, meter: Meter<'_>) -> Result<(), Fault> {
        let mut content = self.read(file).await?;
        let mut out = File::create_new(part).await.map_err(|error| unwritable(part, &error))?;
        let mut written = 0;
        while let Some(chunk) = content.try_next().await? {
            out.write_all(&chunk).await.map_err(|error| unwritable(part, &error))?;
            written += chunk.len() as u64;
            meter(written);
        }
        out.flush().await.map_err(|error| unwritable(part, &error))
    }

    /// The content of a reference, piece by piece. What does not match its digest or size ends with a refusal as the
    /// last item: do not rely on the pieces before the end has come without one.
    ///
    /// # Errors
    /// [`Fault::Refused`] for a reference that cannot be; [`Fault::Unreachable`] when the content is not there (yet).
    pub async fn read(&self, file: &FileRef) -> Result<BoxStream<'static, Result<Bytes, Fault>>, Fault> {
        file.check().map_err(|why| Fault::refused(Service::Blobs, why))?;
        let pieces = if let Some(text) = &file.inline {
            let bytes = BASE64.decode(text).map_err(|error| wrong(file, &format!("its base64 is broken ({error})")))?;
            futures_util::stream::iter([Ok(Bytes::from(bytes))]).boxed()
        } else {
            let found = self.store().await?.get_opts(&key(&file.sha256), object_store::GetOptions::default()).await;
            let found = found.map_err(|error| fault(&error))?;
            found.into_stream().map_err(|error| fault(&error)).boxed()
        };
        Ok(checked(file.clone(), pieces))
    }

    /// Every blob at the place, in no order.
    ///
    /// # Errors
    /// When the place does not answer; the stream as well.
    pub async fn list(&self) -> Result<BoxStream<'static, Result<Stored, Fault>>, Fault> {
        let found = self.store().await?.list(Some(&Key::from(BLOBS)));
        let stored = found.map_err(|error| fault(&error)).try_filter_map(|meta| async move {
            let sha256 = meta.location.filename().unwrap_or_default().to_owned();
            let written = u64::try_from(meta.last_modified.timestamp_millis()).unwrap_or(0);
            let is_blob = sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit());
            Ok(is_blob.then_some(Stored { sha256, size: meta.size, written }))
        });
        Ok(stored.boxed())
    }

    /// Deletes a blob; one that is not there is deleted already.
    ///
    /// # Errors
    /// When the place does not do it.
    pub async fn delete(&self, sha256: &str) -> Result<(), Fault> {
        match self.store().await?.delete(&key(sha256)).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(fault(&error)),
        }
    }

    /// Deletes what uploads into a directory left that were broken off before `before` (ms since 1970). A cloud store
    /// forgets them by a rule of its own.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub async fn delete_unfinished(&self, before: u64) -> Result<u64, Fault> {
        let Some(root) = self.place.path() else { return Ok(0) };
        let away = |error: std::io::Error| Fault::unreachable(Service::Blobs, format!("{}: {error}", root.display()));
        let mut deleted = 0;
        let mut dirs = tokio::fs::read_dir(root.join(BLOBS)).await.map_err(away)?;
        while let Some(dir) = dirs.next_entry().await.map_err(away)? {
            let Ok(mut files) = tokio::fs::read_dir(dir.path()).await else { continue };
            while let Some(file) = files.next_entry().await.map_err(away)? {
                let is_part = file.file_name().to_string_lossy().contains('#');
                let Some(meta) = (if is_part { file.metadata().await.ok() } else { None }) else { continue };
                let age = meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
                if age.is_some_and(|at| longshore_model::span::ms(at) < before)
                    && tokio::fs::remove_file(file.path()).await.is_ok()
                {
                    deleted += 1;
                }
            }
        }
        Ok(deleted)
    }

    /// A name beside the file that nobody else uses.
    fn part(&self, path: &Path) -> PathBuf {
        path.with_file_name(format!(".{:016x}.part", self.random.next()))
    }

    async fn store(&self) -> Result<Arc<dyn ObjectStore>, Fault> {
        if let Some(why) = self.away.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(Fault::unreachable(Service::Blobs, why));
        }
        self.place.store().await
    }
}

/// What a file holds: it is read to its end.
///
/// # Errors
/// [`Fault::Refused`] when it cannot be read.
pub async fn content_of(path: &Path) -> Result<Content, Fault> {
    let mut pieces = Pieces::open(path).await?;
    while pieces.next().await?.is_some() {}
    Ok(pieces.sum.content())
}

fn key(sha256: &str) -> Key {
    Key::from_iter([BLOBS, sha256.get(..2).unwrap_or("__"), sha256])
}

fn id_key() -> Key {
    Key::from(STORE_ID)
}

/// Sends a file that must still hold what was found in it.
async fn copy(path: &Path, content: &Content, upload: &mut WriteMultipart, meter: Meter<'_>) -> Result<(), Fault> {
    let mut pieces = Pieces::open(path).await?;
    let mut sent = 0;
    while let Some(piece) = pieces.next().await? {
        upload.wait_for_capacity(PARTS).await.map_err(|error| fault(&error))?;
        upload.write(piece);
        sent += piece.len() as u64;
        meter(sent);
    }
    if pieces.sum.content() == *content { Ok(()) } else { Err(unreadable(path, "it changes while it is sent")) }
}

/// Pieces that have to be what their reference says.
fn checked(
    file: FileRef,
    pieces: BoxStream<'static, Result<Bytes, Fault>>,
) -> BoxStream<'static, Result<Bytes, Fault>> {
    let state = (file, pieces, Sum::default());
    futures_util::stream::try_unfold(state, |(file, mut pieces, mut sum)| async move {
        if let Some(piece) = pieces.try_next().await? {
            sum.add(&piece);
            if sum.size > file.size {
                return Err(wrong(&file, "there is more of it than its size says"));
            }
            return Ok(Some((piece, (file, pieces, sum))));
        }
        let content = sum.content();
        if content.size != file.size {
            return Err(wrong(&file, &format!("{} bytes were found", content.size)));
        }
        if content.sha256 != file.sha256 {
            return Err(wrong(&file, "its bytes do not match its digest"));
        }
        Ok(None)
    })
    .boxed()
}

fn wrong(file: &FileRef, why: &str) -> Fault {
    Fault::refused(Service::Blobs, format!("file `{}` ({} bytes, {}): {why}", file.name, file.size, file.sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_handles_of_one_directory_see_one_id_and_another_directory_has_another() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let world = World::system();
        let open = async |path: &Path| Blobs::directory(path, &world).id().await.unwrap();
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
        let blobs = Blobs::directory(place.path(), &World::system());
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
