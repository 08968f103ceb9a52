//! Placement: jobs run near their sender, on the leader, where a label is, on one instance; and elsewhere where that
//! is only preferred and nobody there can.

use std::time::Duration;

use longshore_consumer::{Cancelled, Consumer, Ctx, FollowUp, Running, Settings};
use longshore_link::broker::{Headers, Letters, Message, Target};
use longshore_model::envelope::Envelope;
use longshore_model::lane::Lane;
use longshore_model::placement::Origin;
use longshore_producer::{JobId, Placement, Producer, ProducerOptions, Rule, Sent, State, Topic, TopicPattern};
use serde_json::value::RawValue;

use super::{Fleet, Runs};

const TOPIC: &str = "test/placed";
const CHILD: &str = "test/child";

fn topic() -> Topic {
    TOPIC.parse().unwrap()
}

fn at(site: &str) -> Lane {
    Lane { site: Some(site.parse().unwrap()), ..topic().into() }
}

/// A copy of a job of the topic that never was in the store.
fn message(id: JobId, target: Target) -> Message {
    let envelope = Envelope::new(id, topic(), RawValue::from_string("{}".into()).unwrap());
    Message { target, message_id: id.to_string(), headers: Headers::default(), body: envelope.encode().unwrap().into() }
}

/// A queue for the topic that says where its jobs run.
async fn queue(fleet: &Fleet, more: &str) {
    let text = format!("[[queues]]\nname = \"placed\"\ntopics = [\"test/*\"]\n{more}\n");
    let change = fleet.producer().apply_queues("a file", &text, "ann", false).await.unwrap();
    assert!(change.applied, "{change:?}");
}

/// A producer in the process of an instance, or of an application in a cluster.
async fn producer(fleet: &Fleet, origin: Origin) -> Producer {
    Producer::connect_with(fleet.link().await, ProducerOptions { origin, ..ProducerOptions::default() })
}

fn in_cluster(cluster: &str) -> Origin {
    Origin { cluster: Some(cluster.into()), instance: None }
}

async fn in_web(fleet: &Fleet, cluster: &str) -> Consumer {
    fleet.consumer_with(|settings| settings.instance.cluster = Some(cluster.into())).await
}

async fn start(fleet: &Fleet, consumer: Consumer, runs: &Runs, by: &'static str) -> Running {
    fleet.start(consumer.on(TOPIC, runs.then_by(by, |_| async {}))).await
}

async fn send(fleet: &Fleet, producer: &Producer, count: usize, placement: Option<&str>) -> Vec<JobId> {
    let job = || {
        let job = producer.raw(TOPIC, "{}");
        match placement {
            Some(placement) => job.placement(placement.parse().unwrap()),
            None => job,
        }
    };
    let sent = producer.send_all((0..count).map(|_| job())).await;
    let ids: Vec<JobId> = sent.into_iter().map(|sent| sent.unwrap().id).collect();
    for id in &ids {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    ids
}

/// Who ran these jobs, each once.
fn by(runs: &Runs, ids: &[JobId]) -> Vec<&'static str> {
    let mut by: Vec<_> = ids
        .iter()
        .map(|id| {
            let of = runs.of(*id);
            assert_eq!(of.len(), 1, "{of:?}");
            of[0].by
        })
        .collect();
    by.sort_unstable();
    by.dedup();
    by
}

async fn consumes(fleet: &Fleet, running: &Running, lane: &Lane, does: bool) {
    let what = if does { format!("it consumes {lane}") } else { format!("it does not consume {lane}") };
    fleet.eventually(&what, async || (running.status().consuming.contains(lane) == does).then_some(())).await;
}

async fn set(fleet: &Fleet, running: &Running, rule: Rule) {
    let (id, pattern) = (&running.owner().instance, TopicPattern::new(TOPIC).unwrap());
    fleet.producer().set_topic(id, &pattern, rule, "case").await.unwrap();
}

