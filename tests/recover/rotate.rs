//! New secrets on the simulated fleet: what is refused, that nothing is made anew twice, that no key is
//! lost, and that a run which is killed after any step is finished by the next.

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;

use skep::fleet::sim::{Faults, SimFleet, SimSecrets};
use skep::guard;
use skep::inventory::Inventory;
use skep::plan::step::{KEY_NOTE, KeyTo, RotateCall};
use skep::plan::{Plan, Step};
use skep::procedure::{Procedure, RotateProcedure, RotateWhat};
use skep::swarm::Swarm;

use super::{Dies, apply, gathered, inventory, off, paused, plan, swarm, why};

const TOKENS: RotateWhat = RotateWhat::Tokens {
    worker: true,
    manager: true,
};

const AUTHORITY: RotateWhat = RotateWhat::Authority {
    cert_expiry_days: None,
};

fn key(file: &str) -> RotateWhat {
    RotateWhat::UnlockKey {
        to: KeyTo::File(PathBuf::from(file)),
        by: "eve@laptop".to_owned(),
    }
}

fn rotate(what: RotateWhat, without: &[&str]) -> Procedure {
    let without = without.iter().map(|name| (*name).to_owned());
    Procedure::Rotate(RotateProcedure::new(what, without))
}

/// A swarm with autolock.
async fn locked(inventory: &Inventory) -> SimFleet {
    let fleet = swarm(inventory).await;
    fleet.with(|world| {
        for swarm in world.clusters.values_mut() {
            swarm.secrets.unlock_key = Some(0);
        }
    });
    fleet
}

fn secrets(fleet: &SimFleet) -> SimSecrets {
    fleet.with(|world| {
        let mut swarms = world.clusters.values();
        swarms.next().unwrap().secrets.clone()
    })
}

/// Plans, runs, and plans again; whether that was empty.
async fn run(fleet: &dyn skep::fleet::Fleet, inventory: &Inventory, what: Procedure) -> bool {
    let mut procedure = what;
    let first = plan(fleet, inventory, &procedure).await;
    assert!(!first.changes.is_empty());
    procedure.remember(&first);
    if !apply(fleet, &first).await {
        return false;
    }
    let second = plan(fleet, inventory, &procedure).await;
    assert!(second.is_empty(), "{second:#?}");
    true
}

#[test]
fn tokens_are_made_anew_for_whom_it_was_said() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        assert!(run(&fleet, &inventory, rotate(TOKENS, &[])).await);
        let it = secrets(&fleet);
        assert_eq!((it.worker_token, it.manager_token), (1, 1));
        let worker = RotateWhat::Tokens {
            worker: true,
            manager: false,
        };
        assert!(run(&fleet, &inventory, rotate(worker, &[])).await);
        let it = secrets(&fleet);
        assert_eq!((it.worker_token, it.manager_token), (2, 1));
        // A manager that is away needs no token.
        off(&fleet, &["m3"]);
        assert!(run(&fleet, &inventory, rotate(TOKENS, &[])).await);
        off(&fleet, &["m2"]);
        let plan = plan(&fleet, &inventory, &rotate(TOKENS, &[])).await;
        assert!(
            why(&plan).contains("no manager with quorum"),
            "{}",
            why(&plan)
        );
    });
}

#[test]
fn a_lost_answer_makes_nothing_anew_twice() {
    let inventory = inventory(3, 1);
    paused(async move {
        for seed in 0..40 {
            let fleet = locked(&inventory).await;
            let world = fleet.with(|world| world.clone());
            let fleet = SimFleet::new(
                world,
                Faults {
                    lost_after: 400,
                    ..Faults::default()
                },
                seed,
            );
            for what in [TOKENS, key("key"), AUTHORITY] {
                run(&fleet, &inventory, rotate(what, &[])).await;
            }
            let it = secrets(&fleet);
            let all = (
                it.worker_token,
                it.manager_token,
                it.unlock_key,
                it.authority,
            );
            assert!(
                it.worker_token <= 1 && it.unlock_key <= Some(1) && it.authority <= 1,
                "{all:?}"
            );
        }
    });
}

