//! Scripts for disks. Each looks at the device again right before it writes, because the plan is
//! older than that, and each can be cut at any point and run again.

use crate::inventory::Filesystem;
use crate::plan::step::{DeviceId, StorageCall};
use crate::shell::quote;

/// What all of them share.
const SHARED: &str = concat!(
    include_str!("../../facts/script/volume.sh"),
    include_str!("storage.sh")
);

/// Where the files are that say which UUID was chosen for which device.
const CLAIMS: &str = "/var/lib/skep/storage";

/// The file that says which UUID was chosen for the device of that path.
pub(crate) fn claim_path(device: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let name: String = device
        .trim_start_matches("/dev/")
        .chars()
        .map(|c| if plain(c) { c } else { '+' })
        .collect();
    format!("{CLAIMS}/{name}")
}

/// The body of the script, and how many seconds it may take.
pub(super) fn body(call: &StorageCall) -> (String, u32) {
    let (body, seconds) = match call {
        StorageCall::Wipe { device, .. } => (wipe(device), 300),
        StorageCall::PhysicalVolume { device, group } => (physical(device, group), 900),
        StorageCall::ResizePhysicalVolume { device, group } => (resize(device, group), 600),
        StorageCall::ThinPool {
            group,
            name,
            data_percent,
            metadata_percent,
            chunk_kib,
            profile,
        } => {
            let sizes = (*data_percent, *metadata_percent, *chunk_kib);
            (thin_pool(group, name, sizes, profile), 1800)
        }
        StorageCall::MonitorPool {
            group,
            name,
            profile,
        } => {
            let words = [group, name, profile].map(|word| quote(word));
            (format!("monitor_pool {}\n", words.join(" ")), 300)
        }
        StorageCall::Volume {
            group,
            name,
            percent,
            filesystem,
        } => (volume(group, name, *percent, *filesystem), 1800),
        StorageCall::GrowVolume {
            group,
            name,
            percent,
            filesystem,
            mounted,
        } => (grow(group, name, *percent, *filesystem, mounted), 2400),
        StorageCall::Format { device, filesystem } => (format_device(device, *filesystem), 1800),
        StorageCall::MountUnit {
            device,
            path,
            content,
        } => (mount_unit(device, path, content), 120),
        StorageCall::Mount { unit, path } => (mount(unit, path), 300),
    };
    (format!("{SHARED}{body}"), seconds)
}

/// `sizes` are the percentages of data and metadata, and the chunk size in KiB.
fn thin_pool(group: &str, name: &str, sizes: (u8, u8, u32), profile: &str) -> String {
    let (data_percent, metadata_percent, chunk_kib) = sizes;
    format!(
        r#"group={}
pool={}
our_group "$group"
kind=$(lvm_get lvs -o segtype "$group/$pool" 2>/dev/null || :)
if [ "$kind" != thin-pool ]; then
  # What a cut run left of it holds nothing yet: its tag says that it is unfinished.
  for part in "$pool" "${{pool}}meta"; do
    if ! tags=$(lvm_get lvs -o lv_tags "$group/$part" 2>/dev/null); then continue; fi
    case ,$tags, in
      *,skep.new,*) lvm_do lvremove -y "$group/$part" ;;
      *) fail 90 "nothing was changed: the logical volume $group/$part is there and is not of skep's making" ;;
    esac
  done
  lvm_do lvcreate -y --wipesignatures y --addtag skep.new -n "$pool" -l "$(extents_for "$group" {data_percent})" "$group"
  lvm_do lvcreate -y --wipesignatures y --addtag skep.new -n "${{pool}}meta" -l "$(extents_for "$group" {metadata_percent})" "$group"
  lvm_do lvconvert -y --zero n -c {chunk_kib}K --thinpool "$group/$pool" --poolmetadata "$group/${{pool}}meta"
fi
monitor_pool "$group" "$pool" {}
lvm_do lvchange --deltag skep.new "$group/$pool" || :
"#,
        quote(group),
        quote(name),
        quote(profile)
    )
}

fn volume(group: &str, name: &str, percent: u8, filesystem: Filesystem) -> String {
    format!(
        r#"group={}
volume={}
our_group "$group"
tags=$(lvm_get lvs -o lv_tags "$group/$volume" 2>/dev/null || echo none)
case ,$tags, in
  ,none,) lvm_do lvcreate -y --wipesignatures y --addtag skep.new -n "$volume" -l "$(extents_for "$group" {percent})" "$group" ;;
  *,skep.new,*) ;;
  *) say 'it is there already'; return 0 ;;
esac
real=$(readlink -f "/dev/$group/$volume")
in_use "/dev/$group/$volume"
make_filesystem {} "/dev/$group/$volume" "$(cat /proc/sys/kernel/random/uuid)" force
lvm_do lvchange --deltag skep.new "$group/$volume"
"#,
        quote(group),
        quote(name),
        filesystem.name()
    )
}

fn grow(group: &str, name: &str, percent: u8, filesystem: Filesystem, mounted: &str) -> String {
    format!(
        r#"group={}
volume={}
point={}
our_group "$group"
wanted=$(extents_for "$group" {percent})
extent=$(lvm_get vgs --units b --nosuffix -o vg_extent_size "$group")
now=$(($(lvm_get lvs --units b --nosuffix -o lv_size "$group/$volume") / extent))
# The tag says until the end that the file system may be smaller than its volume.
lvm_do lvchange --addtag skep.grow "$group/$volume"
if [ "$wanted" -gt "$now" ]; then lvm_do lvextend -l "$wanted" "$group/$volume"; fi
number=$(cat "/sys/class/block/$(basename "$(readlink -f "/dev/$group/$volume")")/dev")
awk -v number="$number" -v point="$point" '$3 == number && $5 == point {{ found = 1 }} END {{ exit !found }}' /proc/self/mountinfo ||
  fail 1 "$group/$volume is not mounted at $point"
case {} in
  xfs) bound 300 xfs_growfs "$point" >/dev/null ;;
  ext4) bound 1200 resize2fs "/dev/$group/$volume" ;;
