#!/bin/sh
# Makes this machine a Docker host, unattended, with rprov {version}. May be run again: it goes on, or finds nothing to do.
# Afterwards: /run/rprov/result.json says how it ended, /var/log/rprov has the whole output.
{note}set -u; umask 022
result=/run/rprov/result.json
say() { printf 'rprov: %s\n' "$*"; }
# Where rprov does not run, it cannot say so itself.
fail() {
    say "FAILED: $2"
    umask 077; mkdir -p "${result%/*}"
    printf '{"schema":"rprov.result/1","verb":"install","at":"%s","finished":{"event":"finished","exit":%d,"changes":0,'\
'"seconds":%d,"log":null,"receipt":null},"error":{"event":"error","what":"%s","because":[],"output":[],"hint":null,"log":null}}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$(seconds)" "$(printf %s "$2" | sed 's/["\\]/\\&/g')" >"$result.new"
    mv "$result.new" "$result"; exit "$1"
}
seconds() { echo $(($(cut -d . -f 1 /proc/uptime) - begun)); } # Setting the clock does not move these.
begun=0; begun=$(seconds)
rm -f "$result"
[ "$(uname -m)" = {architecture} ] || fail 4 "this rprov is for {architecture}, and this machine is $(uname -m)"
