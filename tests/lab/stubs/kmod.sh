#!/bin/sh
# The lab's stand-in for kmod: what it is told of NVIDIA's modules and of nouveau happens to the pretended machine, the
# rest is the real kmod's matter.
name=${0##*/}
real() { exec "/usr/lib/lab/real/$name" "$@"; }
kernel=$(cat /usr/lib/lab/machine/kernel)
bus=/sys/bus/pci/devices
module=
remove=
boot=
quiet=
last=
for word; do
	case $last in -F | --field | -C | -S | -d) last=; continue ;; esac
	last=$word
	case $word in
	--boot) boot=yes ;;
	-r | --remove) remove=yes ;;
	-q | --quiet) quiet=yes ;;
	-n | --dry-run | --show-depends) ;;
	-*) ;;
	*) [ -n "$module" ] || module=$(printf %s "$word" | tr - _) ;;
	esac
done
say() { [ -n "$quiet" ] || echo "$name: $*" >&2; }

cards() { # The displays that nobody has.
	for at in $bus/*; do
		[ "$(cat "$at/vendor")" = 0x10de ] || continue
		case $(cat "$at/class") in 0x0300* | 0x0302*) ;; *) continue ;; esac
		[ -L "$at/driver" ] || echo "${at##*/}"
	done
}
add() { # MODULE USED-BY...
	mkdir -p "/sys/module/$1"
	echo 0 >"/sys/module/$1/refcnt"
	echo "$1 100000 0 - Live 0x0000000000000000" >>/run/lab/modules
}
drop() {
	rm -rf "/sys/module/$1"
	grep -v "^$1 " /run/lab/modules >/run/lab/modules.new
	cat /run/lab/modules.new >/run/lab/modules
}
file_of() { find "/lib/modules/$kernel/" -name "$1.ko" 2>/dev/null | head -n 1; }
said() { sed -n "s/^$1: //p" "$2"; }
fits() { # DEVICE FLAVOUR VERSION: whether a driver knows a card.
	id=$((0x$1))
	major=${3%%.*}
	if [ "$2" = open ]; then [ $id -ge $((0x1e00)) ]; return; fi
	# Blackwell and Grace Hopper need the open modules; 580 is the last that knows what is older than Turing.
	[ $id -lt $((0x2900)) ] && [ $id -ge $((0x1340)) ] && { [ "$major" -le 580 ] || [ $id -ge $((0x1e00)) ]; }
}

# Device files that somebody has removed: nvidia-modprobe makes them anew, and the lab's comes by here.
nodes() {
	for card in /proc/driver/nvidia/gpus/*/information; do
		minor=$(sed -n 's/^Device Minor:[ \t]*//p' "$card")
		[ -e "/dev/nvidia$minor" ] || mknod -m 666 "/dev/nvidia$minor" c 195 "$minor"
	done
	[ -e /dev/nvidiactl ] || mknod -m 666 /dev/nvidiactl c 195 255
}

load_nvidia() {
	[ ! -d /sys/module/nvidia ] || { nodes; return 0; }
	file=$(file_of nvidia)
	if [ -z "$file" ]; then
		say "FATAL: Module nvidia not found in directory /lib/modules/$kernel"
		return 1
	fi
	if [ "$(cat /usr/lib/lab/machine/firmware)" = secure-boot ] && [ "$(said signer "$file")" = none ]; then
		say "ERROR: could not insert 'nvidia': Key was rejected by service"
		return 1
	fi
	version=$(said version "$file") flavour=$(said flavour "$file")
	minor=0
	for slot in $(cards); do
		device=$(sed s/0x// $bus/$slot/device)
		fits "$device" "$flavour" "$version" || continue
		[ $minor != 0 ] || mkdir -p /proc/driver/nvidia/gpus
		mkdir -p /proc/driver/nvidia/gpus/$slot
		model=$(grep "^$slot " /usr/lib/lab/machine/cards | cut -d' ' -f7-)
		{
			printf 'Model: \t\t %s\nIRQ:   \t\t 11\n' "$model"
			printf 'GPU UUID: \t GPU-%s0000-1ab0-4a5e-9c1d-00000000%04d\n' "$device" $minor
			printf 'Video BIOS: \t 95.02.66.00.02\nBus Type: \t PCIe\nDMA Size: \t 47 bits\n'
			printf 'DMA Mask: \t 0x7fffffffffff\nBus Location: \t %s\nDevice Minor: \t %d\n' $slot $minor
			[ "$flavour" = open ] && printf 'GPU Firmware: \t %s\n' "$version" || printf 'GPU Firmware: \t N/A\n'
			printf 'GPU Excluded:\t No\n'
		} >/proc/driver/nvidia/gpus/$slot/information
		ln -s ../../../bus/pci/drivers/nvidia $bus/$slot/driver
		mknod -m 666 /dev/nvidia$minor c 195 $minor
		minor=$((minor + 1))
	done
	if [ $minor = 0 ]; then
		say "ERROR: could not insert 'nvidia': No such device"
		return 1
	fi
	add nvidia
	echo "$version" >/sys/module/nvidia/version
	if [ "$flavour" = open ]; then
		title="NVIDIA UNIX Open Kernel Module for x86_64  $version  Release Build  (dvs-builder@lab)  Wed Apr 15 2026"
	else
		title="NVIDIA UNIX x86_64 Kernel Module  $version  Wed Apr 15 12:00:00 UTC 2026"
	fi
	printf 'NVRM version: %s\nGCC version:  gcc version 13.3.0\n' "$title" >/proc/driver/nvidia/version
	mknod -m 666 /dev/nvidiactl c 195 255
}

load() {
	case $1 in
	nvidia) load_nvidia ;;
	nvidia_uvm | nvidia_modeset | nvidia_drm)
		load_nvidia || return
		[ ! -d /sys/module/$1 ] || return 0
		add $1
		case $1 in
		nvidia_uvm)
			mknod -m 666 /dev/nvidia-uvm c 510 0
			mknod -m 666 /dev/nvidia-uvm-tools c 510 1
			;;
		nvidia_modeset) mknod -m 666 /dev/nvidia-modeset c 195 254 ;;
		esac
		;;
	nouveau)
		[ ! -d /sys/module/nouveau ] || return 0
		for slot in $(cards); do ln -s ../../../bus/pci/drivers/nouveau $bus/$slot/driver; done
		add nouveau
		;;
	esac
}

