//! A drill breaks things: what it refuses before anybody is asked.

use super::environment::{Environment, Output};

/// A cluster of the lab, as far as the inventory says, with more lines for `m1`.
fn lab(more: &str) -> String {
    format!(
        "[cluster]\nname = \"hive\"\nprovider = \"lab\"\n\n[[host]]\nname = \"m1\"\nrole = \"manager\"\n{more}\n\
         \n[[host]]\nname = \"w1\"\nrole = \"worker\"\n"
    )
}

fn run(it: &Environment, arguments: &[&str]) -> Output {
    // A place without any lab.
    let place = it.path("no-lab").display().to_string();
    it.run_with(
        &[("SKEP_LAB_DIR", &place)],
        &[&["drill"], arguments].concat(),
    )
}

#[test]
fn drills_are_refused_on_machines_of_ones_own() {
    let it = Environment::new();
    it.write("skep.toml", super::SOUND);
    for arguments in [
        &["one-worker", "--confirm", "dccn", "--yes"][..],
        &["--all", "--confirm", "dccn"],
        &["heal", "--confirm", "dccn"],
    ] {
        let ran = run(&it, arguments);
        assert_eq!(ran.code, Some(4), "{}", ran.show());
    }
    insta::assert_snapshot!("drill_own", run(&it, &["one-worker"]).show());
    assert!(!it.path("home/state").exists(), "it took a lock");
}

#[test]
fn drills_are_refused_where_a_host_is_not_at_an_address_of_the_lab() {
    let it = Environment::new();
    // No verb takes such an inventory.
    it.write("skep.toml", &lab("address = \"10.0.0.11\""));
    insta::assert_snapshot!(
        "drill_address",
        run(&it, &["one-worker", "--confirm", "hive"]).show()
    );
    it.write(
        "skep.toml",
        &lab("").replace(
            "name = \"w1\"",
            "name = \"w1\"\nprovider = \"static\"\naddress = \"10.0.0.12\"",
        ),
    );
    let ran = run(&it, &["one-worker", "--confirm", "hive"]);
    assert_eq!(ran.code, Some(4), "{}", ran.show());
    assert!(
        ran.stderr.contains("w1 is a machine of yours"),
        "{}",
        ran.show()
    );
}

#[test]
fn what_cannot_be_practised_is_told_before_anything_is_asked() {
    let it = Environment::new();
    it.write("skep.toml", &lab(""));
    insta::assert_snapshot!("drill_small", run(&it, &["two-managers"]).show());
    insta::assert_snapshot!("drill_unknown", run(&it, &["one-wroker"]).show());
    insta::assert_snapshot!("drill_with_heal", run(&it, &["one-worker", "heal"]).show());
    insta::assert_snapshot!("drill_not_made", run(&it, &["one-worker"]).show());
    insta::assert_snapshot!("drill_nothing", run(&it, &[]).show());
}

#[test]
fn the_list_of_drills_needs_no_inventory() {
    let it = Environment::new();
    insta::assert_snapshot!("drill_list", run(&it, &["list"]).show());
    let json: serde_json::Value =
        serde_json::from_str(run(&it, &["list", "--json"]).success()).unwrap();
    assert_eq!(json[0]["name"], "one-worker");
    assert!(json[0]["seconds"].is_u64());
}
