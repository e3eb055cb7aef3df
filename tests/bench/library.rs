//! Benchmarks of the crates without the command line: looking up a token, planning, writing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use auth_providers::refresh::Wanted;
use auth_providers::token_source::{Flights, TokenSink, Warm};
use auth_providers::{HttpRequest, HttpResponse, Providers};
use auth_routing::{Config, Routing, plan};
use auth_store::{Clock as _, Document, ProviderId, StateDirectory, Store, SystemClock};
use e2e::sandbox::Sandbox;
use serde_json::json;

use crate::measure::Times;
use crate::report::{Report, ms, ratio, table, us};
use crate::scale::best;
use crate::world::{self, PROVIDER, id};

fn sink(
    state: &Path,
    http: impl Fn(HttpRequest) -> HttpResponse + Send + Sync + 'static,
) -> TokenSink {
    let state = StateDirectory::at(state);
    let manifest = json!({
        "id": "acme", "flows": ["authorization_code"], "client_id": "acme-cli",
        "endpoints": { "authorization": "https://acme.example/authorize", "token": "https://acme.example/token" },
    });
    TokenSink {
        store: state.store("main"),
        siblings: Vec::new(),
        records: state.records(),
        providers: Providers::from_manifests(
            vec![("acme.json".into(), Ok(manifest.to_string()))],
            &|_| None,
        ),
        http: Box::new(move |request| Ok(http(request))),
        clock: Arc::new(SystemClock),
        timeout: Duration::from_mins(1),
        flights: Flights::default(),
        warm: Warm::default(),
    }
}

/// A lookup in a program that embeds the sink.
pub(crate) fn lookup(rounds: usize, report: &mut Report) {
    let home = world::home(3);
    let sink = sink(&home.state(), |_| HttpResponse {
        status: 500,
        headers: Vec::new(),
        body: Vec::new(),
    });
    let (mut warm, mut cold) = (Times::default(), Times::default());
    let wanted = id(1).as_str().into();
    let ask = |sink: &TokenSink| {
        let found = sink.stored(&wanted, Duration::ZERO).expect("a store");
        assert!(found.is_some(), "a fresh token");
    };
    let rested = Instant::now() + Duration::from_millis(50);
    while Instant::now() < rested {
        ask(&sink);
    }
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..100 {
            ask(&sink);
        }
        warm.add(start.elapsed() / 100);
        let store = sink.store.clone();
        let start = Instant::now();
        let found = store.read().expect("a store").credential(&wanted);
        cold.add(start.elapsed());
        assert!(found.is_some());
    }
    let row = |name: &str, times: &Times| {
        vec![name.to_owned(), us(times.minimum()), us(times.median()), us(times.p99())]
    };
    let rows = [
        row("warm: nothing has changed on the disk", &warm),
        row("cold: the store is read", &cold),
    ];
    let text =
        table(&["`TokenSink::stored`, 3 profiles", "minimum µs", "median µs", "p99 µs"], &rows);
    report.section("As a library", &text);
    report.check("a warm lookup is quicker than a cold one", warm.median() < cold.median());
}

/// Many tasks of one process that request the same expired token.
pub(crate) fn tasks(rounds: usize, report: &mut Report) {
    let sizes = [1_000, 10_000, 100_000].map(|count| {
        let time = best(rounds, || {
            let home = Sandbox::new();
            let now = SystemClock.now().0;
            home.seed_store("main", &json!({ "version": 1, "profiles": { "acme:me": {
                "type": "oauth", "provider": "acme", "access": "old", "refresh": "r", "expires": now - 1,
            } } }));
            let requests = Arc::new(AtomicUsize::new(0));
            let counted = Arc::clone(&requests);
            let sink = Arc::new(sink(&home.state(), move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                let body = json!({ "access_token": "new", "refresh_token": "r2", "expires_in": 3600 });
                HttpResponse { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() }
            }));
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            let start = Instant::now();
            runtime.block_on(async {
                let mut tasks = tokio::task::JoinSet::new();
                for _ in 0..count {
                    let sink = Arc::clone(&sink);
                    tasks.spawn(async move { sink.credential(Wanted::now("acme:me".into())).await });
                }
                for reply in tasks.join_all().await {
                    assert_eq!(reply.expect("a token").bearer().expose(), "new");
                }
            });
            assert_eq!(requests.load(Ordering::SeqCst), 1);
            start.elapsed()
        });
        (count, time)
    });
    let rows: Vec<_> = sizes
        .iter()
        .map(|(count, time)| {
            vec![count.to_string(), ms(*time), us(*time / u32::try_from(*count).unwrap_or(1))]
        })
        .collect();
    report.section(
        "Tasks of one process on one expired token: one request",
        &table(&["tasks", "ms", "µs each"], &rows),
    );
    let excess = ratio(sizes[2].1, sizes[0].1) / 100.0;
    report.check(
        &format!("tasks in one process: {excess:.2} of linear growth, at most 1.5"),
        excess <= 1.5,
    );
}

