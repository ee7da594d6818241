# Devices. `refuse` says why nothing was written; 90 is its status.
refuse() { fail 90 "nothing was written to $1: $2"; }
bound() { if command -v timeout >/dev/null; then timeout -k 5 "$@"; else shift; "$@"; fi; }
# The kernel's name of a device that must be the one that the plan saw: the same size, serial
# number and World Wide Name. Sets `real`.
same_device() {
  command -v udevadm >/dev/null && bound 20 udevadm settle --timeout=15 || :
  real=$(readlink -f "$(device_path "$1")") || refuse "$1" 'it is not there'
  [ -b "$real" ] || refuse "$1" 'it is not there, or no block device'
  about=$(bound 20 lsblk -d -n -b -P -o SIZE,SERIAL,WWN "$real") || refuse "$1" 'lsblk could not read it'
  size=; serial=; wwn=
  size=$(printf '%s\n' "$about" | sed -n 's/.*SIZE="\([^"]*\)".*/\1/p')
  serial=$(printf '%s\n' "$about" | sed -n 's/.*SERIAL="\([^"]*\)".*/\1/p' | sed 's/^ *//; s/ *$//')
  wwn=$(printf '%s\n' "$about" | sed -n 's/.*WWN="\([^"]*\)".*/\1/p' | sed 's/^ *//; s/ *$//')
  if [ "$2" != any ] && [ "$size" != "$2" ]; then refuse "$1" "it has $size bytes, and the plan saw $2"; fi
  if [ "$serial" != "$3" ] || [ "$wwn" != "$4" ]; then
    refuse "$1" "it is another disk than the plan saw: serial '$serial', WWN '$wwn'"
  fi
}
# What is made of `real`, by kernel name and type; `lsblk` lists them in no order. Sets `below`.
family() {
  below=$(bound 20 lsblk -n -r -p -o KNAME,TYPE "$real") || refuse "$1" 'lsblk could not read it'
  case $below in *"$real "*) ;; *) refuse "$1" 'lsblk could not read it' ;; esac
  below=$(printf '%s\n' "$below" | awk -v own="$real" '$1 != own')
}
# What uses `real`: nobody may while something is written to it. Its partitions are no use of it.
in_use() {
  if [ "$(cat "/sys/class/block/${real##*/}/ro")" != 0 ]; then refuse "$1" 'it is read-only'; fi
  family "$1"
  others=$(printf '%s\n' "$below" | grep -v ' part$' || :)
  [ -z "$others" ] || refuse "$1" "it is in use by $(printf '%s' "$others" | tr '\n' ' ')"
  for part in "$real" $(printf '%s\n' "$below" | cut -d ' ' -f 1); do
    for holder in "/sys/class/block/${part##*/}/holders"/*; do
      [ ! -e "$holder" ] || refuse "$1" "it is in use by ${holder##*/}"
    done
    number=$(cat "/sys/class/block/${part##*/}/dev")
    if cut -d ' ' -f 3 /proc/self/mountinfo | grep -qx "$number" ||
      sed 's/.* - //' /proc/self/mountinfo | cut -d ' ' -f 2 | grep -qx "$part"; then
      refuse "$1" "$part is mounted"
    fi
    if cut -d ' ' -f 1 /proc/swaps | grep -qx "$part"; then refuse "$1" "$part is used as swap"; fi
  done
}
# All that is written on `real` and its partitions, by its looks, as `TYPE UUID` lines. A tool that
# fails is no answer.
written() {
  family "$1"
  set -- "$1" "$real" $(printf '%s\n' "$below" | cut -d ' ' -f 1)
  asked=$1
  shift
  bound 60 wipefs --no-act -p -O TYPE,UUID "$@" >/run/skep/wipefs || refuse "$asked" 'wipefs could not read it'
  found=$(grep -v '^#' /run/skep/wipefs | tr ',' ' ' || :)
  rm -f /run/skep/wipefs
}
# Whether `real` is empty; what else is on it is refused, but for a signature of the given UUID
# alone, which is our own work of a run that was cut. Sets `ours`.
empty_device() {
  in_use "$1"
  [ -z "$below" ] || refuse "$1" "it has partitions: $(printf '%s' "$below" | tr '\n' ' ')"
  written "$1"
  ours=
  [ -n "$found" ] || return 0
  if [ -n "$2" ] && [ "$(printf '%s\n' "$found" | sed 's/.* //' | sort -u)" = "$2" ]; then
    ours=yes
    return 0
  fi
  refuse "$1" "it is not empty: $(printf '%s\n' "$found" | tr '\n' ';')"
}
# The file that says which UUID we chose for a device, and for which device. It is there before
# anything is written to the device, so that what a cut run leaves is known as ours. Sets `uuid`.
claim() {
  mkdir -p /var/lib/skep/storage
  chmod 700 /var/lib/skep /var/lib/skep/storage
  uuid=
  if [ -e "$1" ] && grep -qxF "size=$size" "$1" && grep -qxF "serial=$serial" "$1" && grep -qxF "wwn=$wwn" "$1"; then
    uuid=$(sed -n 's/^uuid=//p' "$1")
  fi
}
claim_now() {
  if [ -z "$uuid" ]; then
    uuid=$(cat /proc/sys/kernel/random/uuid)
    # LVM's form: 32 letters in groups.
    if [ "$3" = lvm ]; then
      uuid=$(printf '%s' "$uuid" | tr -d - | sed 's/^\(.\{6\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{6\}\)$/\1-\2-\3-\4-\5-\6-\7/')
    fi
  fi
  [ -n "$uuid" ] || fail 1 'the kernel gave no UUID'
  printf 'device=%s\nsize=%s\nserial=%s\nwwn=%s\nuuid=%s\nstate=%s\n' "$2" "$size" "$serial" "$wwn" "$uuid" "$4" | replace "$1" 600
  sync
}
# Makes a file system; xfs with `ftype=1`, which `overlay2` needs.
# Unfinished work of our own is overwritten; anything else the tools themselves refuse once more.
make_filesystem() {
  type=$1
  target=$2
  id=$3
  force=$4
  set --
  case $type in
    xfs)
      [ -z "$force" ] || set -- -f
      bound 600 mkfs.xfs -q "$@" -n ftype=1 -m uuid="$id" "$target" 9>&- ;;
    ext4)
      [ -z "$force" ] || set -- -F
      bound 1200 mkfs.ext4 -q "$@" -U "$id" "$target" 9>&- ;;
  esac
  sync
  command -v udevadm >/dev/null && bound 60 udevadm settle --timeout=30 || :
}
# LVM must not wait for ever, nor inherit the step's lock.
lvm_do() { verb=$1; shift; bound 300 "$verb" "$@" 9>&-; }
lvm_get() {
  value=$(bound 60 "$@" --noheadings 9>&-) || return 1
  printf '%s' "$value" | tr -d ' '
}
# A volume group is touched only when it bears our tag.
our_group() {
  case ,$(lvm_get vgs -o vg_tags "$1"), in *,skep,*) ;; *) fail 90 "nothing was changed: the volume group $1 is not one that skep made" ;; esac
}
extents_for() { echo $(($(lvm_get vgs -o vg_extent_count "$1") * $2 / 100)); }
monitor_pool() {
  lvm_do lvchange --metadataprofile "$3" "$1/$2"
  lvm_do lvchange --monitor y "$1/$2"
  [ "$(bound 60 lvs --noheadings -o seg_monitor "$1/$2" 9>&- | sed 's/^ *//; s/ *$//')" = monitored ] || fail 1 "the thin pool $1/$2 is not monitored; is dmeventd there?"
}