/// From the first job on, and by the sender's cluster whoever sends; in another one only while nobody there takes the
/// topic.
pub async fn p03_jobs_run_in_the_senders_cluster_and_elsewhere_while_nobody_there_takes_them(fleet: &Fleet) {
    queue(fleet, "placement = \"local_first\"").await;
    let runs = Runs::default();
    let near = start(fleet, in_web(fleet, "web").await, &runs, "near").await;
    let far = start(fleet, in_web(fleet, "other").await, &runs, "far").await;
    let web = producer(fleet, in_cluster("web")).await;
    let ids = send(fleet, &web, 20, None).await;
    assert_eq!(by(&runs, &ids), ["near"]);
    assert_eq!(fleet.show(ids[0]).await.site.unwrap().to_string(), "cluster:web");
    let ids = send(fleet, &producer(fleet, in_cluster("other")).await, 5, None).await;
    assert_eq!(by(&runs, &ids), ["far"]);
    // What a job says itself is stronger than its queue.
    let ids = send(fleet, &web, 1, Some("any")).await;
    assert_eq!(fleet.show(ids[0]).await.site, None);
    let elsewhere = producer(fleet, in_cluster("elsewhere")).await;
    let ids = send(fleet, &elsewhere, 3, None).await;
    assert_eq!(ids.len(), 3, "nobody is of that cluster, so that anybody runs them");
    set(fleet, &near, Rule::Disabled).await;
    consumes(fleet, &near, &at("cluster:web"), false).await;
    let ids = send(fleet, &web, 5, None).await;
    assert_eq!(by(&runs, &ids), ["far"]);
    set(fleet, &near, Rule::Enabled).await;
    consumes(fleet, &near, &at("cluster:web"), true).await;
    consumes(fleet, &far, &at("cluster:web"), false).await;
    let ids = send(fleet, &web, 20, None).await;
    assert_eq!(by(&runs, &ids), ["near"]);
    near.drain().await;
    let ids = send(fleet, &web, 5, None).await;
    assert_eq!(by(&runs, &ids), ["far"]);
    far.drain().await;
}

/// Follow-up jobs, and those of a producer in the same process; a sender that is no instance prefers none.
pub async fn q12_jobs_run_on_the_instance_that_sent_them(fleet: &Fleet) {
    let runs = Runs::default();
    let child = |by: &'static str| runs.then_by(by, |_| async {});
    let parent = |ctx: Ctx| async move {
        for _ in 0..10 {
            let child = FollowUp::raw(CHILD.parse().unwrap(), "{}".into()).unwrap();
            ctx.enqueue_with(child.placement(Placement::PreferCreator)).unwrap();
        }
    };
    let first = fleet.start(fleet.consumer().await.on(CHILD, child("first")).on(TOPIC, parent)).await;
    let second = fleet.start(fleet.consumer().await.on(CHILD, child("second"))).await;
    assert!(fleet.end(&fleet.send_to(TOPIC).await).await.is_success());
    let seen = runs.reach(10).await;
    assert!(seen.iter().all(|run| run.by == "first"), "{seen:?}");
    let own = producer(fleet, second.origin()).await;
    let job = |producer: &Producer| producer.raw(CHILD, "{}").placement(Placement::PreferCreator);
    for _ in 0..5 {
        let sent = fleet.send(job(&own)).await;
        assert!(fleet.end(&sent).await.is_success());
        assert_eq!(by(&runs, &[sent.id]), ["second"]);
    }
    let sent = fleet.send(job(fleet.producer())).await;
    assert_eq!(fleet.end(&sent).await.job.site, None);
    second.drain().await;
    let sent = fleet.send(job(&own)).await;
    assert!(fleet.end(&sent).await.is_success());
    assert_eq!(by(&runs, &[sent.id]), ["first"], "the sender's instance is gone");
    first.drain().await;
}

/// Never on another one; when the leader leaves, its successor goes on.
pub async fn p06_only_the_leader_runs_and_its_successor_goes_on(fleet: &Fleet) {
    queue(fleet, "placement = \"leader\"").await;
    let runs = Runs::default();
    let first = start(fleet, fleet.consumer().await, &runs, "first").await;
    let second = start(fleet, fleet.consumer().await, &runs, "second").await;
    fleet.eventually("the first one leads", async || first.status().coordinator.then_some(())).await;
    let ids = send(fleet, fleet.producer(), 20, None).await;
    assert_eq!(by(&runs, &ids), ["first"]);
    assert!(!second.status().consuming.contains(&at("leader")));
    // One that leads and does not take the topic keeps it from all others.
    set(fleet, &first, Rule::Disabled).await;
    consumes(fleet, &first, &at("leader"), false).await;
    let waits = fleet.send_to(TOPIC).await;
    let why = fleet
        .eventually("it says that the leader does not take it", async || {
            let waiting = fleet.show(waits.id).await.waiting?;
            (waiting.reason == "placement").then_some(waiting.detail)
        })
        .await;
    assert!(why.contains("which does not take test/placed; let it take the topic"), "{why}");
    first.drain().await;
    assert!(fleet.end(&waits).await.is_success());
    let mut ids = send(fleet, fleet.producer(), 5, None).await;
    ids.push(waits.id);
    assert_eq!(by(&runs, &ids), ["second"]);
    second.drain().await;
}

