/*
 * The first process of the measured image: it mounts what the kernel offers, loads the drivers that are listed, has the network brought up,
 * mounts the state disk, confines the kernel, and runs Node without rights. There is no shell, no package manager and no login; beside the
 * key service only what keeps the network's lease and the clock runs on. When the key service ends, the machine ends.
 *
 * An operator who has the state disk mounted elsewhere can put allow-genesis, recovery-ticket, or accept-rollback or retire-releases-before
 * with a number in it, on it: the worker's flags, which it checks against the TPM's counters, or has its custodians check.
 *
 * Read from the measured kernel command line: agentkeys.tsm=1, and what network.c reads.
 */
#define _GNU_SOURCE
#include "init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATE "/var/lib/agentkeys"

void end(const char *why) {
  if (why) fprintf(stderr, "init: %s: %s\n", why, strerror(errno));
  sync();
  umount2(STATE, MNT_DETACH);
  sync();
  reboot(RB_POWER_OFF);
  _exit(1);
}

void must(int result, const char *what) {
  if (result < 0) end(what);
}

static void load_drivers(void) {
  char name[128];
  FILE *list = fopen("/drivers/order", "r");
  if (!list) end("/drivers/order");
  while (fgets(name, sizeof name, list)) {
    name[strcspn(name, "\n")] = 0;
    int file = open(name, O_RDONLY | O_CLOEXEC);
    must(file, name);
    /* ENODEV: of another kind of machine than this; ENOENT: stands on such a one. */
    if (syscall(SYS_finit_module, file, "", 0) < 0 && errno != EEXIST && errno != ENODEV && errno != ENOENT) end(name);
    close(file);
  }
  fclose(list);
}

char *parameter(const char *name, char *value, size_t size) {
  static char line[4096];
  FILE *file = fopen("/proc/cmdline", "r");
  if (!file || !fgets(line, sizeof line, file)) end("/proc/cmdline");
  fclose(file);
  for (char *word = strtok(line, " \n"); word; word = strtok(NULL, " \n")) {
    size_t length = strlen(name);
    if (strncmp(word, name, length) == 0 && word[length] == '=') {
      snprintf(value, size, "%s", word + length + 1);
      return value;
    }
  }
  return NULL;
}

