//! One place for all: whether this process sees the place of payload files that the fleet agreed on.
//!
//! A place carries an id, and the store keeps the id of the place that was used first. A directory that was not
//! mounted, or another bucket, is noticed by that before anything is written to it or missed in it: files wait, with
//! the reason, until the right place is there.

use super::Blobs;
use crate::connect::Link;
use crate::error::{Fault, Service};
use crate::store::FilePlace;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How long it is known which place was agreed on; what is at the place is looked at each time.
const KNOWN: Duration = Duration::from_secs(30);

/// The id of the agreed place, and when that was read.
#[derive(Debug, Default)]
pub(super) struct Agreed(Mutex<Option<(String, Duration)>>);

impl Agreed {
    fn get(&self, now: Duration) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(_, at)| now.saturating_sub(*at) < KNOWN).map(|(id, _)| id.clone())
    }

    fn set(&self, id: String, now: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((id, now));
    }
}

impl Link {
    /// Makes sure that the place of payload files is there and is the one that the fleet agreed on; the first who looks
    /// decides which one that is. While the store does not answer, nothing is known against the place.
    ///
    /// # Errors
    /// [`Fault::Refused`] without a place; else [`Fault::Blocked`] or [`Fault::Unreachable`], which pass: `blob store
    /// not shared` for another place, or for one that has lost its id.
    pub async fn check_files(&self) -> Result<(), Fault> {
        let (blobs, now) = (&self.blobs, self.world.clock.boot());
        let here = blobs.read_id().await?;
        let agreed = match blobs.agreed.get(now) {
            Some(id) => id,
            None => match self.agree(here.clone()).await {
                Ok(place) => {
                    blobs.agreed.set(place.id.clone(), now);
                    place.id
                }
                Err(fault) if fault.is_passing() && here.is_some() => {
                    tracing::debug!(%fault, "which place of payload files was agreed on is not known");
                    return Ok(());
                }
                Err(fault) => return Err(fault),
            },
        };
        // It may have been given its id just now.
        let here = match here {
            Some(id) => Some(id),
            None => blobs.read_id().await?,
        };
        match here {
            Some(id) if id == agreed => Ok(()),
            Some(id) => Err(not_shared(&format!("this process sees place {id}, the fleet uses {agreed}"))),
            None => Err(not_shared(&format!("this place has no id, the fleet uses {agreed}: is it mounted?"))),
        }
    }

    /// The agreed place, now.
    async fn agree(&self, here: Option<String>) -> Result<FilePlace, Fault> {
        if let Some(place) = self.store.file_place(None, false).await? {
            return Ok(place);
        }
        let id = match here {
            Some(id) => id,
            None => self.blobs.id().await?,
        };
        let place = self.store.file_place(Some(&id), false).await?;
        place.ok_or_else(|| Fault::unknown(Service::Store, "it does not say which place of files it knows"))
    }

    /// Makes the place that this process sees the one that the fleet uses, whatever it used before: after files were
    /// moved without the place's id. Other processes follow within half a minute.
    ///
    /// # Errors
    /// When the place or the store does not answer.
    pub async fn adopt_files(&self) -> Result<FilePlace, Fault> {
        let id = self.blobs.id().await?;
        let place = self.store.file_place(Some(&id), true).await?;
        self.blobs.agreed.set(id, self.world.clock.boot());
        place.ok_or_else(|| Fault::unknown(Service::Store, "it does not say which place of files it knows"))
    }
}

fn not_shared(why: &str) -> Fault {
    let advice = "mount the same directory everywhere, or name the same bucket; `longshore files adopt` after a move";
    Fault::blocked(Service::Blobs, format!("blob store not shared: {why} ({advice})"))
}

impl Blobs {
    /// The id of the place; `None`: it has none yet, or is not the place that it should be.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub async fn read_id(&self) -> Result<Option<String>, Fault> {
        let store = self.store().await?;
        let read = async { store.get_opts(&super::id_key(), object_store::GetOptions::default()).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|id| !id.is_empty())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(super::place::fault(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::Embedded;
    use crate::world::World;

    #[tokio::test]
    async fn another_directory_and_one_that_was_not_mounted_are_waited_for() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let world = World::system();
        let backend = Embedded::new(&world);
        let link = |dir: &std::path::Path| {
            let blobs = Blobs::directory(dir, &world);
            Link { blobs, ..backend.link(world.clone()) }
        };
        link(one.path()).check_files().await.unwrap();
        link(one.path()).check_files().await.unwrap();
        let mounted_late = link(two.path());
        let fault = mounted_late.check_files().await.unwrap_err();
        assert!(fault.is_passing() && fault.to_string().contains("blob store not shared"), "{fault}");
        assert_eq!(std::fs::read_dir(two.path()).unwrap().count(), 0, "nothing is written to a place of nobody");
        std::fs::copy(one.path().join("store-id"), two.path().join("store-id")).unwrap();
        mounted_late.check_files().await.unwrap();
        // Whatever was there is gone: that shows at once, though which place was agreed on was read a moment ago.
        std::fs::remove_file(two.path().join("store-id")).unwrap();
        assert!(mounted_late.check_files().await.unwrap_err().to_string().contains("is it mounted"));
        let place = mounted_late.adopt_files().await.unwrap();
        mounted_late.check_files().await.unwrap();
        let agreed = backend.link(world.clone()).store.file_place(None, false).await.unwrap().unwrap();
        assert_eq!((agreed.id, agreed.since), (place.id, place.since));
    }

    #[tokio::test]
    async fn a_store_that_is_away_says_nothing_against_the_place() {
        let (dir, world) = (tempfile::tempdir().unwrap(), World::system());
        let backend = Embedded::new(&world);
        let link = Link { blobs: Blobs::directory(dir.path(), &world), ..backend.link(world.clone()) };
        backend.set_store_away(Some("gone"));
        assert!(link.check_files().await.is_err(), "a place without an id is not used");
        link.blobs.id().await.unwrap();
        link.check_files().await.unwrap();
    }
}
