/* The lab's stand-in for nvidia-smi: it tells what the pretended driver shows below /proc, in nvidia-smi's words.
   A program and not a script, so that a container needs no more for it than for the real one: the C library. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct card { char bus[64], name[128], uuid[64], minor[16]; };
static struct card cards[16];
static int count;

static int by_bus(const void *a, const void *b) { return strcmp(((struct card *)a)->bus, ((struct card *)b)->bus); }

static void field(const char *line, const char *name, char *to, size_t size) {
	if (strncmp(line, name, strlen(name))) return;
	line += strlen(name);
	while (*line == ' ' || *line == '\t') line++;
	snprintf(to, size, "%.*s", (int)strcspn(line, "\n"), line);
}

static int look(char *version, size_t size) {
	char line[512];
	FILE *file = fopen("/proc/driver/nvidia/version", "r");
	if (!file) return 0;
	/* "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.84  Release Build ..." */
	if (fgets(line, sizeof line, file)) {
		char *at = strstr(line, "x86_64");
		if (at) sscanf(at + 6, "%63s", version);
	}
	fclose(file);
	(void)size;
	DIR *dir = opendir("/proc/driver/nvidia/gpus");
	struct dirent *entry;
	while (dir && (entry = readdir(dir)) && count < 16) {
		char path[512];
		if (entry->d_name[0] == '.') continue;
		snprintf(path, sizeof path, "/proc/driver/nvidia/gpus/%s/information", entry->d_name);
		if (!(file = fopen(path, "r"))) continue;
		struct card *card = &cards[count++];
		snprintf(card->bus, sizeof card->bus, "%.60s", entry->d_name);
		while (fgets(line, sizeof line, file)) {
			field(line, "Model:", card->name, sizeof card->name);
			field(line, "GPU UUID:", card->uuid, sizeof card->uuid);
			field(line, "Device Minor:", card->minor, sizeof card->minor);
		}
		fclose(file);
	}
	if (dir) closedir(dir);
	qsort(cards, count, sizeof *cards, by_bus);
	return 1;
}

/* The version in the name of the library that the link leads to. */
static int library(char *version, size_t size) {
	const char *dirs[] = { "/usr/lib/x86_64-linux-gnu", "/usr/lib64" };
	for (int i = 0; i < 2; i++) {
		char path[256], target[4096], *at;
		snprintf(path, sizeof path, "%s/libnvidia-ml.so.1", dirs[i]);
		if (realpath(path, target) && (at = strstr(target, ".so."))) {
			snprintf(version, size, "%.60s", at + 4);
			return 1;
		}
	}
	return 0;
}

static int query(const char *what) {
	char words[512];
	for (int i = 0; i < count; i++) {
		int n = 0;
		char version[64] = "";
		library(version, sizeof version);
		snprintf(words, sizeof words, "%s", what);
		for (char *word = strtok(words, ","); word; word = strtok(NULL, ","), n++) {
			char minor[16];
			snprintf(minor, sizeof minor, "%d", i);
			const char *value = !strcmp(word, "name") ? cards[i].name : !strcmp(word, "uuid") ? cards[i].uuid
				: !strcmp(word, "index") ? minor : !strcmp(word, "driver_version") ? version
				: !strcmp(word, "pci.bus_id") ? cards[i].bus : "[N/A]";
			printf("%s%s", n ? ", " : "", value);
		}
		printf("\n");
	}
	return 0;
}

int main(int argc, char **argv) {
	char module[64] = "", lib[64] = "";
	if (!library(lib, sizeof lib)) {
		printf("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA Display "
		       "Driver is properly installed and present in your system.\n");
		return 12;
	}
	if (access("/proc/driver/nvidia/version", F_OK) && geteuid() == 0 && !access("/usr/bin/nvidia-modprobe", X_OK)) {
		if (system("/usr/bin/nvidia-modprobe -u -c=0 >/dev/null 2>&1")) { /* told below */ }
	}
	if (!look(module, sizeof module)) {
		printf("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
		       "NVIDIA driver is installed and running.\n\n");
		return 9;
	}
	if (strcmp(module, lib)) {
		printf("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: %.*s\n",
		       (int)strcspn(lib, ".") + 1 + (int)strcspn(strchr(lib, '.') ? strchr(lib, '.') + 1 : "", "."), lib);
		return 18;
	}
	if (!count) {
		printf("No devices were found\n");
		return 6;
	}
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "-L") || !strcmp(argv[i], "--list-gpus")) {
			for (int n = 0; n < count; n++) printf("GPU %d: %s (UUID: %s)\n", n, cards[n].name, cards[n].uuid);
			return 0;
		}
		if (!strncmp(argv[i], "--query-gpu=", 12)) return query(argv[i] + 12);
	}
	const char *cuda = atoi(module) >= 595 ? "13.2" : atoi(module) >= 580 ? "13.0" : "12.2";
	printf("| NVIDIA-SMI %s    Driver Version: %s    CUDA Version: %s |\n", module, module, cuda);
	for (int n = 0; n < count; n++) printf("|   %d  %-40s %s |\n", n, cards[n].name, cards[n].bus);
	return 0;
}
