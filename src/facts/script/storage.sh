# The kernel's own tables; those of containers and of memory say nothing of disks.
begin mountinfo
grep -vE ' - (overlay|proc|sysfs|tmpfs|devtmpfs|cgroup2?|nsfs|mqueue|devpts) ' /proc/self/mountinfo
end mountinfo 0
begin swaps; cat /proc/swaps; end swaps $?
# A device: what it is, what is made of it, and all that is written on it, each in a section with a
# status of its own, so that a tool that fails or hangs is never "nothing found".
device_section() {
  begin "device$1"
  set -- "$1" "$(device_path "$2")"
  real=$(readlink -f "$2")
  code=0
  if [ -z "$real" ] || [ ! -e "$real" ]; then missing "$2"; code=$?
  elif [ ! -b "$real" ]; then printf 'it is no block device\n'; code=1
  fi
  if [ $code != 0 ]; then end "device$1" $code; return; fi
  printf '%s\n' "$real"
  for link in $(guard 5 find -L /dev/disk/by-id -samefile "$real"); do printf 'link %s\n' "$link"; done
  for holder in /sys/class/block/"${real##*/}"/holders/*; do
    [ -e "$holder" ] && printf 'holder %s\n' "${holder##*/}"
  done
  end "device$1" 0
  begin "lsblk$1"
  # With the name it is a tree; without, a list in no order.
  guard 10 lsblk -J -b -o NAME,KNAME,TYPE,SIZE,RO,RM,SERIAL,WWN,MODEL,MAJ:MIN "$real"
  end "lsblk$1" $?
  # `wipefs` reads one device after the other; partitions are those of the kernel's table.
  set -- "$1" "$real"
  for part in /sys/class/block/"${real##*/}"/*/partition; do
    [ -e "$part" ] && part=${part%/partition} && set -- "$@" "/dev/${part##*/}"
  done
  index=$1
  shift
  begin "wipefs$index"
  if command -v wipefs >/dev/null; then
    if [ -r "$real" ]; then guard 20 wipefs --no-act -J -O DEVICE,TYPE,UUID,LABEL "$@" 2>&1; code=$?; else code=12; fi
  else
    printf 'there is no wipefs\n'
    code=1
  fi
  end "wipefs$index" $code
}
directory_section() {
  begin "directory$1"
  code=0
  if remote "$2"; then code=11
  elif [ ! -d "$2" ]; then missing "$2"; code=$?
  elif [ ! -r "$2" ]; then code=12
  else
    printf 'inside %s\n' "$(guard 5 ls -A "$2" | head -n 1)"
    printf 'device %s\n' "$(stat -c %d "$2")"
    guard 5 df -Pk "$2"
    code=$?
  fi
  end "directory$1" $code
}
