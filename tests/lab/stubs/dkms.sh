#!/bin/sh
# The lab's stand-in for dkms: a module is "built" where the headers of the kernel are.
kernel=$(cat /usr/lib/lab/machine/kernel 2>/dev/null || uname -r)
command=$1
module=
last=
for word; do
	case $last in -k) kernel=$word ;; -m) module=$word ;; -v) module=$module/$word ;; esac
	case $word in */*) [ "$last" = -k ] || module=$word ;; esac
	last=$word
done
version=${module##*/}
tree=/var/lib/dkms/nvidia/$version
place=updates/dkms
[ -d /usr/lib64 ] && [ ! -e /usr/bin/dpkg ] && place=extra
build() {
	conf=/usr/src/nvidia-$version/dkms.conf
	[ -e "$conf" ] || { echo "Error! Could not find module source directory." >&2; return 2; }
	if [ ! -d "/lib/modules/$kernel/build/" ]; then
		echo "Error! Your kernel headers for kernel $kernel cannot be found at /lib/modules/$kernel/build or /lib/modules/$kernel/source." >&2
		return 1
	fi
	mkdir -p "$tree/$kernel/x86_64/module" "/lib/modules/$kernel/$place"
	printf 'version: %s\nflavour: %s\nsigner: none\n' "$version" "$(sed -n 's/^FLAVOUR=//p' "$conf")" >"$tree/$kernel/x86_64/module/nvidia.ko"
	cp "$tree/$kernel/x86_64/module/nvidia.ko" "/lib/modules/$kernel/$place/nvidia.ko"
	echo "nvidia/$version, $kernel, x86_64: installed"
	depmod
}
case $command in
add) mkdir -p "$tree" ;;
build | install) build ;;
autoinstall)
	for conf in /usr/src/nvidia-*/dkms.conf; do
		[ -e "$conf" ] || continue
		version=$(echo "$conf" | sed 's|/usr/src/nvidia-||; s|/.*||') tree=/var/lib/dkms/nvidia/$version
		build || exit
	done
	;;
remove | uninstall)
	for at in "$tree"/*/x86_64; do
		[ -d "$at" ] || continue
		of=${at%/x86_64}
		if cmp -s "$at/module/nvidia.ko" "/lib/modules/${of##*/}/$place/nvidia.ko"; then
			rm -f "/lib/modules/${of##*/}/$place/nvidia.ko"
			rmdir -p --ignore-fail-on-non-empty "/lib/modules/${of##*/}/$place"
		fi
	done
	rm -rf "$tree"
	rmdir --ignore-fail-on-non-empty /var/lib/dkms/nvidia 2>/dev/null
	depmod
	;;
status)
	for at in /var/lib/dkms/nvidia/*/*/x86_64; do
		[ -d "$at" ] && echo "$at" | sed 's|/var/lib/dkms/\(.*\)/\(.*\)/\(.*\)/\(.*\)|\1/\2, \3, \4: installed|'
	done
	;;
*) echo "the lab's dkms knows no \`$*\`" >&2; exit 1 ;;
esac
exit $?
