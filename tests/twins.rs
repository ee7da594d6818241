//! The twenty tales on the simulated fleet. `tests/lab/twins.rs` tells the same on real engines: where
//! the two disagree, the model is wrong.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "twins/model.rs"]
mod model;
#[path = "twins/tale.rs"]
mod tale;
#[path = "twins/twenty.rs"]
mod twenty;

use model::Model;

#[test]
fn the_model_tells_the_twenty_tales() {
    // Durations of steps and the places of tasks follow from the seed, and what is seen does not.
    for seed in 0..20 {
        let mut model = Model::new(seed);
        for tale in &twenty::TWENTY {
            for (number, scene) in tale.scenes.iter().enumerate() {
                let end = model.act(scene.act);
                let what = || {
                    format!(
                        "seed {seed}: {}, act {}: {:?}",
                        tale.name,
                        number + 1,
                        scene.act
                    )
                };
                if scene.end.is_some() {
                    assert_eq!(end, scene.end, "{}\n{}", what(), model.said.join("\n"));
                }
                if !scene.seen.is_empty() {
                    assert_eq!(
                        model.seen(),
                        scene.seen,
                        "{}\n{}",
                        what(),
                        model.said.join("\n")
                    );
                }
            }
            assert_eq!(model.lost(), [""; 0], "{}", tale.name);
        }
    }
}
