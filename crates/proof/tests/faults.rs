//! Random trouble, by the thousand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Mutex;

use osc_proof::faults::{Baselines, Schedule, Trial, many, told, trial};

/// So many in the tests; `cargo xtask faults` plays ten thousand.
const SCHEDULES: u64 = 1_000;

#[test]
fn whatever_goes_wrong_comes_out_right() {
    let diverged = Mutex::new(Vec::new());
    let figures = many(0, SCHEDULES, |trial| diverged.lock().unwrap().push(told(trial))).unwrap();
    let diverged = diverged.into_inner().unwrap();
    assert!(diverged.is_empty(), "{}", diverged.join("\n"));
    assert_eq!(figures.tried as u64, SCHEDULES);
    assert!(figures.faults > 50_000, "only {} faults: nothing was tried", figures.faults);
}

#[test]
fn a_seed_repeats_exactly() {
    let baselines = Baselines::of_all().unwrap();
    let lines = |trial: &Trial| -> Vec<String> {
        trial
            .log
            .iter()
            .map(|record| {
                format!("{} {} {:?} {}", record.time, record.code, record.request.verb, record.request.path)
            })
            .collect()
    };
    for seed in 0..30 {
        let (one, two) = (lines(&trial(&baselines, seed)), lines(&trial(&baselines, seed)));
        let first = one.iter().zip(&two).find(|(one, two)| one != two);
        assert!(one == two, "{} differs first at {first:?}", Schedule::new(seed).in_words());
        assert!(one.len() > 20, "the operator asked for something");
    }
}
