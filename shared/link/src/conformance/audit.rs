//! The audit record: newest first, bounded, and one entry for what one session does in succession.

use super::bench::Bench;
use longshore_model::audit::Deed;
use longshore_model::limits;

fn deed(run: &str, action: &str, of: &str, counts: &[(&str, u64)]) -> Deed {
    Deed {
        who: "me@here".into(),
        run: run.into(),
        action: action.into(),
        of: of.into(),
        plan: format!("longshore {action}"),
        counts: counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
    }
}

pub async fn n04_deeds_are_kept_newest_first_with_who_when_plan_and_counts(bench: &Bench) {
    assert_eq!(bench.a.store.audited(10).await.unwrap(), []);
    let before = bench.a.store.ping().await.unwrap();
    let (first, second) = (deed("1", "pause", "queue \"a\"", &[]), deed("2", "job remove", "", &[("removed", 3)]));
    bench.a.store.audit(&first).await.unwrap();
    bench.b.store.audit(&second).await.unwrap();
    let found = bench.b.store.audited(10).await.unwrap();
    assert_eq!(found.iter().map(|entry| entry.deed.clone()).collect::<Vec<_>>(), [second.clone(), first]);
    let after = bench.a.store.ping().await.unwrap();
    assert!(found.iter().all(|entry| (before..=after).contains(&entry.at) && entry.at == entry.until), "{found:?}");
    assert_eq!(bench.a.store.audited(1).await.unwrap()[0].deed, second);
    assert_eq!(bench.a.store.audited(0).await.unwrap(), []);
}

pub async fn n04_what_one_session_does_in_succession_is_one_entry(bench: &Bench) {
    for (removed, missing) in [(200, 0), (200, 1), (17, 2)] {
        bench.a.store.audit(&deed("1", "job remove", "", &[("missing", missing), ("removed", removed)])).await.unwrap();
        bench.sleep(3).await;
    }
    bench.a.store.audit(&deed("2", "job remove", "", &[("removed", 1)])).await.unwrap();
    bench.a.store.audit(&deed("2", "pause", "a", &[])).await.unwrap();
    bench.a.store.audit(&deed("2", "pause", "a", &[])).await.unwrap();
    bench.a.store.audit(&deed("2", "pause", "b", &[])).await.unwrap();
    let found = bench.a.store.audited(10).await.unwrap();
    let deeds: Vec<_> = found.iter().map(|entry| entry.deed.clone()).collect();
    let expected = [
        deed("2", "pause", "b", &[]),
        deed("2", "pause", "a", &[]),
        deed("2", "job remove", "", &[("removed", 1)]),
        deed("1", "job remove", "", &[("missing", 3), ("removed", 417)]),
    ];
    assert_eq!(deeds, expected);
    assert!(found[3].until > found[3].at, "{found:?}");
}

pub async fn n04_only_the_last_deeds_are_kept(bench: &Bench) {
    for n in 0..limits::AUDIT + 2 {
        bench.a.store.audit(&deed(&n.to_string(), "pause", "a", &[])).await.unwrap();
    }
    let found = bench.a.store.audited(limits::AUDIT * 2).await.unwrap();
    assert_eq!((found.len(), found[0].deed.run.as_str()), (limits::AUDIT, (limits::AUDIT + 1).to_string().as_str()));
}
