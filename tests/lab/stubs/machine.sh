#!/bin/sh
# Shows what a kernel and its firmware would show of the machine that /usr/lib/lab/machine describes. A unit runs it at
# each boot, before anything else looks.
set -e
is=/usr/lib/lab/machine
kernel=$(cat $is/kernel)

# A virtual machine, and no container.
mkdir -p /run/lab
rm -f /run/systemd/container
mount -o remount,rw /sys 2>/dev/null || true
fresh() { # An empty directory of the kernel's, new at each call.
	while mountpoint -q "$1"; do umount "$1"; done
	mkdir -p "$1"
	mount -t tmpfs -o mode=755 lab "$1"
}
[ ! -e /sys/class/dmi/id ] || fresh /sys/class/dmi/id
fresh /sys/hypervisor
echo xen >/sys/hypervisor/type
over() { # A file of the kernel's, with the text that comes in.
	while mountpoint -q "$1"; do umount "$1"; done
	mkdir -p /run/lab/kernel
	cat >"/run/lab/kernel/${1##*/}"
	mount --bind "/run/lab/kernel/${1##*/}" "$1"
}
echo "$kernel" | over /proc/sys/kernel/osrelease

# The bus.
fresh /sys/bus/pci/devices
while read -r slot class vendor device subvendor subdevice name; do
	at=/sys/bus/pci/devices/$slot
	mkdir $at
	echo "0x$vendor" >$at/vendor
	echo "0x$device" >$at/device
	echo "0x$class" >$at/class
	echo "0x$subvendor" >$at/subsystem_vendor
	echo "0x$subdevice" >$at/subsystem_device
	echo 0xa1 >$at/revision
	echo 0 >$at/numa_node
	hex() { printf %s "$1" | tr a-f A-F; }
	base=$(printf %s $class | cut -c1-2) sub=$(printf %s $class | cut -c3-4) face=$(printf %s $class | cut -c5-6)
	echo "pci:v0000$(hex $vendor)d0000$(hex $device)sv0000$(hex $subvendor)sd0000$(hex $subdevice)bc${base}sc${sub}i${face}" \
		>$at/modalias
done <$is/cards

# The firmware.
case $(cat $is/firmware) in
bios) fresh /sys/firmware ;;
*)
	fresh /sys/firmware
	mkdir -p /sys/firmware/efi/efivars
	on='\000'
	[ "$(cat $is/firmware)" != secure-boot ] || on='\001'
	printf "\\006\\000\\000\\000$on" >/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
	printf '\006\000\000\000\000' >/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c
	;;
esac

# Modules: none yet but what this machine's own kernel has.
fresh /proc/driver
rm -f /dev/nvidia*
# A kernel that cannot load modules has no /proc/modules: lsmod reads this list either way.
grep -v '^nvidia\|^nouveau' /proc/modules >/run/lab/modules.new 2>/dev/null || true
[ ! -e /proc/modules ] || while mountpoint -q /proc/modules; do umount /proc/modules; done
mv /run/lab/modules.new /run/lab/modules
[ ! -e /proc/modules ] || mount --bind /run/lab/modules /proc/modules
if [ -d /sys/module ] && ! mountpoint -q /sys/module; then
	mkdir -p /run/lab/module
	mount --bind /sys/module /run/lab/module
fi
fresh /sys/module
for module in /run/lab/module/*; do
	[ ! -e "$module" ] || ln -s "$module" /sys/module/
done
mount -o remount,ro /sys 2>/dev/null || true

# What udev would load for the cards: the driver of the initial file system comes first.
[ "$1" = boot ] || [ "$1" = "" ] || exit 0
modprobe --boot || true
