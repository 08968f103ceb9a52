//! Scrubbing (T21). Every other case ends with a round of it, which must find nothing.

use super::bench::{Bench, LONG};
use longshore_model::gate::{GateName, Gates};
use longshore_model::record::Start;
use longshore_model::unique::{Unique, UniqueMode};

pub async fn t21_a_sound_store_is_left_alone_whatever_is_in_it(bench: &Bench) {
    for mode in UniqueMode::ALL {
        let mut job = bench.job();
        let ms = if matches!(mode, UniqueMode::Period | UniqueMode::Debounce) { LONG } else { 0 };
        job.admission.unique = Some(Unique { key: mode.to_string(), mode, ms });
        job.labels.insert("mode".into(), mode.to_string());
        job.fields = longshore_model::indexed::read(r#"{"n":1,"t":"x"}"#, &["n".into(), "t".into(), "none".into()]);
        let id = bench.accept(job).await;
        if mode != UniqueMode::Debounce {
            bench.run(id).await;
        }
    }
    let mut delayed = bench.job();
    delayed.admission.start = Start::After(LONG);
    bench.accept(delayed).await;
    let ordered = || {
        let mut job = bench.job();
        job.admission.gates = Gates { order: Some(GateName::order("main", "k")), ..Gates::default() };
        job
    };
    let (first, second) = (bench.accept(ordered()).await, bench.accept(ordered()).await);
    bench.accept(ordered()).await;
    bench.stop(first).await;
    bench.run(second).await;
    let before = bench.a.store.scrubbing().await.unwrap();
    bench.sound().await;
    let after = bench.b.store.scrubbing().await.unwrap();
    assert_eq!((after.rounds, after.mended), (before.rounds + 1, before.mended));
    assert!(after.last_round.is_some() && after.last_mended.is_none());
}
