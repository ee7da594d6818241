//! The data on disks: whatever a host says of a disk, and whenever a run is cut, nothing is written
//! to what holds anything.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use skep::execute::{self, Stop};
use skep::facts::{BlockDevice, File, HostFacts, Lvm, MountOf, Probe, Signature};
use skep::fleet::sim::{Faults, SimDisk, SimFleet, World};
use skep::inventory::{self, Inventory};
use skep::known::Known;
use skep::plan::{Plan, Risk, Step, StorageCall};
use skep::resource::{EngineStorage, Resource, StorageWipe, Verdict, probes_of};

const DISK: &str = "/dev/disk/by-id/d1";

fn read(storage: &str) -> Inventory {
    let text = format!(
        "[cluster]\nname = \"c\"\n[swarm]\ndefault-addr-pool = [\"172.30.0.0/16\"]\n[docker]\nversion = \"20.10\"\n{storage}\n[[host]]\nname = \"m[1-3]\"\naddress = \"198.18.0.[1-3]\"\nrole = \"manager\"\n"
    );
    let (inventory, found) = inventory::parse(&text, Path::new("skep.toml"));
    inventory.unwrap_or_else(|| panic!("{found:?}"))
}

fn storages() -> impl Strategy<Value = Inventory> {
    prop::sample::select(vec![
        read(&format!("[storage.disk]\ndevice = \"{DISK}\"")),
        read(&format!(
            "[storage.lvm]\ndevice = \"{DISK}\"\ncontainerd-percent = 20"
        )),
        read(&format!(
            "[storage.direct-lvm]\ndevice = \"{DISK}\"\ndata-percent = 80"
        )),
    ])
}

fn signature() -> impl Strategy<Value = Signature> {
    let kinds = vec![
        "ext4",
        "xfs",
        "btrfs",
        "gpt",
        "dos",
        "LVM2_member",
        "linux_raid_member",
        "crypto_LUKS",
        "swap",
        "zfs_member",
        "something-new",
    ];
    let uuids = vec!["", "claimed", "other", "pv"];
    let parts = vec!["/dev/vdb", "/dev/vdb1"];
    let (kinds, uuids, parts) = (
        prop::sample::select(kinds),
        prop::sample::select(uuids),
        prop::sample::select(parts),
    );
    (kinds, uuids, parts).prop_map(|(kind, uuid, device)| Signature {
        device: device.to_owned(),
        kind: kind.to_owned(),
        uuid: uuid.to_owned(),
        label: String::new(),
    })
}

prop_compose! {
    fn device()(
        signatures in prop::collection::vec(signature(), 0..3),
        partitions in prop::collection::vec(Just("/dev/vdb1".to_owned()), 0..2),
        users in prop::collection::vec(Just("dm-0 (lvm)".to_owned()), 0..2),
        points in prop::collection::vec(prop::sample::select(vec!["/", "/mnt", "/var/lib/docker"]), 0..2),
        swaps in prop::collection::vec(Just("/dev/vdb".to_owned()), 0..2),
        read_only in prop::bool::weighted(0.1),
        removable in prop::bool::weighted(0.1),
        size in prop::sample::select(vec![0_u64, 8 << 30]),
    ) -> BlockDevice {
        BlockDevice {
            path: "/dev/vdb".to_owned(),
            kind: "disk".to_owned(),
            size,
            read_only,
            removable,
            serial: "d1".to_owned(),
            signatures,
            partitions,
            users,
            mounts: points.into_iter().map(|point| MountOf {
                device: "/dev/vdb".to_owned(),
                point: point.to_owned(),
            }).collect(),
            swaps,
            ..BlockDevice::default()
        }
    }
}

fn facts(inventory: &Inventory, device: BlockDevice, claimed: bool, lvm: bool) -> HostFacts {
    let mut facts = HostFacts {
        engine: Known::Absent,
        swarm: Known::Absent,
        leftovers: Known::Absent,
        lvm: if lvm {
            Known::Value(Lvm::default())
        } else {
            Known::Absent
        },
        ..HostFacts::default()
    };
    for probe in probes_of(&inventory.hosts[0]) {
        match probe {
            Probe::File(path) => {
                let claim = path.starts_with("/var/lib/skep/storage/") && claimed;
                let content = "size=8589934592\nserial=d1\nwwn=\nuuid=claimed\nstate=new\n";
                let known = if claim {
                    Known::Value(File {
                        content: Some(content.to_owned()),
                        ..File::default()
                    })
                } else {
                    Known::Absent
                };
                facts.files.insert(path, known);
            }
            Probe::Package(name) => drop(facts.packages.insert(name, Known::Absent)),
            Probe::Directory(path) => drop(facts.directories.insert(path, Known::Absent)),
            _ => {}
        }
    }
    let device = Known::Value(device);
    facts.devices.insert(DISK.to_owned(), device);
    facts
}

