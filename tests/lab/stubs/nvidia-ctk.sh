#!/bin/sh
# The lab's stand-in for NVIDIA Container Toolkit's command.
fail() {
	echo "time=\"$(date -u +%FT%TZ)\" level=error msg=\"$*\"" >&2
	exit 1
}
case $1 in --quiet) shift ;; --version | -v) echo "NVIDIA Container Toolkit CLI version @VERSION@"; exit 0 ;; esac
said=$*
option() { # NAME: the value of --NAME=VALUE, or of --NAME VALUE
	printf '%s\n' "$said" | sed -n "s/.*--$1[= ]\([^ ]*\).*/\1/p"
}
find_libs() {
	for dir in /usr/lib/x86_64-linux-gnu /usr/lib64; do
		[ -e $dir/libnvidia-ml.so.1 ] && echo $dir && return
	done
}
generate() {
	libs=$(find_libs)
	[ -n "$libs" ] || fail 'failed to generate CDI spec: failed to create device CDI specs: failed to construct device spec generators: failed to initialize NVML: ERROR_LIBRARY_NOT_FOUND'
	[ -e /proc/driver/nvidia/version ] || fail 'failed to generate CDI spec: failed to create device CDI specs: failed to construct device spec generators: failed to initialize NVML: ERROR_DRIVER_NOT_LOADED'
	printf -- '---\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n'
	all=
	n=0
	for card in /proc/driver/nvidia/gpus/*/information; do
		uuid=$(sed -n 's/^GPU UUID:[ \t]*//p' "$card")
		minor=$(sed -n 's/^Device Minor:[ \t]*//p' "$card")
		for name in "$n" "$uuid"; do
			printf '    - name: "%s"\n      containerEdits:\n        deviceNodes:\n            - path: /dev/nvidia%s\n' "$name" "$minor"
		done
		all="$all            - path: /dev/nvidia$minor
"
		n=$((n + 1))
	done
	[ $n -gt 0 ] || fail 'failed to generate CDI spec: no devices'
	printf '    - name: all\n      containerEdits:\n        deviceNodes:\n%s' "$all"
	printf 'containerEdits:\n    env:\n        - NVIDIA_VISIBLE_DEVICES=void\n    deviceNodes:\n'
	for node in /dev/nvidia-modeset /dev/nvidia-uvm /dev/nvidia-uvm-tools /dev/nvidiactl; do
		[ -e $node ] && printf '        - path: %s\n' $node
	done
	printf '    hooks:\n'
	for lib in libcuda libnvidia-ml; do
		printf '        - hookName: createContainer\n          path: /usr/bin/nvidia-cdi-hook\n          args: [nvidia-cdi-hook, create-symlinks, --link, "%s::%s"]\n' \
			"$(basename "$(readlink -f "$libs/$lib.so.1")")" "$libs/$lib.so.1"
	done
	printf '        - hookName: createContainer\n          path: /usr/bin/nvidia-cdi-hook\n          args: [nvidia-cdi-hook, update-ldcache, --folder, %s]\n' "$libs"
	printf '    mounts:\n'
	for file in /usr/bin/nvidia-smi "$libs"/libcuda.so.*.* "$libs"/libnvidia-ml.so.*.*; do
		printf '        - hostPath: %s\n          containerPath: %s\n          options: [ro, nosuid, nodev, bind]\n' "$file" "$file"
	done
}
case "$1 $2" in
'cdi generate')
	to=$(option output)
	to=${to:-$NVIDIA_CTK_CDI_OUTPUT_FILE_PATH}
	spec=$(generate) || exit 1
	if [ -n "$to" ]; then
		mkdir -p "$(dirname "$to")"
		printf '%s\n' "$spec" >"$to.new" && mv "$to.new" "$to"
	else
		printf '%s\n' "$spec"
	fi
	;;
'cdi list')
	names=$(sed -n 's/^    - name: "\{0,1\}\([^"]*\)"\{0,1\}$/nvidia.com\/gpu=\1/p' /etc/cdi/*.yaml /var/run/cdi/*.yaml 2>/dev/null)
	echo "time=\"$(date -u +%FT%TZ)\" level=info msg=\"Found $(printf '%s' "$names" | grep -c .) CDI devices\"" >&2
	[ -z "$names" ] || printf '%s\n' "$names"
	;;
'runtime configure')
	file=$(option config)
	file=${file:-/etc/docker/daemon.json}
	[ ! -s "$file" ] || fail "the lab's nvidia-ctk merges nothing into $file"
	mkdir -p "$(dirname "$file")"
	printf '{\n    "runtimes": {\n        "nvidia": {\n            "args": [],\n            "path": "nvidia-container-runtime"\n        }\n    }\n}' >"$file"
	echo 'It is recommended that docker daemon be restarted.' >&2
	;;
'config '*)
	file=$(option config-file)
	file=${file:-/etc/nvidia-container-runtime/config.toml}
	[ -e "$file" ] && exit 0
	mkdir -p "$(dirname "$file")"
	ldconfig=@/sbin/ldconfig
	[ -e /sbin/ldconfig.real ] && ldconfig=@/sbin/ldconfig.real
	sed "s|@LDCONFIG@|$ldconfig|" <<'TOML' >"$file"
#accept-nvidia-visible-devices-as-volume-mounts = false
#accept-nvidia-visible-devices-envvar-when-unprivileged = true
disable-require = false
supported-driver-capabilities = "compat32,compute,display,graphics,ngx,utility,video"
#swarm-resource = "DOCKER_RESOURCE_GPU"

[nvidia-container-cli]
environment = []
ldconfig = "@LDCONFIG@"
load-kmods = true
#no-cgroups = false

[nvidia-container-runtime]
#debug = "/var/log/nvidia-container-runtime.log"
log-level = "info"
mode = "auto"
runtimes = ["runc", "crun"]

[nvidia-container-runtime.modes.cdi]
annotation-prefixes = ["cdi.k8s.io/"]
default-kind = "nvidia.com/gpu"
spec-dirs = ["/etc/cdi", "/var/run/cdi"]

[nvidia-container-runtime-hook]
path = "nvidia-container-runtime-hook"
skip-mode-detection = false

[nvidia-ctk]
path = "nvidia-ctk"
TOML
	;;
'system create-device-nodes') modprobe nvidia && modprobe nvidia-uvm ;;
*) fail "the lab's nvidia-ctk knows no \`$said\`" ;;
esac
