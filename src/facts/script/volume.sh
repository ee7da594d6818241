# The path of a device. A volume of a cloud, `volume:NAME/ID`, is found by its serial number, of which
# virtio and others show 20 characters. One that was attached just now is waited for.
device_path() {
  case $1 in volume:*/*) ;; *) printf '%s\n' "$1"; return ;; esac
  id=${1##*/}
  short=$(printf %.20s "$id")
  wwn=$(printf %s "$id" | tr -d -)
  path=/dev/disk/by-id/virtio-$short
  for _ in 1 2 3 4 5; do
    for link in "$path" /dev/disk/by-id/*_"$short" /dev/disk/by-id/*"$id" "/dev/disk/by-id/wwn-0x$wwn"; do
      if [ -b "$link" ]; then printf '%s\n' "$link"; return; fi
    done
    sleep 1
  done
  printf '%s\n' "$path"
}
