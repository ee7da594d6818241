//! How stories are told: one after the other, with the time that each took.

use std::time::Instant;

/// Whether the lab is left at the end and found again at the next start, to work on one story.
pub(crate) fn keeps() -> bool {
    std::env::var_os("SKEP_TEST_KEEP").is_some()
}

/// A story: its name, and what is told of the world.
pub(crate) type Story<W> = (&'static str, fn(&W));

/// Tells stories one after the other, and how long each took. With `SKEP_TEST_FROM` those before
/// the one with that in its name are left out: for a lab that `SKEP_TEST_KEEP` has left.
pub(crate) fn tell<W>(world: &W, stories: &[Story<W>]) {
    let from = std::env::var("SKEP_TEST_FROM").unwrap_or_default();
    let first = stories.iter().position(|(name, _)| name.contains(&from));
    for (name, story) in &stories[first.unwrap_or(0)..] {
        let began = Instant::now();
        told(&format!("  story: {name} ..."));
        story(world);
        let took = began.elapsed().as_secs_f64();
        told(&format!("  story: {name}: {took:.1} s"));
    }
}

/// Says something to whoever runs the tests.
#[expect(
    clippy::print_stdout,
    reason = "timings are for whoever runs the tests"
)]
pub(crate) fn told(line: &str) {
    println!("{line}");
}
