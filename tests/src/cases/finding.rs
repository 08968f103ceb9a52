//! Finding jobs by what their payload says.

use longshore_producer::{Find, Job, JobId, TopicPattern};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use super::Fleet;

#[derive(Serialize, Deserialize, Job)]
#[job(topic = "test/thumbnail", index = ["asset.name", "width"])]
struct Thumbnail {
    asset: Asset,
    width: u32,
}

#[derive(Serialize, Deserialize)]
struct Asset {
    name: String,
}

/// What the kind, the queue and the sender declare as indexed answers templates whatever the number of other jobs, and
/// completely; where not all jobs have the field indexed, payloads are looked at.
pub async fn j10_indexed_fields_answer_templates(fleet: &Fleet) {
    let producer = fleet.producer();
    let queue = "[[queues]]\nname = \"sized\"\ntopics = [\"test/sized\"]\nindex = [\"size\"]\n";
    producer.apply_queues("a file", queue, "ann", false).await.unwrap();
    let ids = async |find: Find| find.ids().await.unwrap().into_iter().collect::<BTreeSet<_>>();
    let indexed = async |topic: &str, path: &str| {
        let pattern = TopicPattern::new(topic).unwrap();
        producer.link().store.indexed(Some(&pattern), &[path.to_owned()]).await.unwrap() == [true]
    };

    let thumbnail = |n: u32| Thumbnail { asset: Asset { name: format!("cat-{:02}", n % 50) }, width: n };
    let jobs = (0..300).map(|n| producer.job(thumbnail(n)));
    let sent: Vec<JobId> = producer.send_all(jobs).await.into_iter().map(|sent| sent.unwrap().id).collect();
    let these = |places: &[usize]| places.iter().map(|place| sent[*place]).collect::<BTreeSet<_>>();
    assert!(indexed("test/thumbnail", "width").await && indexed("test/thumbnail", "asset.name").await);
    let all = || producer.jobs().topic("test/thumbnail").limit(0);
    assert_eq!(ids(all().matching(["width<3"])).await, these(&[0, 1, 2]));
    assert_eq!(ids(all().matching(["width<=3", "width>=2"])).await, these(&[2, 3]));
    assert_eq!(ids(all().matching(["asset.name=cat-07"])).await, these(&[7, 57, 107, 157, 207, 257]));
    assert_eq!(ids(all().matching(["asset.name>=cat-49", "width>200"])).await, these(&[249, 299]));
    assert_eq!(ids(all().matching(["width=5"]).matching(["asset.name=cat-48", "width<99"])).await, these(&[5, 48, 98]));
    assert_eq!(ids(all().matching(["width>=298", "asset.other=1"])).await, these(&[]), "the rest is looked at");

    // Pages of an index go on like others.
    let first = all().limit(100).matching(["width>=100"]).list().await.unwrap();
    let second = all().limit(200).matching(["width>=100"]).from_cursor(first.next.unwrap()).list().await.unwrap();
    assert_eq!((first.jobs.len(), second.jobs.len(), second.next, first.partial), (100, 100, None, false));
    let found = first.jobs.iter().chain(&second.jobs).map(|job| job.id).collect::<BTreeSet<_>>();
    assert_eq!(found, sent[100..].iter().copied().collect());

    // By the queue; and by the sender of each job.
    let by_queue = producer.raw("test/sized", "{\"size\":1}").send().await.unwrap().id;
    assert!(indexed("test/sized", "size").await);
    assert_eq!(ids(producer.jobs().topic("test/sized").matching(["size>0"])).await, BTreeSet::from([by_queue]));
    let by_sender = producer.raw("test/other", "{\"size\":1}").index("size").send().await.unwrap().id;
    assert!(indexed("test/other", "size").await);
    let without = producer.raw("test/other", "{\"size\":1}").send().await.unwrap().id;
    assert!(!indexed("test/other", "size").await);
    let other = producer.jobs().topic("test/other").matching(["size=1"]);
    assert_eq!(ids(other).await, BTreeSet::from([by_sender, without]), "a job without the index is not left out");

    let job = || producer.raw("test/other", "{}");
    let too_many = (0..9).fold(job(), |job, n| job.index(format!("field{n}"))).send().await.unwrap_err().to_string();
    assert!(too_many.contains("9 fields are more than 8"), "{too_many}");
    let bad = job().index("a b").send().await.unwrap_err().to_string();
    assert!(bad.contains("FIELD.FIELD"), "{bad}");
}

/// What the seeds find with templates: a missing field fits nothing, all of a template has to hold, and a limit of 0 is none.
pub async fn j10_se_01_se_05_jobs_without_a_consumer_are_found_by_templates(fleet: &Fleet) {
    let producer = fleet.producer();
    let payloads = ["{}", r#"{"filter":"a"}"#, r#"{"filter":"a","property":"b"}"#, r#"{"filter":"c"}"#];
    let mut sent = Vec::new();
    for payload in payloads {
        sent.push(producer.raw("test/found", payload).index("filter").index("property").send().await.unwrap().id);
    }
    let all = || producer.jobs().topic("test/found");
    let ids = async |find: Find| find.ids().await.unwrap().into_iter().collect::<BTreeSet<_>>();
    let these = |places: &[usize]| places.iter().map(|place| sent[*place]).collect::<BTreeSet<_>>();
    assert_eq!(ids(all()).await.len(), 4);
    assert_eq!(ids(all().matching(["filter=a"])).await, these(&[1, 2]));
    assert_eq!(ids(all().matching(["property<=b"])).await, these(&[2]), "what is missing fits nothing");
    assert_eq!(ids(all().matching(["filter=a", "property=b"])).await, these(&[2]));
    assert_eq!((ids(all().limit(2)).await.len(), ids(all().limit(0)).await.len()), (2, 4));
}

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