/// Without one it waits and says for whom; a preference for a label waits for nobody.
pub async fn p03_a_job_that_needs_a_label_waits_and_says_so_until_one_with_it_joins(fleet: &Fleet) {
    let runs = Runs::default();
    let plain = start(fleet, fleet.consumer().await, &runs, "plain").await;
    let job = |placement: &str| fleet.producer().raw(TOPIC, "{}").placement(placement.parse().unwrap());
    let needs: Vec<Sent> = vec![fleet.send(job("label:gpu=yes")).await, fleet.send(job("label:gpu")).await];
    let prefers = fleet.send(job("prefer_label:gpu=yes")).await;
    assert!(fleet.end(&prefers).await.is_success(), "nobody has it, so that anybody runs it");
    let waiting = fleet.waiting(needs[0].id).await;
    assert_eq!(waiting.reason, "placement");
    let says = "only instances with the label gpu=yes run it, and none is live";
    assert!(waiting.detail.contains(says), "{}", waiting.detail);
    let gap = async || {
        let table = fleet.producer().topic_table().await.unwrap();
        table.into_iter().find(|line| line.topic == topic()).unwrap().gap
    };
    assert_eq!(gap().await.unwrap(), "1 job waits for instances with the label gpu, which take no test/placed");
    let gpu = fleet.consumer_with(|settings| drop(settings.instance.labels.insert("gpu".into(), "yes".into()))).await;
    let gpu = start(fleet, gpu, &runs, "gpu").await;
    let ids: Vec<JobId> = needs.iter().map(|sent| sent.id).collect();
    for sent in &needs {
        assert!(fleet.end(sent).await.is_success());
    }
    assert_eq!((by(&runs, &ids), by(&runs, &[prefers.id])), (vec!["gpu"], vec!["plain"]));
    assert_eq!(gap().await, None);
    consumes(fleet, &plain, &at("prefer_label:gpu=yes"), false).await;
    let ids = send(fleet, fleet.producer(), 10, Some("prefer_label:gpu=yes")).await;
    assert_eq!(by(&runs, &ids), ["gpu"]);
    gpu.drain().await;
    plain.drain().await;
}

/// One instance is meant, by its id. When it leaves, what waited for it runs elsewhere.
pub async fn p08_jobs_whose_target_leaves_run_elsewhere(fleet: &Fleet) {
    let runs = Runs::default();
    let change = |settings: &mut Settings| {
        (settings.instance.concurrency, settings.instance.grace) = (1, Duration::from_millis(200));
    };
    let consumer = fleet.consumer_with(change).await;
    let busy = runs.then_by("target", |ctx| async move { Err::<(), Cancelled>(ctx.until_cancelled().await) });
    let target = fleet.start(consumer.on(TOPIC, busy)).await;
    let other = start(fleet, fleet.consumer().await, &runs, "other").await;
    let to = format!("target:{}", target.owner().instance);
    let job = || fleet.producer().raw(TOPIC, "{}").placement(to.parse().unwrap());
    let mut sent = Vec::new();
    for _ in 0..5 {
        sent.push(fleet.send(job()).await);
    }
    runs.reach(1).await;
    fleet.quiet(Duration::from_secs(60)).await;
    assert_eq!(runs.count(), 1, "the others wait for the target, though somebody idles");
    let waiting = fleet.waiting(sent[4].id).await;
    let says = format!("it is to run on the instance {}", target.owner().instance);
    assert!(waiting.detail.contains(&says), "{}", waiting.detail);
    fleet.producer().stop([sent[0].id], "case").await.unwrap();
    runs.reach(2).await;
    target.drain().await;
    for sent in &sent[1..] {
        let job = fleet.end(sent).await.job;
        assert_eq!((job.state, job.crashes), (State::Succeeded, 0));
        assert_eq!(runs.of(sent.id).last().unwrap().by, "other");
    }
    other.drain().await;
}