/// The steps that write to a disk.
fn writes(verdict: &Verdict) -> Vec<&StorageCall> {
    let Verdict::Change(draft) = verdict else {
        return Vec::new();
    };
    let calls = draft.steps.iter().filter_map(|step| match step {
        Step::Storage(call) => Some(call),
        _ => None,
    });
    calls.filter(|call| call.writes().is_some()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_device_that_holds_or_does_anything_is_never_written_to(
        mut inventory in storages(),
        device in device(),
        claimed: bool,
        lvm: bool,
        wipe: bool,
    ) {
        let idle = device.mounts.is_empty()
            && device.users.is_empty()
            && device.swaps.is_empty()
            && !device.read_only
            && !device.removable
            && device.size > 0;
        let bare = device.signatures.is_empty() && device.partitions.is_empty();
        let ours = claimed
            && device.partitions.is_empty()
            && device.signatures.iter().all(|it| it.uuid == "claimed");
        let facts = facts(&inventory, device, claimed, lvm);
        let host = &mut inventory.hosts[0];
        host.wipe = wipe.then(|| DISK.to_owned());
        let planned = EngineStorage::of(host).unwrap().plan(&facts);
        if !writes(&planned).is_empty() {
            prop_assert!(idle && (bare || ours || wipe), "{planned:?}");
        }
        let wipes = writes(&planned).iter().any(|it| matches!(it, StorageCall::Wipe { .. }));
        prop_assert!(!wipes, "{planned:?}");
        if let Some(resource) = StorageWipe::of(host) {
            let planned = resource.plan(&facts);
            if let Verdict::Change(draft) = &planned {
                prop_assert!(idle && !bare, "{planned:?}");
                prop_assert_eq!(draft.risk, Risk::Destructive);
                prop_assert_eq!(draft.steps.len(), 1);
                prop_assert!(draft.summary.starts_with("ERASE everything on "));
            }
        }
    }
}

fn fleet(inventory: &Inventory, faults: Faults, seed: u64, holds: &[bool]) -> SimFleet {
    let mut world = World::fresh(inventory);
    for (index, host) in world.hosts.values_mut().enumerate() {
        let mut disk = SimDisk::default();
        if holds.get(index) == Some(&true) {
            "ext4".clone_into(&mut disk.content);
            "somebody's".clone_into(&mut disk.uuid);
        }
        host.storage.disks.insert(DISK.to_owned(), disk);
    }
    SimFleet::new(world, faults, seed)
}

async fn plan(fleet: &SimFleet, inventory: &Inventory) -> Plan {
    let gathered = skep::gather::gather(fleet, &inventory.hosts, &[], &|_| {}).await;
    let all: BTreeSet<String> = inventory.hosts.iter().map(|it| it.name.clone()).collect();
    skep::plan::build(inventory, &gathered, &all)
}

fn untouched(fleet: &SimFleet) {
    fleet.with(|world| {
        for (name, host) in &world.hosts {
            assert_eq!(host.storage.lost, Vec::<String>::new(), "{name}");
        }
    });
}

fn paused<F: Future<Output = ()>>(future: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.unwrap().block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Cut at any moment, with steps that fail: what is begun is completed, and the disk of somebody
    /// else stays as it is.
    #[test]
    fn storage_comes_up_through_accidents_and_loses_nothing(
        inventory in storages(),
        seed: u64,
        holds in prop::collection::vec(prop::bool::weighted(0.2), 3),
        lost in 0_u32..150,
        failed in 0_u32..100,
        cuts in prop::collection::vec(10_u64..60_000, 0..5),
    ) {
        let faults = Faults { lost_before: lost, lost_after: lost, failed, ..Faults::default() };
        let fleet = fleet(&inventory, faults, seed, &holds);
        paused(async move {
            for cut in cuts {
                let plan = plan(&fleet, &inventory).await;
                if plan.refusals.is_empty() {
                    let stop = Stop::default();
                    let run = execute::run(&fleet, &plan.changes, &stop, &|_| {});
                    let _ = tokio::time::timeout(Duration::from_millis(cut), run).await;
                }
                untouched(&fleet);
            }
            fleet.set_faults(Faults::default());
            for _ in 0..5 {
                let plan = plan(&fleet, &inventory).await;
                if holds.contains(&true) {
                    assert!(!plan.refusals.is_empty(), "somebody's disk is refused");
                    break;
                }
                assert_eq!(plan.refusals, []);
                if plan.is_empty() {
                    return;
                }
                execute::run(&fleet, &plan.changes, &Stop::default(), &|_| {}).await.unwrap();
            }
            untouched(&fleet);
            assert!(holds.contains(&true), "{:#?}", plan(&fleet, &inventory).await);
        });
    }
}

#[test]
fn a_wipe_erases_the_named_device_of_the_named_host_and_no_other() {
    let mut inventory = read(&format!("[storage.disk]\ndevice = \"{DISK}\""));
    inventory.hosts[0].wipe = Some(DISK.to_owned());
    let one = fleet(&inventory, Faults::default(), 1, &[true, false, false]);
    let two = fleet(&inventory, Faults::default(), 1, &[true, true, false]);
    paused(async move {
        let planned = plan(&one, &inventory).await;
        assert_eq!(planned.refusals, []);
        let wipes = planned
            .changes
            .iter()
            .filter(|it| it.risk == Risk::Destructive);
        assert_eq!(wipes.map(|it| it.host.as_str()).collect::<Vec<_>>(), ["m1"]);
        let planned = plan(&two, &inventory).await;
        let refused = planned.refusals.iter().filter_map(|it| it.host.as_deref());
        assert!(refused.eq(["m2"]), "{:?}", planned.refusals);
    });
}
