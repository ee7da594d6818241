# shellcheck shell=sh
# What the harness's shell scripts share: where the cloud is, and whether it runs. Sourced.

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 2
}

dir=${SKEP_OPENSTACK_DIR:-}
[ -n "$dir" ] || die "SKEP_OPENSTACK_DIR is not set. Set it to the folder that tests/openstack/up printed"
init=$dir/run/init

# The process id of the cloud's init, or nothing if it does not run. Ids are used again: one with
# another start time is somebody else's process.
running() {
    [ -e "$init" ] || return 0
    read -r pid began <"$init"
    { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || return 0
    # shellcheck disable=SC2086
    set -- $stat
    if [ "${22}" = "$began" ]; then echo "$pid"; fi
}
