//! The TCP proxy does what it is told, seen from a plain echo service.
#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use longshore_tests::proxy::{Direction, Proxy, Rough};
use longshore_tests::wait::{eventually, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(5);

/// An echo service that also reports every byte it received.
struct Echo {
    address: SocketAddr,
    received: mpsc::UnboundedReceiver<Vec<u8>>,
    _task: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (report, received) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let report = report.clone();
                connections.spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                        report.send(buffer[..read].to_vec()).ok();
                        if stream.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, received, _task: task }
    }

    async fn received(&mut self) -> Vec<u8> {
        within(SOON, "the service receives", self.received.recv()).await.unwrap()
    }
}

async fn set_up() -> (Echo, Proxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(&echo.address.to_string()).await;
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    (echo, proxy, client)
}

async fn say(client: &mut TcpStream, text: &str) {
    client.write_all(text.as_bytes()).await.unwrap();
}

async fn hear(client: &mut TcpStream, length: usize) -> String {
    let mut buffer = vec![0; length];
    within(SOON, "the client hears", client.read_exact(&mut buffer)).await.unwrap();
    String::from_utf8(buffer).unwrap()
}

/// Reads to the end, which must be a reset.
async fn hear_until_reset(client: &mut TcpStream) -> String {
    let mut heard = Vec::new();
    let end = within(SOON, "the connection ends", client.read_to_end(&mut heard)).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    String::from_utf8(heard).unwrap()
}

#[tokio::test]
async fn forwards_both_ways_and_passes_on_the_end() {
    let (_echo, proxy, mut client) = set_up().await;
    let long = "0123456789abcdef".repeat(16 * 1024);
    let (mut reader, mut writer) = client.split();
    let mut heard = String::new();
    let send = async {
        writer.write_all(long.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let (_, end) =
        within(SOON, "all comes back", async { tokio::join!(send, reader.read_to_string(&mut heard)) }).await;
    assert_eq!(end.unwrap(), long.len());
    assert!(heard == long);
    eventually(SOON, "no connection is left", async || (proxy.connections() == 0).then_some(())).await;
    assert_eq!(proxy.cuts(), 0);
}

#[tokio::test]
async fn cut_resets_every_connection_and_takes_new_ones() {
    let (_echo, proxy, mut one) = set_up().await;
    let mut two = TcpStream::connect(proxy.address()).await.unwrap();
    for client in [&mut one, &mut two] {
        say(client, "hello").await;
        assert_eq!(hear(client, 5).await, "hello");
    }
    assert_eq!(proxy.connections(), 2);
    proxy.cut();
    hear_until_reset(&mut one).await;
    hear_until_reset(&mut two).await;
    let mut three = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut three, "again").await;
    assert_eq!(hear(&mut three, 5).await, "again");
}

#[tokio::test]
async fn refuse_lets_open_connections_live_and_heal_takes_new_ones() {
    let (_echo, proxy, mut client) = set_up().await;
    say(&mut client, "before").await;
    assert_eq!(hear(&mut client, 6).await, "before");
    proxy.refuse().await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    say(&mut client, "still").await;
    assert_eq!(hear(&mut client, 5).await, "still");
    proxy.heal().await;
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut new, "healed").await;
    assert_eq!(hear(&mut new, 6).await, "healed");
}

#[tokio::test]
async fn a_connection_is_reset_when_the_service_is_away() {
    let (echo, proxy, _client) = set_up().await;
    drop(echo);
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    hear_until_reset(&mut client).await;
}

#[tokio::test]
async fn swallowed_requests_never_arrive_and_the_next_do() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.swallow(Direction::ToService);
    say(&mut client, "lost").await;
    eventually(SOON, "the proxy has swallowed", async || (proxy.swallowed() == 4).then_some(())).await;
    proxy.heal().await;
    say(&mut client, "found").await;
    assert_eq!(hear(&mut client, 5).await, "found");
    assert_eq!(echo.received().await, b"found");
}

#[tokio::test]
async fn swallowed_replies_leave_the_request_done() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.swallow(Direction::ToClient);
    say(&mut client, "done").await;
    assert_eq!(echo.received().await, b"done");
    eventually(SOON, "the proxy has swallowed", async || (proxy.swallowed() == 4).then_some(())).await;
    proxy.heal().await;
    say(&mut client, "next").await;
    assert_eq!(hear(&mut client, 4).await, "next");
}