/// Choosing among many profiles.
pub(crate) fn planning(rounds: usize, report: &mut Report) {
    let config = Config::default();
    let provider = ProviderId::new(PROVIDER);
    let sizes = [100, 1_000, 10_000].map(|count| {
        let text = world::store(count).to_string();
        let document = Document::parse(text.as_bytes()).expect("a store");
        let profiles: Vec<_> = document.profiles().collect();
        let routing = Routing { provider: provider.clone(), stored_order: None, config: &config };
        let now = SystemClock.now();
        let time = best(rounds, || {
            let start = Instant::now();
            let plan = plan(&profiles, &routing, None, now);
            let time = start.elapsed();
            assert_eq!(plan.candidates.len(), count);
            time
        });
        (count, time)
    });
    let rows: Vec<_> =
        sizes.iter().map(|(count, time)| vec![count.to_string(), ms(*time)]).collect();
    report.section("Planning", &table(&["profiles", "ms"], &rows));
    let excess = ratio(sizes[2].1, sizes[0].1) / 100.0;
    // Sorting 100 times as many profiles takes twice as long per profile.
    report.check(&format!("planning: {excess:.2} of linear growth, at most 2"), excess <= 2.0);
    if !cfg!(debug_assertions) {
        let what = format!("planning over 10,000 profiles: {} ms, less than 5", ms(sizes[2].1));
        report.check(&what, sizes[2].1 < Duration::from_millis(5));
    }
}

/// One update of a store, compared with the bare system calls that make a file durable.
pub(crate) fn writing(rounds: usize, report: &mut Report) {
    let home = world::home(3);
    let store = Store::at(home.store_path("main"));
    let bytes = fs::read(store.path()).expect("a store");
    let directory = home.agent_dir("main");
    let (temporary, target) = (directory.join("bare.new"), directory.join("bare"));
    let bare = || {
        let start = Instant::now();
        let mut file = File::options().write(true).create(true).truncate(true).open(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)?;
        File::open(&directory)?.sync_all()?;
        Ok::<_, std::io::Error>(start.elapsed())
    };
    let profile = id(1).as_str().into();
    let mut number = 0;
    let mut update = || {
        number += 1;
        let start = Instant::now();
        store
            .update(|document| {
                let usage =
                    auth_store::Usage { error_count: Some(number), ..document.usage(&profile) };
                document.set_usage(&profile, &usage);
            })
            .expect("an update");
        start.elapsed()
    };
    let (mut ours, mut theirs) = (Times::default(), Times::default());
    for _ in 0..rounds {
        ours.add(update());
        theirs.add(bare().expect("a bare write"));
    }
    let row = |name: &str, times: &Times| {
        vec![name.to_owned(), ms(times.minimum()), ms(times.median()), ms(times.p99())]
    };
    let rows = [
        row("an update of a store with 3 profiles", &ours),
        row("write, fsync, rename, fsync of the same bytes", &theirs),
    ];
    let median = ratio(ours.median(), theirs.median());
    let text = table(&["", "minimum ms", "median ms", "p99 ms"], &rows);
    report.section(
        "Writing",
        &format!(
            "{text}\nRatio of the medians: {median:.2}; of the minima: {:.2}.\n",
            ratio(ours.minimum(), theirs.minimum())
        ),
    );
    // There are two fsyncs: the file's and the directory's.
    if theirs.minimum() < Duration::from_micros(600) {
        report.not_run("an update against bare writes", "an fsync costs less than 0.3 ms here");
        return;
    }
    report.check(&format!("an update costs {median:.2} of bare writes, at most 3"), median <= 3.0);
}
