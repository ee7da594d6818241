if [ -e "$note" ] && is_former; then
  # The connection was lost after this step had put the file back.
  if bring_up start; then return 0; fi
  fail 82 "$(cat "$note")"
fi
rm -f "$note"
systemctl daemon-reload
since=$(date +%s)
if bring_up restart; then return 0; fi
words=$(last_words "$since")
case $(former) in
  none | [0-7]*) ;;
  *) fail 82 "the engine does not come up, and there is no copy of its former configuration: $words" ;;
esac
within 180 systemctl stop -- $unit >/dev/null 2>&1 || :
printf 'the engine did not come up with the new daemon.json: %s\n' "$words" | replace "$note" 600
put_back
if bring_up start; then return 0; fi
fail 82 "the engine did not come up with the new daemon.json, nor with the former one, which is in place again: $words"
