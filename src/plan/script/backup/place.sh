placed() {
  read -r word of when <"$dir/state" 2>/dev/null || return 1
  # An old mark tells of another restore.
  [ "$word" = placed ] && [ "$of" = "$sum" ] && [ $(($(date +%s) - when)) -lt 3600 ]
}
if ! placed; then
  [ -d "$dir/new/swarm" ] || fail 1 "nothing was brought to $dir/new"
  within 60 systemctl stop docker.socket >/dev/null 2>&1 || :
  within 240 systemctl stop -- $unit >/dev/null 2>&1 || :
  case $(systemctl show -p ActiveState --value -- $unit) in
    inactive | failed) ;;
    *) fail 1 "the engine does not stop" ;;
  esac
  mkdir -p "$root"
  # An engine that is in no swarm has an empty folder.
  if [ -e "$root/swarm" ] && ! rmdir -- "$root/swarm" 2>/dev/null; then
    number=1
    while [ -e "$root/swarm.skep-old-$number" ]; do number=$((number + 1)); done
    mv -n -T -- "$root/swarm" "$root/swarm.skep-old-$number"
    say "the state that was there is in $root/swarm.skep-old-$number"
  fi
  # The data root may be a file system of its own, so that a move there is a copy.
  rm -rf -- "$root/.swarm.skep-new"
  cp -a --reflink=auto -- "$dir/new/swarm" "$root/.swarm.skep-new"
  chown -R 0:0 "$root/.swarm.skep-new"
  sync
  mv -n -T -- "$root/.swarm.skep-new" "$root/swarm"
  printf 'placed %s %s\n' "$sum" "$(date +%s)" | replace "$dir/state" 600
  rm -rf -- "$dir/new"
fi
since=$(date +%s)
if bring_up start; then return 0; fi
fail 82 "the engine does not come up with the restored state: $(last_words "$since")"
