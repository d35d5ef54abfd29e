//! What must never happen: two holders. And that it goes on by itself.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::proxy::Proxy;
use super::{Ledger, TestMember, TestServer, until, until_settled};
use crate::cluster::{Partitions, Place};
use crate::store::NatsServers;

const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_had_that_crashed_is_the_others_after_its_lease() {
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let join = async |name| TestMember::join(server.servers(), name, LEASE, &ledger).await;
    let (a, b, c) = (join("a").await, join("b").await, join("c").await);
    until_settled(&[&a, &b, &c]).await;
    let (before, had) = (ledger.holders(), ledger.held_by("c"));
    let peers = c.crash(&ledger, "c");
    until_settled(&[&a, &b]).await;
    for (partition, holder) in ledger.holders() {
        assert!(had.has(partition) || before[&partition] == holder);
    }
    // Whatever is left of the one that crashed has nothing either.
    until("end of the lease", || peers.table().here().is_empty()).await;
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_for_less_than_a_lease_moves_nothing() {
    let (mut server, ledger) = (TestServer::start().await, Ledger::default());
    let lease = Duration::from_secs(60);
    let join = async |name| TestMember::join(server.servers(), name, lease, &ledger).await;
    let (a, b) = (join("a").await, join("b").await);
    until_settled(&[&a, &b]).await;
    let before = ledger.holders();
    for _ in 0..3 {
        server.kill9();
        server.restart().await;
        let renewed = a.tally.renewed.load(Relaxed);
        until("connection", || {
            let reports = [&a, &b].map(|member| member.peers.report());
            reports.iter().all(|report| report.is_connected)
        })
        .await;
        // The next renewal may be far away; that it works is shown below.
        assert!(a.tally.renewed.load(Relaxed) >= renewed);
    }
    assert_eq!(ledger.holders(), before);
    assert_eq!(ledger.lost(), 0);
    b.membership.end().await;
    until_settled(&[&a]).await;
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_for_long_ends_everything_until_it_is_back() {
    let (mut server, ledger) = (TestServer::start().await, Ledger::default());
    let join = async |name| TestMember::join(server.servers(), name, LEASE, &ledger).await;
    let (a, b) = (join("a").await, join("b").await);
    until_settled(&[&a, &b]).await;
    let before = ledger.holders();
    server.kill9();
    until("loss", || ledger.holders().is_empty()).await;
    let place = a.peers.table().place(crate::cluster::Partition::of("a"));
    assert_ne!(place, Place::Here);
    assert!(!a.peers.report().is_member);
    server.restart().await;
    until_settled(&[&a, &b]).await;
    assert_eq!(ledger.holders(), before);
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_hears_again_first_gives_the_others_time_to_be_heard() {
    let (mut server, ledger) = (TestServer::start().await, Ledger::default());
    let lease = 2 * LEASE;
    let servers = server.servers();
    let proxy = Proxy::start(&servers.urls[0]).await;
    let behind = NatsServers {
        urls: vec![proxy.url()],
        ..servers
    };
    let a = TestMember::join(server.servers(), "a", lease, &ledger).await;
    let b = TestMember::join(behind, "b", lease, &ledger).await;
    until_settled(&[&a, &b]).await;
    server.kill9();
    until("loss", || ledger.holders().is_empty()).await;
    tokio::time::sleep(lease).await;
    let moves = ledger.moves();
    proxy.cut();
    server.restart().await;
    until("return of the first", || !a.here().is_empty()).await;
    proxy.mend();
    until_settled(&[&a, &b]).await;
    // Nobody was buried, and nothing went to and fro.
    assert_eq!(ledger.moves() - moves, 64);
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_cut_off_stops_before_others_begin() {
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let servers = server.servers();
    let proxy = Proxy::start(&servers.urls[0]).await;
    let behind = NatsServers {
        urls: vec![proxy.url()],
        ..servers
    };
    let a = TestMember::join(server.servers(), "a", LEASE, &ledger).await;
    let b = TestMember::join(behind, "b", LEASE, &ledger).await;
    until_settled(&[&a, &b]).await;
    let had = ledger.held_by("b");
    proxy.cut();
    until("loss", || ledger.held_by("b").is_empty()).await;
    until_settled(&[&a]).await;
    assert_eq!(b.tally.lost.load(Relaxed), had.len() as u64);
    // What it sent into the cut arrives late, and does no harm.
    proxy.mend();
    until_settled(&[&a, &b]).await;
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_finds_its_lease_over_before_it_does_anything() {
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let a = TestMember::join(server.servers(), "a", LEASE, &ledger).await;
    // Its own thread, which can be stopped as a process can.
    let (orders, inbox) = mpsc::channel::<Duration>();
    let (tell, told) = mpsc::channel();
    let (servers, of_thread) = (server.servers(), ledger.clone());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async move {
            let b = TestMember::join(servers, "b", LEASE, &of_thread).await;
            tell.send(Arc::clone(&b.peers)).unwrap();
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                match inbox.try_recv() {
                    Ok(stop) => {
                        std::thread::sleep(stop);
                        // Before the keeper has run at all.
                        assert_eq!(b.peers.table().here(), Partitions::NONE);
                    }
                    Err(mpsc::TryRecvError::Empty) => {}
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
            b.membership.end().await;
        });
    });
    let peers = tokio::task::spawn_blocking(move || told.recv().unwrap())
        .await
        .unwrap();
    let both = || {
        let here = [peers.table().here(), a.here()];
        here[0].len() + here[1].len() == 64 && here.iter().all(|here| !here.is_empty())
    };
    until("shares", both).await;
    orders.send(3 * LEASE).unwrap();
    // By its own view it still has them until it looks; nothing of it runs.
    ledger.crashed("b");
    until("takeover", || a.here() == Partitions::ALL).await;
    assert!(!peers.report().is_member);
    until("shares", both).await;
    drop(orders);
    until("end", || a.here() == Partitions::ALL).await;
    thread.join().unwrap();
    ledger.assert_never_two();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_a_member_ends_all_the_same() {
    let (mut server, ledger) = (TestServer::start().await, Ledger::default());
    let a = TestMember::join(server.servers(), "a", Duration::from_secs(60), &ledger).await;
    until_settled(&[&a]).await;
    server.kill9();
    a.membership.end().await;
    assert!(ledger.holders().is_empty());
    assert_eq!(ledger.lost(), 0);
}

/// On one thread, which is the one whose log is read.
#[tokio::test]
async fn a_lease_that_cannot_be_renewed_is_told_of_once() {
    let log: Arc<Mutex<Vec<u8>>> = Arc::default();
    let lines = Arc::clone(&log);
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || Lines(Arc::clone(&lines)))
        .finish();
    let _reading = tracing::subscriber::set_default(subscriber);
    let (server, ledger) = (TestServer::start().await, Ledger::default());
    let servers = server.servers();
    let a = TestMember::join(servers.clone(), "a", LEASE, &ledger).await;
    until_settled(&[&a]).await;
    let client = async_nats::connect(&servers.urls[0]).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    let stream = format!("{}-cluster", servers.prefix);
    jetstream.delete_stream(stream).await.unwrap();
    until("many failures", || a.tally.not_renewed.load(Relaxed) >= 8).await;
    let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
    let told = log.matches("has not confirmed the renewal").count();
    assert_eq!(told, 1, "{log}");
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
