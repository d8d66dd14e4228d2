//! Taking over on a real API server, under exactly the rights that `deploy/` gives: one fixture with every runtime class
//! but that of peer pods, one whose objects were stored under another definition.

// A test that cannot go on panics; clippy knows that only of functions marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use osc_proof::takeover::bed::Bed;
use osc_proof::takeover::fixture::all;
use osc_proof::takeover::story::play;

async fn taken_over(name: &str) {
    let fixture = all().into_iter().find(|fixture| fixture.name == name).unwrap();
    let bed = Bed::real(fixture.topology.clone()).await;
    let outcome = play(&fixture, &bed).await;
    assert!(outcome.changed.is_empty() && outcome.wrong.is_empty(), "{outcome:#?}");
    bed.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confidential() {
    taken_over("confidential-1.12").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_releases() {
    taken_over("first-releases-1.0").await;
}