#[test]
fn the_unlock_key_is_saved_with_a_note_and_waits_for_no_manager_that_wants_the_old_one() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = swarm(&inventory).await;
        let off_yet = plan(&fleet, &inventory, &rotate(key("key"), &[])).await;
        assert!(why(&off_yet).contains("autolock is off"));
        let fleet = locked(&inventory).await;
        let saved = RotateWhat::SavedKey {
            to: KeyTo::File(PathBuf::from("present")),
            by: "eve@laptop".to_owned(),
        };
        assert!(run(&fleet, &inventory, rotate(saved, &[])).await);
        assert!(run(&fleet, &inventory, rotate(key("key"), &[])).await);
        fleet.with(|world| {
            assert_eq!(world.keys.files["present"], 0);
            assert_eq!(world.keys.files["key"], 1);
            for manager in ["m1", "m2", "m3"] {
                let (note, mode) = &world.hosts[manager].files[KEY_NOTE];
                assert!(note.contains("eve@laptop"), "{note}");
                assert_eq!(*mode, 0o600);
            }
        });
        // Printed, it is brought here too.
        let printed = RotateWhat::UnlockKey {
            to: KeyTo::Output,
            by: "eve@laptop".to_owned(),
        };
        assert!(run(&fleet, &inventory, rotate(printed, &[])).await);
        fleet.with(|world| assert_eq!(world.keys.printed, Some(2)));
        off(&fleet, &["m3"]);
        let away = plan(&fleet, &inventory, &rotate(key("next"), &[])).await;
        let said = why(&away);
        assert!(
            said.contains("managers 3, reachable 2, majority 2"),
            "{said}"
        );
        assert!(said.contains("--old-key-for m3"), "{said}");
        let wrong = plan(&fleet, &inventory, &rotate(key("next"), &["m9"])).await;
        assert!(why(&wrong).contains("`m9`: the swarm has no such node"));
        assert!(run(&fleet, &inventory, rotate(key("next"), &["m3"])).await);
        fleet.with(|world| {
            assert_eq!(world.keys.files["next.old"], 2);
            assert_eq!(world.keys.files["next"], 3);
        });
    });
}

#[test]
fn a_new_authority_waits_for_nodes_that_are_down_unless_it_is_told_not_to() {
    let inventory = inventory(3, 2);
    paused(async move {
        let fleet = swarm(&inventory).await;
        assert!(run(&fleet, &inventory, rotate(AUTHORITY, &[])).await);
        assert_eq!(secrets(&fleet).authority, 1);
        off(&fleet, &["w2"]);
        let away = plan(&fleet, &inventory, &rotate(AUTHORITY, &[])).await;
        let said = why(&away);
        assert!(said.contains("w2: nodes 5, ready 4: it is down"), "{said}");
        assert!(said.contains("--without w2"), "{said}");
        assert!(run(&fleet, &inventory, rotate(AUTHORITY, &["w2"])).await);
        assert_eq!(secrets(&fleet).authority, 2);
        // It goes on: another run waits for its end and begins no other.
        let again = plan(&fleet, &inventory, &rotate(AUTHORITY, &["w2"])).await;
        let Step::Rotate(RotateCall::Authority { from, .. }) = &again.changes[0].steps[0] else {
            panic!("{again:#?}")
        };
        assert_eq!(*from, None);
        fleet.with(|world| world.hosts.get_mut("w2").unwrap().up = true);
        assert!(apply(&fleet, &again).await);
        let it = secrets(&fleet);
        assert_eq!(it.authority, 2);
        assert!(it.certificates.values().all(|of| *of == 2), "{it:?}");
    });
}