#[tokio::test]
async fn delay_holds_what_is_sent() {
    let (_echo, proxy, mut client) = set_up().await;
    proxy.delay(Direction::ToService, Duration::from_millis(60));
    proxy.delay(Direction::ToClient, Duration::from_millis(60));
    let start = Instant::now();
    say(&mut client, "slow").await;
    assert_eq!(hear(&mut client, 4).await, "slow");
    assert!(start.elapsed() >= Duration::from_millis(120), "{:?}", start.elapsed());
}

#[tokio::test]
async fn throttle_limits_the_rate() {
    let (_echo, proxy, mut client) = set_up().await;
    proxy.throttle(Direction::ToClient, 10_000);
    let text = "x".repeat(3_000);
    let start = Instant::now();
    say(&mut client, &text).await;
    assert_eq!(hear(&mut client, 3_000).await, text);
    // Three portions, of which the last is not waited for.
    assert!(start.elapsed() >= Duration::from_millis(200), "{:?}", start.elapsed());
}

#[tokio::test]
async fn cut_after_lets_exactly_so_many_bytes_through_once() {
    let (_echo, proxy, mut client) = set_up().await;
    proxy.cut_after(Direction::ToClient, 7);
    say(&mut client, "0123456789").await;
    proxy.cut_reached(1, SOON).await;
    // A reset may overtake bytes that the client has not read, so at most seven are heard.
    assert!("0123456".starts_with(&hear_until_reset(&mut client).await));
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut next, "0123456789").await;
    assert_eq!(hear(&mut next, 10).await, "0123456789");
    assert_eq!(proxy.cuts(), 1);
}

#[tokio::test]
async fn cut_after_counts_what_the_service_gets() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.cut_after(Direction::ToService, 3);
    say(&mut client, "abcdef").await;
    hear_until_reset(&mut client).await;
    assert_eq!(echo.received().await, b"abc");
}

#[tokio::test]
async fn cut_before_reply_does_the_request_and_hides_the_reply() {
    let (mut echo, proxy, mut client) = set_up().await;
    proxy.cut_before_reply(b"pay");
    say(&mut client, "look").await;
    assert_eq!(hear(&mut client, 4).await, "look");
    assert_eq!(echo.received().await, b"look");
    say(&mut client, "please pay now").await;
    assert_eq!(hear_until_reset(&mut client).await, "");
    assert_eq!(echo.received().await, b"please pay now");
    let mut next = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut next, "pay").await;
    assert_eq!(hear(&mut next, 3).await, "pay");
}

#[tokio::test]
async fn before_keeps_all_of_a_url_but_its_address() {
    for (url, tail) in [
        ("amqp://guest:p%40ss@127.0.0.1:5672/%2f", "amqp://guest:p%40ss@{}/%2f"),
        ("redis://127.0.0.1:6379/", "redis://{}/"),
        ("redis://127.0.0.1:6379", "redis://{}"),
    ] {
        let (proxy, through) = Proxy::before(url).await;
        assert_eq!(through, tail.replace("{}", &proxy.address().to_string()));
    }
}

#[tokio::test]
async fn stalled_bytes_come_when_it_is_healed_and_none_is_lost() {
    let (mut echo, proxy, mut client) = set_up().await;
    say(&mut client, "one").await;
    assert_eq!(hear(&mut client, 3).await, "one");
    assert_eq!(echo.received().await, b"one");
    proxy.stall(Direction::ToClient);
    say(&mut client, "two").await;
    assert_eq!(echo.received().await, b"two", "the other direction goes on");
    let mut nothing = [0; 1];
    let early = tokio::time::timeout(Duration::from_millis(100), client.read(&mut nothing)).await;
    assert!(early.is_err(), "held bytes came through");
    proxy.heal().await;
    assert_eq!(hear(&mut client, 3).await, "two");
}

#[tokio::test]
async fn a_rough_line_is_slow_and_whole() {
    let (_echo, proxy, mut client) = set_up().await;
    let resend = Duration::from_millis(80);
    let rough = Rough { spread: Duration::from_millis(5), lost_per_mille: 1_000, resend };
    proxy.roughen(Direction::ToService, rough);
    let begun = Instant::now();
    say(&mut client, "late").await;
    assert_eq!(hear(&mut client, 4).await, "late");
    assert!(begun.elapsed() >= resend, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn new_connections_go_where_it_points() {
    let (mut echo, proxy, mut client) = set_up().await;
    say(&mut client, "first").await;
    assert_eq!(echo.received().await, b"first");
    let mut other = Echo::start().await;
    proxy.point_to(&other.address.to_string());
    say(&mut client, "old").await;
    assert_eq!(echo.received().await, b"old");
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    say(&mut new, "new").await;
    assert_eq!(other.received().await, b"new");
}
