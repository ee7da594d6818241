//! Stories of a real cloud: Keystone, Glance, Nova, Neutron and Cinder run on this machine, in
//! namespaces of their own, with fake hosts or with one that runs virtual machines.
//!
//! Needs root, Debian 12 and the packages of `tests/openstack/install`; tests/openstack/README.md says
//! more. Run it with `cargo test --test openstack -- --ignored --nocapture --test-threads=1`.

#![expect(clippy::unwrap_used, reason = "a test: a failed step ends it")]

#[path = "openstack/client.rs"]
mod client;
#[path = "openstack/faults.rs"]
mod faults;
#[path = "openstack/harness.rs"]
mod harness;
#[path = "lab/run.rs"]
#[expect(dead_code, reason = "the stories of containers do more with runs")]
mod run;
#[path = "lab/tell.rs"]
mod tell;
#[path = "openstack/world.rs"]
mod world;

use tell::tell;
use world::{Hosts, World};

#[test]
#[ignore = "needs root and starts an OpenStack of fake hosts"]
fn a_cloud_of_fake_hosts() {
    let world = World::new(Hosts::Fake);
    tell(
        &world,
        &[
            ("nothing is there at first", harness::nothing_there),
            ("one of everything", harness::smoke),
            ("an API goes and comes back", harness::an_api_goes),
            ("a quota is set", harness::quota),
            ("the binary in the cloud's network", harness::binary),
        ],
    );
}

#[test]
#[ignore = "needs root and starts an OpenStack of fake hosts"]
fn the_client_and_a_cloud() {
    let world = World::new(Hosts::Fake);
    let clouds = world.clouds();
    world.inside(|| {
        client::every_verb(&clouds);
        client::refusals(&clouds);
        client::failing_network(&clouds);
    });
}

#[test]
#[ignore = "needs root and starts an OpenStack with virtual machines"]
fn a_cloud_of_virtual_machines() {
    let world = World::new(Hosts::Real);
    tell(
        &world,
        &[("a server is reached and looked at", harness::smoke)],
    );
}