unload() {
	[ -d "/sys/module/$1" ] || return 0
	for slot in $bus/*; do
		case $(readlink "$slot/driver") in */"$1") rm "$slot/driver" ;; esac
	done
	drop "$1"
	case $1 in
	nvidia_uvm) rm -f /dev/nvidia-uvm /dev/nvidia-uvm-tools ;;
	nvidia_modeset) rm -f /dev/nvidia-modeset ;;
	nvidia)
		for other in nvidia_drm nvidia_modeset nvidia_uvm; do unload $other; done
		rm -rf /proc/driver/nvidia /dev/nvidia*
		;;
	esac
}

case $name in
modprobe | insmod)
	if [ -n "$boot" ]; then
		# Nothing of a driver is in use yet: whoever is first has the cards.
		grep -qs '^blacklist nouveau' /boot/init*"$kernel"* || [ ! -e /usr/lib/lab/machine/nouveau ] || load nouveau
		[ -z "$(file_of nvidia)" ] || load nvidia
		exit 0
	fi
	case $module in nvidia | nvidia_* | nouveau) ;; *) real "$@" ;; esac
	case " $* " in *' -n '* | *' --dry-run '* | *' --show-depends '*) [ -n "$(file_of nvidia)" ]; exit ;; esac
	if [ -n "$remove" ]; then unload "$module"; else load "$module"; fi
	;;
rmmod)
	case $module in nvidia | nvidia_* | nouveau) unload "$module" ;; *) real "$@" ;; esac
	;;
modinfo)
	case $module in
	nvidia | nvidia_*)
		file=$(file_of nvidia)
		[ -n "$file" ] || { say "ERROR: Module $module not found."; exit 1; }
		license=NVIDIA
		[ "$(said flavour "$file")" = open ] && license='Dual MIT/GPL'
		text=$(printf 'filename:       %s\nlicense:        %s\nversion:        %s\n' "$file" "$license" "$(said version "$file")")
		signer=$(said signer "$file")
		[ "$signer" = none ] || text="$text
signer:         $signer"
		field= last=
		for word; do
			case $last in -F | --field) field=$word ;; esac
			case $word in -F?*) field=${word#-F} ;; --field=*) field=${word#*=} ;; esac
			last=$word
		done
		if [ -n "$field" ]; then printf '%s\n' "$text" | sed -n "s/^$field: *//p"; else printf '%s\n' "$text"; fi
		;;
	*) real "$@" ;;
	esac
	;;
depmod)
	mkdir -p "/lib/modules/$kernel"
	(cd "/lib/modules/$kernel" && find . -name '*.ko' | sed 's|^\./||; s|$|:|' | sort) >"/lib/modules/$kernel/modules.dep.new"
	mv "/lib/modules/$kernel/modules.dep.new" "/lib/modules/$kernel/modules.dep"
	;;
lsmod)
	echo 'Module                  Size  Used by'
	awk '{ printf "%-20s %9d  %d\n", $1, $2, $3 }' /run/lab/modules
	;;
*) real "$@" ;;
esac
