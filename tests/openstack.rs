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
#[path = "openstack/images.rs"]
mod images;
#[path = "openstack/login.rs"]
mod login;
#[path = "openstack/real.rs"]
mod real;
#[path = "lab/run.rs"]
#[expect(dead_code, reason = "the stories of containers do more with runs")]
mod run;
#[path = "openstack/servers.rs"]
mod servers;
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
            ("every verb of the client", |w| {
                w.inside(|| client::every_verb(&w.clouds()));
            }),
            ("what the client is refused", |w| {
                w.inside(|| client::refusals(&w.clouds()));
            }),
            ("the client on a failing network", |w| {
                w.inside(|| client::failing_network(&w.clouds()));
            }),
            ("an application credential", login::application_credential),
            ("a network of the project", servers::a_network),
            ("servers that are refused", servers::refused),
            ("a zone that is full", servers::elsewhere),
            ("servers that are made once", servers::made_once),
            (
                "a server that is no host any more",
                servers::no_host_any_more,
            ),
            ("servers that are destroyed", servers::destroyed),
            ("images of a cluster", images::made_and_removed),
            ("nothing but the network is left", servers::no_network),
            ("nothing is there in the end", harness::nothing_there),
        ],
    );
}

#[test]
#[ignore = "needs root and starts an OpenStack with virtual machines"]
fn a_cloud_of_virtual_machines() {
    let world = World::new(Hosts::Real);
    tell(
        &world,
        &[
            ("a network of the project", servers::a_network),
            ("a key, and a way in", real::a_way_in),
            ("a manager with a volume", real::one_manager),
            ("a worker more, and a larger volume", real::one_more),
            ("a service, and large packets", real::a_service),
            ("off and on again", real::off_and_on),
            ("a worker less, and then all of it", real::gone),
            ("no way in", real::no_way_in),
            ("nothing but the network is left", servers::no_network),
            ("nothing is there in the end", harness::nothing_there),
        ],
    );
}
