if [ ! -e "$marker" ]; then
  # The connection was lost after this step had ended.
  if [ -e "$note" ]; then fail 81 "$(cat "$note")"; fi
  return 0
fi
# A signal has no answer. The engine's own event has: it is sent only when all of the file was taken,
# whatever the level of its log.
reloaded() {
  waited=0
  while [ "$waited" -lt 15 ]; do
    case $(ask "/events?since=$since&until=$(date +%s.%N)&filters=%7B%22event%22%3A%5B%22reload%22%5D%7D") in
      *'"reload"'*) return 0 ;;
    esac
    sleep 1
    waited=$((waited + 1))
  done
  return 1
}
ask /_ping >/dev/null || fail 1 "the engine does not answer"
since=$(date +%s.%N)
if within 60 systemctl reload -- $unit && reloaded; then
  rm -f "$marker"
  return 0
fi
words=$(last_words "${since%.*}")
case $(former) in
  none | [0-7]*) ;;
  *) fail 1 "the engine did not take the new daemon.json: $words" ;;
esac
printf 'the engine did not take the new daemon.json: %s\n' "$words" | replace "$note" 600
put_back
systemctl reload -- $unit || :
# Some faults end an engine that reads them.
answers || bring_up start || fail 82 "the engine has ended, and does not come up with its former daemon.json either: $words"
rm -f "$marker"
fail 81 "$(cat "$note")"