#[test]
fn an_inventory_that_says_how_long_certificates_live_is_not_gone_against() {
    let text = "[cluster]\nname = \"sim\"\n[swarm]\ncert-expiry = \"30d\"\n\
        [[host]]\nname = \"m1\"\naddress = \"198.18.0.1\"\nrole = \"manager\"\n";
    let (inventory, found) = skep::inventory::parse(text, std::path::Path::new("skep.toml"));
    let inventory = inventory.unwrap_or_else(|| panic!("{found:?}"));
    paused(async move {
        let fleet = swarm(&inventory).await;
        let days = |days| RotateWhat::Authority {
            cert_expiry_days: Some(days),
        };
        let other = plan(&fleet, &inventory, &rotate(days(60), &[])).await;
        assert!(
            why(&other).contains("live 30 days, not 60"),
            "{}",
            why(&other)
        );
        let same = plan(&fleet, &inventory, &rotate(days(30), &[])).await;
        assert_eq!(same.refusals, []);
    });
}

#[test]
fn a_rotation_that_is_killed_after_any_step_loses_no_key() {
    let inventory = inventory(3, 1);
    paused(async move {
        for what in [TOKENS, key("key"), AUTHORITY] {
            let mut left = 0;
            loop {
                let fleet = locked(&inventory).await;
                let dies = Dies {
                    fleet: &fleet,
                    left: AtomicUsize::new(left),
                };
                let ended = run(&dies, &inventory, rotate(what.clone(), &[])).await;
                // Whoever comes next saves the key that there is then.
                let saved = RotateWhat::SavedKey {
                    to: KeyTo::File(PathBuf::from("after")),
                    by: "eve@laptop".to_owned(),
                };
                assert!(run(&fleet, &inventory, rotate(saved, &[])).await);
                let present = secrets(&fleet).unlock_key;
                fleet.with(|world| assert_eq!(world.keys.files.get("after").copied(), present));
                // A file that holds a key is not written over: the next run names another.
                let again = match what {
                    RotateWhat::UnlockKey { .. } => key("again"),
                    ref other => other.clone(),
                };
                assert!(run(&fleet, &inventory, rotate(again, &[])).await);
                if ended {
                    break;
                }
                left += 1;
            }
            assert!(
                left > usize::from(what != TOKENS && what != AUTHORITY) * 4,
                "{left}"
            );
        }
    });
}

#[test]
fn the_guard_wants_a_new_key_saved_and_a_quorum() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = locked(&inventory).await;
        let procedure = rotate(key("key"), &[]);
        let seen = gathered(&fleet, &inventory, &procedure).await;
        let good = plan(&fleet, &inventory, &procedure).await;
        let check = |plan: &Plan, gathered: &skep::swarm::Gathered| {
            let swarm = Swarm::see(&inventory, gathered);
            let refusals = guard::check(plan, &inventory, gathered, &swarm);
            let refusals = refusals.iter().map(|it| it.why.clone());
            refusals.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(check(&good, &seen), "");
        let mut unsaved = good.clone();
        unsaved.changes[0].steps.pop();
        assert!(check(&unsaved, &seen).contains("is not saved"));
        off(&fleet, &["m2", "m3"]);
        let down = gathered(&fleet, &inventory, &procedure).await;
        assert!(check(&good, &down).contains("no quorum"));
    });
}

/// No plan holds a secret: it is saved, shown and written down.
#[test]
fn plans_tell_secrets_by_their_digests_alone() {
    let inventory = inventory(3, 1);
    paused(async move {
        let fleet = locked(&inventory).await;
        for what in [TOKENS, key("key"), AUTHORITY] {
            let plan = plan(&fleet, &inventory, &rotate(what, &[])).await;
            let text = serde_json::to_string(&plan).unwrap();
            let steps: Vec<String> = plan
                .changes
                .iter()
                .flat_map(|change| &change.steps)
                .map(ToString::to_string)
                .collect();
            assert!(!text.contains("SWM"), "{text}");
            assert!(steps.iter().all(|step| !step.contains("sha")), "{steps:?}");
        }
    });
}
