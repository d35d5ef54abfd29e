//! The program dies at any moment, again and again, in the middle of group commits.
//!
//! `CAUSEWAY_STORE_KILLS=200 cargo test --lib store::embedded::tests::crash` does it 200 times.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use rand::RngExt;

use super::*;
use crate::store::records::{Begun, KeyedAnswer};
use crate::store::{DownlinkHistory, IdempotencyKeys, ReceiptLog};

const PATH: &str = "CAUSEWAY_STORE_CHILD";
const KILLS: &str = "CAUSEWAY_STORE_KILLS";
const DEVICES: usize = 8;

/// What dies. It says on its output what it was told is durable.
#[test]
#[ignore = "the other test here starts it and kills it"]
fn child() {
    let path = std::env::var(PATH).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = open(Path::new(&path), Limits::default());
        for number in 0..DEVICES {
            tokio::spawn(work(Arc::clone(&store), number));
        }
        std::future::pending::<()>().await;
    });
}

async fn work(store: Arc<Embedded>, number: usize) {
    let device = device(number);
    loop {
        let seq = store.next_seq();
        let queued = uplink(&device, seq, &vec![number as u8; 50 + seq as usize % 3000]);
        let answer = |key: String| KeyedAnswer {
            key: key.into(),
            body: [0; 32],
            answer: Bytes::from_static(b"202"),
        };
        let (id, receipt) = (queued.id.to_u128(), delivered(&queued));
        let keyed = answer(format!("q{seq}"));
        store.enqueue(queued, Some(keyed)).await.unwrap();
        say(format!("queued {number} {seq}"));
        let cursors = store.append(vec![downlink(&device, b"on")]).await.unwrap();
        say(format!("appended {number} {}", cursors[0]));
        store
            .finish(&device, answer(format!("f{seq}")))
            .await
            .unwrap();
        say(format!("finished {number} {seq}"));
        if !seq.is_multiple_of(3) {
            say(format!("settling {number} {seq}"));
            store.settle(&device, seq, receipt).await.unwrap();
            say(format!("settled {number} {id}"));
        }
    }
}

/// One line in one write, so that a kill does not tear it.
fn say(line: String) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// What the child has said, by device.
#[derive(Default)]
struct Said(BTreeMap<String, BTreeSet<(usize, u128)>>);

impl Said {
    fn take(&mut self, line: &str) -> bool {
        let mut words = line.split(' ');
        let (Some(what), Some(number), Some(value)) = (words.next(), words.next(), words.next())
        else {
            return false;
        };
        let (Ok(number), Ok(value)) = (number.parse(), value.parse()) else {
            return false;
        };
        self.0
            .entry(what.into())
            .or_default()
            .insert((number, value))
    }

    fn of(&self, what: &str) -> impl Iterator<Item = (usize, u128)> {
        self.0.get(what).into_iter().flatten().copied()
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let kills = std::env::var(KILLS).map_or(20, |kills| kills.parse().unwrap());
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("store.redb");
    let mut said = Said::default();
    for kill in 0..kills {
        let lines = rand::rng().random_range(1..400);
        run_and_kill(&path, lines, &mut said);
        let store = open(&path, Limits::default());
        check(&store, &said, kill).await;
        store.close().await.unwrap();
    }
    let files = std::fs::read_dir(folder.path()).unwrap();
    assert_eq!(files.count(), 1, "the store was set aside");
    let counts: Vec<_> = said.0.iter().map(|(what, all)| (what, all.len())).collect();
    println!("{kills} kills: {counts:?}");
}

fn run_and_kill(path: &Path, lines: usize, said: &mut Said) {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["store::embedded::tests::crash::child", "--exact"])
        .args(["--ignored", "--nocapture"])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut heard = 0;
    while heard < lines {
        let line = output.next().expect("the child ended by itself").unwrap();
        heard += usize::from(said.take(&line));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in output {
        said.take(&line.unwrap());
    }
}

async fn check(store: &Embedded, said: &Said, kill: usize) {
    let settling: BTreeSet<_> = said.of("settling").collect();
    let mut highest = 0;
    for number in 0..DEVICES {
        let there = queued(store, &device(number)).await;
        assert!(there.is_sorted());
        let there: BTreeSet<_> = there
            .into_iter()
            .map(|seq| (number, u128::from(seq)))
            .collect();
        for one in said.of("queued").filter(|one| one.0 == number) {
            assert!(
                there.contains(&one) || settling.contains(&one),
                "kill {kill}: {one:?} is lost"
            );
        }
        let page = store
            .history([device(number)].into(), 0, ALL)
            .await
            .unwrap();
        let fallen = page.fallen.map_or(0, u128::from);
        let there: BTreeSet<_> = page.events.iter().map(|e| u128::from(e.cursor)).collect();
        for (_, cursor) in said.of("appended").filter(|one| one.0 == number) {
            assert!(
                cursor <= fallen || there.contains(&cursor),
                "kill {kill}: downlink lost"
            );
        }
        let count = store.backlog(&device(number)).map_or(0, |b| b.count);
        assert_eq!(count as usize, queued(store, &device(number)).await.len());
    }
    for (number, seq) in said.of("queued") {
        highest = highest.max(seq);
        key(store, number, format!("q{seq}")).await;
    }
    for (number, seq) in said.of("finished") {
        key(store, number, format!("f{seq}")).await;
    }
    for (_, id) in said.of("settled") {
        let receipt = store.receipt(UplinkId::from_u128(id)).await.unwrap();
        assert_eq!(receipt.unwrap().status, ReceiptStatus::Delivered);
    }
    assert!(u128::from(store.next_seq()) > highest);
}

async fn key(store: &Embedded, number: usize, key: String) {
    let begun = store.begin(&device(number), &key, [0; 32]).await.unwrap();
    assert_eq!(begun, Begun::Finished(Bytes::from_static(b"202")), "{key}");
}
