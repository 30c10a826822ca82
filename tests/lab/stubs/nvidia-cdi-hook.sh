#!/bin/sh
# The lab's stand-in: what a CDI specification has done inside a container that is being made.
fail() {
	echo "nvidia-cdi-hook: $*" >&2
	exit 1
}
[ "$1" = --version ] && echo "NVIDIA CDI Hook version @VERSION@" && exit 0
state=$(cat)
field() { printf %s "$state" | sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p"; }
root=$(sed -n 's/.*"root":{"path":"\([^"]*\)".*/\1/p' "$(field bundle)/config.json")
case $1 in
create-symlinks)
	[ "$2" = --link ] || fail "no links"
	mkdir -p "$root$(dirname "${3##*::}")"
	ln -sf "${3%%::*}" "$root${3##*::}"
	;;
update-ldcache)
	for dir in etc tmp; do
		[ -d "$root/$dir" ] || fail "failed to update ldcache: $root/$dir: no such file or directory"
	done
	;;
*) fail "unknown hook $1" ;;
esac
