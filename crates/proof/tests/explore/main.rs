//! Every interleaving of small worlds, smaller than `cargo xtask explore` has them; and the proof that the search would
//! find what is wrong.

mod patterns;
mod spoilt;

use osc_proof::explore::model::Model;
use osc_proof::explore::search::{Exploration, explore};
use osc_proof::explore::worlds::small_worlds;

/// More than any world in these tests has.
const LIMIT: usize = 400_000;

fn words(exploration: &Exploration) -> String {
    let violations = exploration.violations.iter();
    violations
        .map(|found| format!("{:?}\n  {}\n", found.broken, found.trace.join("\n  ")))
        .collect::<Vec<_>>()
        .concat()
}

#[test]
fn every_interleaving_of_small_worlds_keeps_all_properties() {
    let mut states = 0;
    for scope in small_worlds() {
        let name = scope.name;
        let exploration = explore(&mut Model::new(scope, Box::new(osc_engine::decide)), LIMIT);
        assert!(exploration.complete, "{name} is larger than {LIMIT}");
        assert!(exploration.resting > 0, "{name} never comes to rest");
        assert!(exploration.violations.is_empty(), "{name}: {}", words(&exploration));
        println!("{name}: {} states", exploration.states);
        states += exploration.states;
    }
    println!("states: {states} explored, 0 violations");
    assert!(states > 100_000, "the worlds are smaller than they are known to be: {states}");
}
