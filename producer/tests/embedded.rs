//! The producer's cases on the embedded backend.

mod cases;

use longshore_producer::{Producer, Settings};

macro_rules! on_embedded {
    ($($group:ident::$case:ident;)*) => {$(
        #[tokio::test]
        async fn $case() {
            let settings = Settings::embedded(stringify!($case));
            cases::$group::$case(Producer::connect(&settings).await.unwrap()).await;
        }
    )*};
}

for_each_case!(on_embedded);
