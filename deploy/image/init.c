/*
 * The first process of the measured image, and the only one beside the key service: no shell, no package manager, no login. It mounts
 * what the kernel offers, loads the drivers that are listed, sets the network up, mounts the state disk, and runs Node without rights.
 * When that ends, the machine ends.
 *
 * An operator who has the state disk mounted elsewhere can put allow-genesis, or accept-rollback with a number in it, on it: the worker's
 * two flags, which it checks against the TPM's counters.
 *
 * Read from the measured kernel command line: agentkeys.address=10.0.2.15/24 agentkeys.gateway=10.0.2.2 agentkeys.disk=/dev/vda
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKER 1000
#define STATE "/var/lib/agentkeys"

static void say(const char *what) { fprintf(stderr, "init: %s\n", what); }

static void end(const char *why) {
  if (why) fprintf(stderr, "init: %s: %s\n", why, strerror(errno));
  sync();
  umount2(STATE, MNT_DETACH);
  sync();
  reboot(RB_POWER_OFF);
  _exit(1);
}

static void must(int result, const char *what) {
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
    if (syscall(SYS_finit_module, file, "", 0) < 0 && errno != EEXIST) end(name);
    close(file);
  }
  fclose(list);
}

/* The value of a parameter of the kernel's command line. */
static char *parameter(const char *name, char *value, size_t size) {
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

static void set_address(int sock, const char *interface, const char *address, const char *mask) {
  struct ifreq request = {0};
  struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
  snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
  in->sin_family = AF_INET;
  if (inet_pton(AF_INET, address, &in->sin_addr) != 1) end("an address on the command line");
  must(ioctl(sock, SIOCSIFADDR, &request), interface);
  if (inet_pton(AF_INET, mask, &in->sin_addr) != 1) end("a network mask");
  must(ioctl(sock, SIOCSIFNETMASK, &request), interface);
  must(ioctl(sock, SIOCGIFFLAGS, &request), interface);
  request.ifr_flags |= IFF_UP | IFF_RUNNING;
  must(ioctl(sock, SIOCSIFFLAGS, &request), interface);
}

static void set_network_up(void) {
  char address[64], gateway[64], mask[INET_ADDRSTRLEN];
  int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  must(sock, "socket");
  set_address(sock, "lo", "127.0.0.1", "255.0.0.0");
  if (!parameter("agentkeys.address", address, sizeof address)) return;
  char *slash = strchr(address, '/');
  int bits = slash ? atoi(slash + 1) : 0;
  if (bits < 1 || bits > 32) end("agentkeys.address needs its network's length, as in 10.0.2.15/24");
  *slash = 0;
  struct in_addr net = {htonl(0xffffffffu << (32 - bits))};
  inet_ntop(AF_INET, &net, mask, sizeof mask);
  set_address(sock, "eth0", address, mask);
  if (parameter("agentkeys.gateway", gateway, sizeof gateway)) {
    struct rtentry route = {0};
    struct sockaddr_in *to = (struct sockaddr_in *)&route.rt_dst, *by = (struct sockaddr_in *)&route.rt_gateway;
    to->sin_family = by->sin_family = ((struct sockaddr_in *)&route.rt_genmask)->sin_family = AF_INET;
    if (inet_pton(AF_INET, gateway, &by->sin_addr) != 1) end("agentkeys.gateway");
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    must(ioctl(sock, SIOCADDRT, &route), "the default route");
  }
  close(sock);
}

/* The worker may read and write its state and ask the TPM, and nothing else. */
static void mount_state(void) {
  char disk[64] = "/dev/vda";
  parameter("agentkeys.disk", disk, sizeof disk);
  for (int tries = 0; access(disk, F_OK) < 0; tries++) {
    if (tries == 100) end(disk);
    usleep(100000);
  }
  must(mount(disk, STATE, "ext4", MS_NODEV | MS_NOSUID | MS_NOEXEC | MS_NOATIME, "data=journal"), "the state disk must be ext4");
  must(chown(STATE, WORKER, WORKER), STATE);
  must(chmod(STATE, 0700), STATE);
  if (access("/dev/tpmrm0", F_OK) == 0) must(chown("/dev/tpmrm0", WORKER, WORKER), "/dev/tpmrm0");
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

static void run_worker(void) {
  const struct rlimit none = {0, 0};
  must(setrlimit(RLIMIT_CORE, &none), "RLIMIT_CORE");
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "PR_SET_NO_NEW_PRIVS");
  must(setgroups(0, NULL), "setgroups");
  must(setgid(WORKER), "setgid");
  must(setuid(WORKER), "setuid");
  char *argv[] = {"/bin/node", "--env-file=/app/settings.env", "/app/main.js", NULL, NULL};
  static char rollback[64] = "--accept-rollback=";
  if (access(STATE "/allow-genesis", F_OK) == 0)
    argv[3] = "--allow-genesis";
  else if (read_number(STATE "/accept-rollback", rollback + strlen(rollback), 21))
    argv[3] = rollback;
  char *envp[] = {"NODE_ENV=production", "HOME=/", "LD_LIBRARY_PATH=/lib", "NODE_EXTRA_CA_CERTS=/app/broker-ca.pem", NULL};
  if (access("/app/broker-ca.pem", F_OK) < 0) envp[3] = NULL;
  must(chdir("/app"), "/app");
  execve(argv[0], argv, envp);
  end("/bin/node");
}

int main(void) {
  int status = 0;
  must(mount("proc", "/proc", "proc", MS_NODEV | MS_NOSUID | MS_NOEXEC, ""), "/proc");
  must(mount("sys", "/sys", "sysfs", MS_NODEV | MS_NOSUID | MS_NOEXEC | MS_RDONLY, ""), "/sys");
  must(mount("dev", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, ""), "/dev");
  must(mount("tmp", "/tmp", "tmpfs", MS_NODEV | MS_NOSUID | MS_NOEXEC, "size=16m"), "/tmp");
  int console = open("/dev/console", O_RDWR);
  must(console, "/dev/console");
  dup2(console, 0), dup2(console, 1), dup2(console, 2);
  load_drivers();
  set_network_up();
  mount_state();
  pid_t worker = fork();
  must(worker, "fork");
  if (worker == 0) run_worker();
  for (pid_t ended; (ended = wait(&status)) != worker;)
    if (ended < 0 && errno != EINTR) end("wait");
  fprintf(stderr, "init: the key service ended with %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  say("powering off");
  end(NULL);
  return 0;
}