esac
lvm_do lvchange --deltag skep.grow "$group/$volume"
"#,
        quote(group),
        quote(name),
        quote(mounted),
        filesystem.name()
    )
}

fn format_device(device: &DeviceId, filesystem: Filesystem) -> String {
    format!(
        r#"{}claim "$claim"
empty_device "$device" "$uuid"
if [ -n "$ours" ] && grep -qx state=done "$claim"; then say 'it is done already'; return 0; fi
claim_now "$claim" "$device" filesystem new
make_filesystem {} "$real" "$uuid" "$ours"
claim_now "$claim" "$device" filesystem done
"#,
        head(device),
        filesystem.name()
    )
}

fn mount_unit(device: &DeviceId, path: &str, content: &str) -> String {
    format!(
        r#"{}uuid=$(bound 20 blkid -p -s UUID -o value "$real") || fail 1 "$device has no UUID"
sed "s/@UUID@/$uuid/" <<'SKEP_CONTENT' | replace {} 644
{content}SKEP_CONTENT
"#,
        head(device),
        quote(path)
    )
}

fn mount(unit: &str, path: &str) -> String {
    format!(
        r#"unit={}
point={}
mkdir -p "$point"
systemctl daemon-reload
if ! cut -d ' ' -f 5 /proc/self/mountinfo | grep -qxF "$point"; then
  [ -z "$(ls -A "$point")" ] || fail 90 "$point is not empty; nothing was mounted over it"
fi
systemctl enable --quiet -- "$unit"
if systemctl is-failed --quiet -- "$unit"; then systemctl reset-failed -- "$unit"; fi
if ! bound 200 systemctl start -- "$unit"; then
  systemctl status --no-pager --lines 5 -- "$unit" >&2 || :
  fail 1 "systemctl could not mount $point"
fi
cut -d ' ' -f 5 /proc/self/mountinfo | grep -qxF "$point" || fail 1 "nothing is mounted at $point"
"#,
        quote(unit),
        quote(path)
    )
}

/// Finds the device that the plan saw.
fn head(device: &DeviceId) -> String {
    format!(
        "device={}\nclaim={}\nsame_device \"$device\" {} {} {}\n",
        quote(&device.path),
        quote(&claim_path(&device.path)),
        device.size,
        quote(&device.serial),
        quote(&device.wwn)
    )
}

fn wipe(device: &DeviceId) -> String {
    // Partitions first: what is on them would show again in a new table of the same layout. LVM
    // that has the disk open, or anybody else, makes `wipefs` fail, for it opens it alone.
    format!(
        r#"{}in_use "$device"
set -- $(printf '%s\n' "$below" | cut -d ' ' -f 1)
for part in "$@"; do bound 60 wipefs --all "$part"; done
bound 60 wipefs --all "$real"
sync
if [ $# -gt 0 ]; then
  bound 30 blockdev --rereadpt "$real" 2>/dev/null || {{ command -v partx >/dev/null && bound 30 partx -d "$real"; }} || :
fi
command -v udevadm >/dev/null && bound 60 udevadm settle --timeout=30 || :
rm -f "$claim"
written "$device"
[ -z "$found" ] || fail 1 "$device still holds $found"
"#,
        head(device)
    )
}

fn physical(device: &DeviceId, group: &str) -> String {
    format!(
        r#"{}group={}
claim "$claim"
member=$(lvm_get pvs -o vg_name "$real" 2>/dev/null || :)
if [ -n "$uuid" ] && [ "$member" = "$group" ] && [ "$(lvm_get pvs -o pv_uuid "$real")" = "$uuid" ]; then
  our_group "$group"
  return 0
fi
empty_device "$device" "$uuid"
others=$(lvm_get vgs -o vg_name "$group" 2>/dev/null || :)
[ -z "$others" ] || our_group "$group"
claim_now "$claim" "$device" lvm new
if [ "$(lvm_get pvs -o pv_uuid "$real" 2>/dev/null || :)" != "$uuid" ]; then
  # A label that was half written when the run was cut is our own.
  [ -z "$ours" ] || bound 60 wipefs --all "$real"
  lvm_do pvcreate --uuid "$uuid" --norestorefile "$real"
fi
if [ -z "$others" ]; then lvm_do vgcreate --addtag skep "$group" "$real"; else lvm_do vgextend "$group" "$real"; fi
claim_now "$claim" "$device" lvm done
"#,
        head(device),
        quote(group)
    )
}

fn resize(device: &DeviceId, group: &str) -> String {
    // The size is that of now; it may have grown once more.
    format!(
        r#"device={}
same_device "$device" any {} {}
[ "$(lvm_get pvs -o vg_name "$real")" = {} ] || fail 90 "$device is not in the volume group any more"
lvm_do pvresize "$real"
"#,
        quote(&device.path),
        quote(&device.serial),
        quote(&device.wwn),
        quote(group)
    )
}

#[cfg(test)]
mod tests;