/// Nothing is assigned that a change could make wrong: whoever comes works at once, and nobody rests because somebody came
/// or went.
pub async fn p10_nothing_waits_for_the_topology_to_settle(fleet: &Fleet) {
    let runs = Runs::default();
    let began = tokio::time::Instant::now();
    let stays = start(fleet, fleet.consumer().await, &runs, "stays").await;
    let mut ids = send(fleet, fleet.producer(), 5, None).await;
    for _ in 0..2 {
        let comes = start(fleet, fleet.consumer().await, &runs, "comes").await;
        ids.extend(send(fleet, fleet.producer(), 5, None).await);
        comes.drain().await;
        ids.extend(send(fleet, fleet.producer(), 5, None).await);
    }
    let (took, rest) = (began.elapsed(), fleet.span(Duration::from_secs(10), Duration::from_secs(30)));
    assert!(took < rest, "one rest alone would take {rest:?}, and this took {took:?}");
    assert!(by(&runs, &ids).contains(&"stays"), "each ran once");
    stays.drain().await;
}

/// A message of a foreign client knows nothing of its queue's placement, and comes by the topic's own lane.
pub async fn p06_a_message_that_came_by_another_way_is_sent_on(fleet: &Fleet) {
    queue(fleet, "placement = \"label:zone=b\"").await;
    let runs = Runs::default();
    let a = start(fleet, fleet.consumer().await, &runs, "a").await;
    // It has read the queues by then.
    fleet.quiet(Duration::from_secs(3)).await;
    let id = fleet.producer().new_id();
    let broker = &fleet.producer().link().broker;
    assert_eq!(broker.publish(vec![message(id, Target::Jobs(topic().into()))]).await, [Ok(())]);
    let lane = at("label:zone=b");
    fleet
        .eventually("it lies in the lane of its site", async || {
            (broker.depth(&lane).await.unwrap() == Some(1)).then_some(())
        })
        .await;
    assert_eq!(runs.count(), 0);
    let b = fleet.consumer_with(|settings| drop(settings.instance.labels.insert("zone".into(), "b".into()))).await;
    let b = start(fleet, b, &runs, "b").await;
    // Nobody but its message knows it before.
    runs.reach(1).await;
    assert_eq!(fleet.end_of(id).await.job.site.unwrap().to_string(), "label:zone=b");
    assert_eq!(by(&runs, &[id]), ["b"]);
    b.drain().await;
    a.drain().await;
}

/// The instance near the sender dies in the middle of an ordered queue: the order goes on elsewhere, and comes back.
pub async fn p03_p04_p08_an_order_near_its_sender_goes_on_elsewhere_when_that_dies(fleet: &Fleet) {
    queue(fleet, "kind = \"ordered\"\nplacement = \"local_first\"").await;
    let runs = Runs::default();
    let world = fleet.process();
    let tasks = world.tasks.clone();
    let doomed = runs.then_by("near", |ctx| async move {
        if ctx.payload().contains("stuck") {
            std::future::pending::<()>().await;
        }
    });
    let near = fleet.start(in_web(fleet, "web").await.world(world).on(TOPIC, doomed)).await;
    let far = start(fleet, in_web(fleet, "other").await, &runs, "far").await;
    let web = producer(fleet, in_cluster("web")).await;
    let mut sent = Vec::new();
    for number in 0..10 {
        let payload = if number == 4 { "\"stuck\"" } else { "{}" };
        sent.push(web.raw(TOPIC, payload).send().await.unwrap().id);
    }
    let seen = runs.reach(5).await;
    assert!(seen.iter().all(|run| run.by == "near"), "{seen:?}");
    tasks.kill();
    drop(near);
    let killed = tokio::time::Instant::now();
    let seen = runs.reach(6).await;
    assert!(seen[5].at - killed <= Duration::from_secs(15), "went on after {:?}", seen[5].at - killed);
    for id in &sent {
        assert_eq!(fleet.end_of(*id).await.job.state, State::Succeeded);
    }
    let expected: Vec<JobId> = sent[..5].iter().chain(&sent[4..]).copied().collect();
    assert_eq!(runs.all().iter().map(|run| run.id).collect::<Vec<_>>(), expected, "in their order");
    assert!(runs.all()[5..].iter().all(|run| run.by == "far"));
    let back = start(fleet, in_web(fleet, "web").await, &runs, "back").await;
    consumes(fleet, &far, &at("cluster:web"), false).await;
    let ids = send(fleet, &web, 5, None).await;
    assert_eq!(by(&runs, &ids), ["back"]);
    back.drain().await;
    far.drain().await;
}

