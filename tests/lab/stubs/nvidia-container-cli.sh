#!/bin/sh
# The lab's stand-in: lends the driver's files and the cards' nodes to a container that is being made.
fail() {
	echo "nvidia-container-cli: $*" >&2
	exit 1
}
case " $* " in *' --version '* | *' -V '*) echo "cli-version: @VERSION@"; exit 0 ;; esac
libs=
for dir in /usr/lib/x86_64-linux-gnu /usr/lib64; do
	[ -e $dir/libnvidia-ml.so.1 ] && libs=$dir
done
[ -n "$libs" ] || fail 'initialization error: load library failed: libnvidia-ml.so.1: cannot open shared object file: no such file or directory'
[ -e /proc/driver/nvidia/version ] || { case " $* " in *' --load-kmods '*) modprobe nvidia 2>/dev/null && modprobe nvidia-uvm ;; esac; }
[ -e /proc/driver/nvidia/version ] || fail 'initialization error: nvml error: driver not loaded'
has=$(readlink -f $libs/libnvidia-ml.so.1)
[ "${has##*.so.}" = "$(cat /sys/module/nvidia/version)" ] || fail 'initialization error: nvml error: driver/library version mismatch'
case " $* " in
*' list '*) ls /dev/nvidia* $libs/libcuda.so.*.* $libs/libnvidia-ml.so.*.*; exit 0 ;;
*' info '*) echo "NVRM version:   $(cat /sys/module/nvidia/version)"; exit 0 ;;
esac
for word; do
	case $word in --pid=*) pid=${word#*=} ;; --device=*) wanted=${word#*=} ;; esac
done
[ "$wanted" = all ] || [ -e "/dev/nvidia${wanted%%,*}" ] || case $wanted in GPU-*) ;; *) fail "device error: $wanted: unknown device" ;; esac
for dir in etc tmp usr/lib; do
	[ -d "$word/$dir" ] || fail "mount error: file creation failed: $word/$dir: no such file or directory"
done
# As upstream: by what the container's own system looks like.
to=/usr/lib64
[ -e "$word/etc/debian_version" ] && to=/usr/lib/x86_64-linux-gnu
lend='set -e
lend() { mkdir -p "$(dirname "$root$2")"; [ -e "$root$2" ] || : >"$root$2"; mount --bind "$1" "$root$2"; }
root=$1 libs=$2 to=$3
for lib in "$libs"/libcuda.so.*.* "$libs"/libnvidia-ml.so.*.*; do
	name=${lib##*/}
	lend "$lib" "$to/$name"
	ln -sf "$name" "$root$to/${name%%.so.*}.so.1"
done
lend /usr/bin/nvidia-smi /usr/bin/nvidia-smi
for node in /dev/nvidia*; do [ -d "$node" ] || lend "$node" "$node"; done
if [ -d "$root/proc/driver" ]; then
	mount -t tmpfs -o mode=755 nvidia "$root/proc/driver"
	cp -r /proc/driver/nvidia "$root/proc/driver/"
fi'
nsenter -t "$pid" -m -- sh -c "$lend" sh "$word" "$libs" "$to" || fail "mount error: see above"