/* Whether a disk or partition holds an ext4 file system that is called agentkeys (its superblock: magic number and volume name). */
static int is_state(const char *device) {
  unsigned char super[136] = {0};
  int file = open(device, O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  int whole = pread(file, super, sizeof super, 1024) == sizeof super;
  close(file);
  return whole && super[56] == 0x53 && super[57] == 0xef && strncmp((char *)super + 120, "agentkeys", 16) == 0;
}

/* Disks turn up when their drivers get round to it, under names that differ from cloud to cloud. */
static void find_state(char *found, size_t size) {
  char device[64];
  int count = 0;
  for (int tries = 0; count == 0 && tries < 300; tries++) {
    if (tries > 0) usleep(100000);
    DIR *all = opendir("/sys/class/block");
    if (!all) end("/sys/class/block");
    for (struct dirent *one; (one = readdir(all));) {
      if (one->d_name[0] == '.' || (size_t)snprintf(device, sizeof device, "/dev/%s", one->d_name) >= sizeof device) continue;
      if (is_state(device) && count++ == 0) snprintf(found, size, "%s", device);
    }
    closedir(all);
  }
  errno = count ? ENOTUNIQ : ENODEV;
  if (count != 1) end("one disk or partition must hold the state: ext4, and called agentkeys (mkfs.ext4 -L agentkeys)");
}

/* The worker may read and write its state and ask the TPM, and nothing else. */
static void mount_state(void) {
  static const char *tpm[] = {"/dev/tpmrm0", "/dev/tpm0"};
  char disk[64];
  find_state(disk, sizeof disk);
  must(mount(disk, STATE, "ext4", MS_NODEV | MS_NOSUID | MS_NOEXEC | MS_NOATIME, "data=journal"), disk);
  must(chown(STATE, WORKER, WORKER), STATE);
  must(chmod(STATE, 0700), STATE);
  for (int i = 0; i < 2; i++)
    if (access(tpm[i], F_OK) == 0) must(chown(tpm[i], WORKER, WORKER), tpm[i]);
}

/* Where the kernel makes reports (agentkeys.tsm=1), it lets only root ask: the worker gets one entry, made for it. */
static void give_reports(void) {
  static const char *entry = "/sys/kernel/config/tsm/report/agentkeys";
  static const char *files[] = {"inblob", "outblob", "auxblob", "generation", "provider"};
  char wanted[8], path[128];
  if (!parameter("agentkeys.tsm", wanted, sizeof wanted)) return;
  must(mount("configfs", "/sys/kernel/config", "configfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, ""), "configfs");
  must(mkdir(entry, 0755), "the kernel makes no reports on this machine: it is neither SEV-SNP nor TDX");
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    snprintf(path, sizeof path, "%s/%s", entry, files[i]);
    /* Not every maker of reports has certificates to give. */
    if (chown(path, WORKER, WORKER) < 0 && errno != ENOENT) end(path);
  }
}

/* What an operator says once, by a file on the disk: its digits, if it is there. */
static int read_number(const char *path, char *digits, size_t size) {
  FILE *file = fopen(path, "r");
  if (!file) return 0;
  char *line = fgets(digits, (int)size, file);
  fclose(file);
  if (!line) return 0;
  digits[strspn(digits, "0123456789")] = 0;
  return digits[0] != 0;
}

void drop_rights(unsigned user) {
  const struct rlimit none = {0, 0};
  must(setrlimit(RLIMIT_CORE, &none), "RLIMIT_CORE");
  for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
    must(prctl(PR_CAPBSET_DROP, capability, 0, 0, 0), "PR_CAPBSET_DROP");
  must(setgroups(0, NULL), "setgroups");
  must(setgid(user), "setgid");
  must(setuid(user), "setuid");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
  errno = EPERM;
  if (setuid(0) == 0) end("the way back is open");
}

/* Says what the kernel has noted of this process: rights that are left would stand there. */
static void say_rights(void) {
  char line[128];
  FILE *file = fopen("/proc/self/status", "r");
  if (!file) end("/proc/self/status");
  while (fgets(line, sizeof line, file))
    if (!strncmp(line, "Uid:", 4) || !strncmp(line, "CapBnd:", 7) || !strncmp(line, "CapEff:", 7) || !strncmp(line, "NoNewPrivs:", 11))
      fprintf(stderr, "init: key service: %s", line);
  fclose(file);
}

static void run_worker(void) {
  must(setsid(), "setsid");
  drop_rights(WORKER);
  say_rights();
  char *argv[] = {"/bin/node", "--env-file=/app/settings.env", "/app/main.js", NULL, NULL, NULL};
  static char rollback[64] = "--accept-rollback=", retire[64] = "--retire-releases-before=";
  if (access(STATE "/allow-genesis", F_OK) == 0)
    argv[3] = "--allow-genesis";
  else if (read_number(STATE "/accept-rollback", rollback + strlen(rollback), 21))
    argv[3] = rollback;
  else if (access(STATE "/recovery-ticket", F_OK) == 0)
    argv[3] = "--recover=" STATE "/recovery-ticket";
  if (read_number(STATE "/retire-releases-before", retire + strlen(retire), 21)) argv[argv[3] ? 4 : 3] = retire;
  char *envp[] = {"NODE_ENV=production", "HOME=/", "LD_LIBRARY_PATH=/lib", "NODE_EXTRA_CA_CERTS=/app/broker-ca.pem", NULL};
  if (access("/app/broker-ca.pem", F_OK) < 0) envp[3] = NULL;
  must(chdir("/app"), "/app");
  execve(argv[0], argv, envp);
  end("/bin/node");
}

static pid_t start(void (*run)(void)) {
  pid_t child = fork();
  must(child, "fork");
  if (child == 0) {
    run();
    _exit(1);
  }
  return child;
}

static void mount_on(const char *what, const char *where, unsigned long flags, const char *options) {
  must(mount(what, where, what, flags | MS_NOSUID, options), where);
}

int main(void) {
  int status = 0;
  mount_on("proc", "/proc", MS_NODEV | MS_NOEXEC, "hidepid=invisible");
  mount_on("sysfs", "/sys", MS_NODEV | MS_NOEXEC | MS_RDONLY, "");
  mount_on("securityfs", "/sys/kernel/security", MS_NODEV | MS_NOEXEC | MS_RDONLY, "");
  mount_on("devtmpfs", "/dev", MS_NOEXEC, "");
  mount_on("tmpfs", "/tmp", MS_NODEV | MS_NOEXEC, "size=16m");
  mount_on("tmpfs", "/run", MS_NODEV | MS_NOEXEC, "size=64k,mode=0755");
  int console = open("/dev/console", O_RDWR);
  must(console, "/dev/console");
  dup2(console, 0), dup2(console, 1), dup2(console, 2);
  close_pcrs();
  load_drivers();
  mount_state();
  give_reports();
  pid_t network = start(run_network);
  start(run_clock);
  confine_kernel();
  pid_t worker = start(run_worker);
  for (pid_t ended; (ended = wait(&status)) != worker;) {
    if (ended < 0 && errno != EINTR) end("wait");
    if (ended != network) continue;
    fprintf(stderr, "init: what keeps the network's lease ended with %#x\n", (unsigned)status);
    sleep(1);
    network = start(run_network);
  }
  fprintf(stderr, "init: the key service ended with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  fprintf(stderr, "init: powering off\n");
  end(NULL);
  return 0;
}
