//! Stories of real machines: the real binary makes virtual machines with kernels and disks of their
//! own, gives Docker its storage, mounts folders over NFS, and everything that can go wrong is made to
//! go wrong.
//!
//! Needs root, QEMU and a Debian mirror; about twenty minutes on two processors without KVM. Run it
//! with `cargo test --test vm -- --ignored --nocapture --test-threads=1`.

#![expect(clippy::unwrap_used, reason = "a test: a failed step ends it")]

#[path = "vm/nfs.rs"]
mod nfs;
#[path = "lab/run.rs"]
#[expect(dead_code, reason = "the stories of containers do more with runs")]
mod run;
#[path = "vm/storage.rs"]
mod storage;
#[path = "lab/tell.rs"]
mod tell;
#[path = "vm/world.rs"]
mod world;

use tell::tell;
use world::World;

#[test]
#[ignore = "needs root and makes virtual machines"]
fn a_server_and_two_nodes_with_thin_pools() {
    let world = World::new("test-nfs");
    tell(
        &world,
        &[
            (
                "from nothing to a file on all of them",
                nfs::server_and_nodes,
            ),
            ("thin pools for Docker", storage::thin_pools),
            ("volumes of services", nfs::volumes_of_services),
            ("a published port on every node", storage::mesh),
            ("the nodes boot anew", nfs::reboot),
            ("the pools after that", storage::thin_pools),
            ("everything off, and on again", nfs::off_and_on),
            ("the server without power", nfs::server_gone),
            ("less in the inventory", nfs::removed),
        ],
    );
}

#[test]
#[ignore = "needs root and makes virtual machines"]
fn disks_that_hold_something_stay_as_they_are() {
    let world = World::new("test-disks");
    tell(
        &world,
        &[
            ("disks of every kind are refused", storage::refusals),
            (
                "the power fails while storage is set up",
                storage::power_cut,
            ),
            (
                "other storage under an engine that holds data",
                storage::held,
            ),
            ("one disk is erased as asked for", storage::wipe),
        ],
    );
}

#[test]
#[ignore = "needs root and makes virtual machines"]
fn logical_volumes_for_a_newer_engine() {
    let world = World::new("test-lvm");
    tell(
        &world,
        &[
            (
                "no thin pool for an engine without devicemapper",
                storage::no_devicemapper,
            ),
            ("logical volumes with xfs", storage::volumes),
            ("a second disk and a larger volume", storage::grow),
        ],
    );
}
