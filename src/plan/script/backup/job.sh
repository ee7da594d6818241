job=skep-backup.service
runs() {
  case $(systemctl show -p ActiveState --value $job 2>/dev/null) in
    active | activating | deactivating | reloading) ;;
    *) return 1 ;;
  esac
}
# Waits until nobody copies any more: who starts the engine before spoils the copy.
wait_for_job() {
  waited=0
  while runs; do
    [ "$waited" -lt $(((window + 300) * 5)) ] || fail 1 "$job has not ended within $((window + 300)) s; it starts the engine when it ends"
    sleep 0.2
    waited=$((waited + 1))
  done
}