/// Lanes of instances that are gone do not pile up: in the store and in the broker they go when nobody is of them and
/// nothing waits there.
pub async fn p08_lanes_of_instances_that_are_gone_are_taken_away(fleet: &Fleet) {
    let runs = Runs::default();
    let stays = start(fleet, fleet.consumer().await, &runs, "stays").await;
    let goes = start(fleet, fleet.consumer().await, &runs, "goes").await;
    let target = |running: &Running| format!("target:{}", running.owner().instance);
    let lane = |running: &Running| at(&format!("instance:{}", running.owner().instance));
    let (kept, gone) = (lane(&stays), lane(&goes));
    send(fleet, fleet.producer(), 2, Some(&target(&stays))).await;
    let ids = send(fleet, fleet.producer(), 2, Some(&target(&goes))).await;
    let waits = fleet.send(fleet.producer().raw(TOPIC, "{}").placement("label:none".parse().unwrap())).await;
    let link = fleet.producer().link();
    assert!(link.store.lanes().await.unwrap().contains(&gone));
    goes.drain().await;
    let is_gone = async || (!link.store.lanes().await.unwrap().contains(&gone)).then_some(());
    for _ in 0..20 {
        fleet.pass(Duration::from_secs(60)).await;
    }
    fleet.eventually("the store lets go of it", is_gone).await;
    fleet.pass(Duration::from_secs(150)).await;
    let is_removed = async || link.broker.depth(&gone).await.unwrap().is_none().then_some(());
    fleet.eventually("the broker has none", is_removed).await;
    let known = link.store.lanes().await.unwrap();
    assert!(known.contains(&kept) && known.contains(&at("label:none")), "{known:?}");
    assert_eq!(fleet.show(waits.id).await.state, State::Queued, "what waits keeps its lane");
    consumes(fleet, &stays, &gone, false).await;
    // A copy that rested for longer than that.
    let late = message(ids[0], Target::Lane(gone.clone()));
    assert_eq!(link.broker.publish(vec![late]).await, [Ok(())]);
    assert_eq!(link.broker.count_letters(Letters::Unrouted).await.unwrap(), 1);
    let is_taken = async || {
        let lost = link.broker.count_letters(Letters::Unrouted).await.unwrap();
        (lost == 0 && link.broker.depth(&gone).await.unwrap() == Some(0)).then_some(())
    };
    fleet.pass(Duration::from_secs(90)).await;
    fleet.eventually("it is taken by whoever is there", is_taken).await;
    assert_eq!(by(&runs, &ids), ["goes"], "and refused, as its job has ended");
    fleet.producer().remove([waits.id]).await.unwrap();
    stays.drain().await;
}

/// A store that loses everything hears of the lanes of sites from whoever knew them.
pub async fn p03_a_store_that_forgot_the_lanes_hears_of_them_again(fleet: &Fleet) {
    let runs = Runs::default();
    let running = start(fleet, fleet.consumer().await, &runs, "one").await;
    send(fleet, fleet.producer(), 1, Some("prefer_label:none")).await;
    let waits = fleet.send(fleet.producer().raw(TOPIC, "{}").placement("label:none".parse().unwrap())).await;
    let store = &fleet.producer().link().store;
    fleet
        .eventually("it is known there", async || {
            running.status().consuming.contains(&at("prefer_label:none")).then_some(())
        })
        .await;
    fleet.pass(Duration::from_secs(35)).await;
    store.erase().await.unwrap();
    let known = async || {
        let lanes = store.lanes().await.unwrap();
        ["prefer_label:none", "label:none"].iter().all(|site| lanes.contains(&at(site))).then_some(())
    };
    fleet.eventually("both lanes are known again", known).await;
    let with = fleet.consumer_with(|settings| drop(settings.instance.labels.insert("none".into(), "x".into()))).await;
    let with = start(fleet, with, &runs, "with").await;
    runs.reach(2).await;
    assert!(fleet.end(&waits).await.is_success(), "made again of its message");
    assert_eq!(by(&runs, &[waits.id]), ["with"]);
    with.drain().await;
    running.drain().await;
}
