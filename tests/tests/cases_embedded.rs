//! Every case on the embedded backend, in virtual time.

use async_trait::async_trait;
use bytes::Bytes;
use longshore_consumer::Settings;
use longshore_link::broker::Letters;
use longshore_link::embedded::Embedded;
use longshore_link::{Link, World};
use longshore_model::lane::Lane;
use longshore_tests::cases::fixture::{Backend, Fleet, Pace};
use longshore_tests::cases::*;

#[derive(Debug)]
struct InThisProcess(Embedded);

#[async_trait]
impl Backend for InThisProcess {
    async fn link(&self, _: &Settings, world: World) -> Link {
        self.0.link(world)
    }

    async fn quarantined(&self) -> Vec<(Bytes, String)> {
        let letters = self.0.letters(Letters::Quarantine).into_iter();
        letters.map(|letter| (letter.body, letter.headers.reason.unwrap_or_default())).collect()
    }

    async fn evict(&self, lane: &Lane) {
        self.0.evict_lane(lane);
    }
}

async fn fleet() -> Fleet {
    let world = World::simulated(1);
    let backend = InThisProcess(Embedded::new(&world));
    Fleet::new(backend, Settings::default(), world, Pace::Virtual).await
}

macro_rules! on_embedded {
    ($($group:ident::$case:ident;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $case() {
            let fleet = fleet().await;
            Box::pin($group::$case(&fleet)).await;
            fleet.balanced().await;
        }
    )*};
}

longshore_tests::for_each_case!(on_embedded);
longshore_tests::for_each_case_of_virtual_time!(on_embedded);
