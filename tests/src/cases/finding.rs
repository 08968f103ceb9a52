//! Finding jobs by what their payload says.

use longshore_producer::{Find, JobId};
use std::collections::BTreeSet;

use super::Fleet;

/// Numbers, texts and nested fields; all conditions of a template, any of several templates; pages.
pub async fn j10_templates_compare_payloads(fleet: &Fleet) {
    let producer = fleet.producer();
    let payload = |n: usize| format!("{{\"size\":{n},\"kind\":{{\"even\":{}}}}}", n.is_multiple_of(2));
    let jobs = (0..300).map(|n| producer.raw("test/sized", &payload(n)));
    let sent: Vec<JobId> = producer.send_all(jobs).await.into_iter().map(|sent| sent.unwrap().id).collect();
    producer.raw("test/other", "{\"size\":7}").send().await.unwrap();
    let sized = || producer.jobs().topic("test/sized");
    // Those that were accepted in the same millisecond come in any order.
    let ids = async |find: Find| find.ids().await.unwrap().into_iter().collect::<BTreeSet<_>>();
    let these = |places: &[usize]| places.iter().map(|place| sent[*place]).collect::<BTreeSet<_>>();

    assert_eq!(ids(sized().matching(["size=7"])).await, these(&[7]));
    assert_eq!(ids(producer.jobs().matching(["size=7"]).limit(0)).await.len(), 2, "of any topic");
    assert_eq!(ids(sized().matching(["size<4", "kind.even=true"])).await, these(&[0, 2]), "all have to hold");
    let either = sized().matching(["size<=1"]).matching(["size>298"]);
    assert_eq!(ids(either).await, these(&[0, 1, 299]), "one template is enough");
    assert_eq!(ids(sized().matching(["size>=300"])).await, these(&[]));
    let first = sized().matching(["size>=299"]).first().await.unwrap().unwrap();
    assert_eq!(first.id, sent[299]);

    // Pages go on right after the last job that was found, and none comes twice.
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut page = sized().matching(["kind.even=true"]).limit(40);
        if let Some(cursor) = cursor.take() {
            page = page.from_cursor(cursor);
        }
        let page = page.list().await.unwrap();
        assert!(page.jobs.len() <= 40 && !page.partial);
        found.extend(page.jobs.into_iter().map(|job| job.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    let even: Vec<usize> = (0..300).step_by(2).collect();
    assert_eq!((found.len(), found.into_iter().collect()), (even.len(), these(&even)));

    let wrong = sized().matching(["size"]).list().await.unwrap_err().to_string();
    assert!(wrong.contains("PATH=VALUE"), "{wrong}");
}
