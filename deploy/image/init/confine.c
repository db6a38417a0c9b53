/* What the kernel refuses to everybody once the machine is set up. Each line is said on the console with what was read back. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "init.h"

static const struct {
  const char *name, *value;
} settings[] = {
    {"kernel/core_pattern", ""},           /* no memory in a file */
    {"fs/suid_dumpable", "0"},             /* nor for who may ask */
    {"kernel/yama/ptrace_scope", "3"},     /* nobody looks into another process */
    {"kernel/dmesg_restrict", "1"},
    {"kernel/kptr_restrict", "2"},
    {"kernel/perf_event_paranoid", "3"},
    {"kernel/unprivileged_bpf_disabled", "1"},
    {"kernel/kexec_load_disabled", "1"},   /* no other kernel, that PCRs would not tell of */
    {"kernel/panic_on_oops", "1"},
    {"kernel/sysrq", "0"},
    {"user/max_user_namespaces", "0"},
    {"net/ipv6/conf/all/disable_ipv6", "1"}, /* nobody configures what nobody asked for */
    {"net/ipv4/conf/all/accept_redirects", "0"},
    {"net/ipv4/conf/default/accept_redirects", "0"},
    {"net/ipv4/conf/all/accept_source_route", "0"},
    {"net/ipv4/conf/all/rp_filter", "1"},
    {"net/ipv4/tcp_syncookies", "1"},
    {"kernel/modules_disabled", "1"},      /* last, and for good */
};

static void read_back(const char *path, char *line, size_t size) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  must(file, path);
  ssize_t length = read(file, line, size - 1);
  must((int)length, path);
  close(file);
  line[length] = 0;
  line[strcspn(line, "\n")] = 0;
}

static void set(const char *name, const char *value) {
  char path[128], line[128];
  snprintf(path, sizeof path, "/proc/sys/%s", name);
  int file = open(path, O_WRONLY | O_CLOEXEC);
  must(file, path);
  size_t length = strlen(value);
  /* An empty text is a line without one. */
  must((int)(length ? write(file, value, length) : write(file, "\n", 1)), path);
  close(file);
  read_back(path, line, sizeof line);
  errno = EPERM;
  if (strcmp(line, value) != 0) end(path);
  fprintf(stderr, "init: %s = %s\n", name, line);
}

void confine_kernel(void) {
  char line[128];
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) set(settings[i].name, settings[i].value);
  must(mount(NULL, "/dev", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL), "/dev");
  must(mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | MS_NODEV | MS_NOSUID, NULL), "/");
  errno = 0;
  if (open("/app/written", O_WRONLY | O_CREAT | O_CLOEXEC, 0600) >= 0 || errno != EROFS) end("/ is not read-only");
  fprintf(stderr, "init: / and /dev are read-only\n");
  read_back("/sys/kernel/security/lockdown", line, sizeof line);
  fprintf(stderr, "init: lockdown: %s\n", line);
  errno = EPERM;
  if (!strstr(line, "[confidentiality]")) end("the kernel is not locked down: its command line is not the measured one");
}
