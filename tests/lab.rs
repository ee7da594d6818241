//! Stories of real hosts: the real binary makes containers with systemd and sshd, brings a swarm up
//! on them, and everything that can go wrong is made to go wrong.
//!
//! Needs root, Docker's packages and a Debian mirror; about twenty minutes on two processors. Run
//! it with `cargo test --test lab -- --ignored --nocapture --test-threads=1`.

#![expect(clippy::unwrap_used, reason = "a test: a failed step ends it")]

#[path = "lab/backup.rs"]
mod backup;
#[path = "lab/cuts.rs"]
mod cuts;
#[path = "lab/drill.rs"]
mod drill;
#[path = "lab/hard.rs"]
mod hard;
#[path = "lab/hooks.rs"]
mod hooks;
#[path = "lab/life.rs"]
mod life;
#[path = "lab/nodes.rs"]
mod nodes;
#[path = "lab/playbook.rs"]
mod playbook;
#[path = "lab/recover.rs"]
mod recover;
#[path = "lab/rotate.rs"]
mod rotate;
#[path = "lab/run.rs"]
mod run;
#[path = "lab/shutdown.rs"]
mod shutdown;
#[path = "lab/start.rs"]
mod start;
#[path = "twins/tale.rs"]
mod tale;
#[path = "lab/tell.rs"]
mod tell;
#[path = "lab/tokens.rs"]
mod tokens;
#[path = "lab/trouble.rs"]
mod trouble;
#[path = "twins/twenty.rs"]
mod twenty;
#[path = "lab/twins.rs"]
mod twins;
#[path = "lab/upgrade.rs"]
mod upgrade;
#[path = "lab/world.rs"]
mod world;

use tell::tell;
use world::World;

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_swarm_is_made_and_grows_and_bears_trouble() {
    let world = World::new("test-life");
    life::inventories(&world);
    tell(
        &world,
        &[
            ("from nothing to five hosts in two commands", life::bring_up),
            ("status for programs", life::status),
            ("a second run changes nothing", life::again),
            ("verbs for work by hand", life::verbs),
            ("an even number of managers", life::even),
            ("a saved plan", life::saved),
            ("some hosts only", life::on),
            ("a host that is down", trouble::host_down),
            ("a host key that changed", trouble::host_key),
            ("sudo with a password", trouble::sudo),
            ("an engine that hangs", trouble::hung_engine),
            ("two runs at once", trouble::two_at_once),
            ("quorum lost", trouble::quorum_lost),
            ("a host in another swarm", trouble::foreign),
            ("the first manager installed anew", trouble::reinstalled),
            ("no join token anywhere", life::no_tokens),
            ("a service for nodes that come and go", nodes::service),
            ("work away and back, labels", nodes::work_and_labels),
            ("hooks have a say", hooks::say),
            ("roles", nodes::roles),
            ("nodes come and go", nodes::come_and_go),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_run_that_is_cut_is_finished_by_the_next() {
    let world = World::new("test-cuts");
    tell(
        &world,
        &[
            ("another package manager at work", cuts::apt_lock),
            ("connections cut", cuts::connection_cut),
            ("Ctrl-C", cuts::interrupted),
            ("kill -9, ten times", cuts::killed),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn failures_are_practised() {
    let world = World::new("test-drill");
    tell(
        &world,
        &[
            ("a swarm to practise on", drill::begin),
            ("what must not be broken", drill::refused),
            ("five failures", drill::practised),
            ("Ctrl-C in the middle", drill::interrupted),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn engines_are_upgraded_and_no_request_is_lost() {
    let world = World::new("test-upgrade");
    tell(
        &world,
        &[
            ("a service on Debian's engine", upgrade::begin),
            ("what must not be done", upgrade::refused),
            ("five engines upgraded", upgrade::upgraded),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_playbook_does_what_it_says_and_nothing_twice() {
    let world = World::new("test-playbook");
    tell(
        &world,
        &[
            ("two hosts and a playbook", playbook::begin),
            ("every kind of task", playbook::all_kinds),
            ("a second run, drift, a variable", playbook::again),
            ("what fails and what is refused", playbook::wrong),
            ("a playbook that skep brings along", playbook::shipped),
            ("no secret anywhere", playbook::no_secret),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn real_engines_tell_the_twenty_tales_of_the_model() {
    let world = World::new("test-twins");
    tell(
        &world,
        &[
            ("five hosts", twins::hosts),
            ("the twenty tales", twins::twenty),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_backup_brings_a_lost_swarm_back() {
    let world = World::new("test-backup");
    life::inventories(&world);
    tell(
        &world,
        &[
            ("a service and a secret", backup::begin),
            ("a backup is taken", backup::taken),
            ("all managers destroyed", backup::restored),
            ("a backup is tried out", backup::verified),
            ("kill -9 while the engine stands", backup::killed),
            (
                "all managers destroyed, and locked",
                backup::restored_locked,
            ),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn a_lost_quorum_is_recovered() {
    let world = World::new("test-recover");
    life::inventories(&world);
    tell(
        &world,
        &[
            ("a service and a secret", recover::begin),
            ("what must not be done", recover::refused),
            ("two of three managers destroyed", recover::recovered),
            ("new join tokens", rotate::tokens),
            ("the unlock key saved and made anew", rotate::unlock_key),
            ("a new certificate authority", rotate::authority),
            ("two of three managers away", recover::lost),
            ("back to a copy", recover::gone_back),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn everything_is_switched_off_and_comes_back() {
    let world = World::new("test-off");
    life::inventories(&world);
    tell(
        &world,
        &[
            ("three stacks", shutdown::begin),
            ("what must not be done", shutdown::refused),
            (
                "cut, a worker dead, from elsewhere",
                shutdown::cut_and_finished,
            ),
            ("all back", start::back),
            ("removed, with a registry, cut", start::registry),
            ("the power of everything cut", start::outage),
        ],
    );
}

#[test]
#[ignore = "needs root and makes a lab of containers"]
fn nothing_is_lost_on_a_hard_way_off_and_back() {
    let world = World::new("test-hard");
    life::inventories(&world);
    tell(
        &world,
        &[
            ("three stacks, managers that are locked", hard::begin),
            ("off, killed after every step", hard::off),
            ("back, killed after every step", hard::back),
            ("off in too short a time, and back", hard::too_short),
        ],
    );
}
