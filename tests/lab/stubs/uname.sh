#!/bin/sh
# The lab's stand-in for uname: it says the pretended kernel's release.
kernel=$(cat /usr/lib/lab/machine/kernel)
case $1 in
-r | --kernel-release) echo "$kernel" ;;
-a | --all) echo "Linux $(cat /proc/sys/kernel/hostname) $kernel #1 SMP x86_64 GNU/Linux" ;;
*) exec /usr/lib/lab/real/uname "$@" ;;
esac
