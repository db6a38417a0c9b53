/*
 * The network's address: fixed by the measured command line (agentkeys.address=10.0.0.5/24 agentkeys.gateway= agentkeys.resolver=), or by
 * DHCP. What comes from the network is read by a process without rights; the one with rights takes from it a structure of fixed size, and
 * looks at that again. Nothing that the network says matters to security: TLS names the broker.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/seccomp.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dhcp.h"
#include "init.h"

#define CARD "eth0"
#define RESOLV "/run/resolv.conf"

static struct ifreq named(const char *interface) {
  struct ifreq request = {0};
  snprintf(request.ifr_name, IFNAMSIZ, "%s", interface);
  return request;
}

static int set_number(int sock, const char *interface, unsigned long what, uint32_t number) {
  struct ifreq request = named(interface);
  struct sockaddr_in *in = (struct sockaddr_in *)&request.ifr_addr;
  in->sin_family = AF_INET;
  in->sin_addr.s_addr = number;
  return ioctl(sock, what, &request);
}

/* Some drivers find their cards only a while after they were loaded. */
static void wait_for_card(void) {
  for (int tries = 0; if_nametoindex(CARD) == 0; tries++) {
    if (tries == 300) end(CARD);
    usleep(100000);
  }
}

static void raise_interface(int sock, const char *interface) {
  struct ifreq request = named(interface);
  must(ioctl(sock, SIOCGIFFLAGS, &request), interface);
  request.ifr_flags |= IFF_UP;
  must(ioctl(sock, SIOCSIFFLAGS, &request), interface);
}

static int add_route(int sock, uint32_t to, uint32_t mask, uint32_t by) {
  struct rtentry route = {0};
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = to};
  memcpy(&route.rt_dst, &in, sizeof in);
  in.sin_addr.s_addr = mask;
  memcpy(&route.rt_genmask, &in, sizeof in);
  in.sin_addr.s_addr = by;
  memcpy(&route.rt_gateway, &in, sizeof in);
  route.rt_flags = (short)(RTF_UP | (by ? RTF_GATEWAY : 0) | (mask == INADDR_BROADCAST ? RTF_HOST : 0));
  route.rt_dev = (char[]){CARD};
  return ioctl(sock, SIOCADDRT, &route);
}

static const char *text(uint32_t address) {
  static char texts[4][INET_ADDRSTRLEN];
  static unsigned next;
  return inet_ntop(AF_INET, &address, texts[next++ % 4], INET_ADDRSTRLEN);
}

static void write_resolvers(const struct dhcp_lease *lease) {
  FILE *file = fopen(RESOLV ".new", "w");
  if (!file) end(RESOLV);
  for (int i = 0; i < DHCP_MAX_RESOLVERS && lease->resolvers[i]; i++) fprintf(file, "nameserver %s\n", text(lease->resolvers[i]));
  if (fclose(file) != 0) end(RESOLV);
  must(rename(RESOLV ".new", RESOLV), RESOLV);
}

/* What the card had is taken from it; a lease whose address is 0 leaves it so. What the kernel refuses is said: the next lease may be better. */
static void apply(int sock, const struct dhcp_lease *lease, const char *how) {
  write_resolvers(lease);
  set_number(sock, CARD, SIOCSIFADDR, 0);
  if (!lease->address) {
    fprintf(stderr, "init: no address %s\n", how);
    return;
  }
  int set = set_number(sock, CARD, SIOCSIFADDR, lease->address) == 0 && set_number(sock, CARD, SIOCSIFNETMASK, lease->mask) == 0;
  if (lease->mtu) {
    struct ifreq request = named(CARD);
    request.ifr_mtu = lease->mtu;
    if (ioctl(sock, SIOCSIFMTU, &request) < 0) fprintf(stderr, "init: the card takes no packets of %u bytes\n", lease->mtu);
  }
  /* Some clouds lease single addresses: their router is on the link all the same. */
  int elsewhere = lease->router && ((lease->router ^ lease->address) & lease->mask);
  if (set && elsewhere) set = add_route(sock, lease->router, INADDR_BROADCAST, 0) == 0;
  if (set && lease->router) set = add_route(sock, 0, 0, lease->router) == 0;
  fprintf(stderr, "init: %s/%d %s, router %s, resolver %s%s\n", text(lease->address), __builtin_popcount(lease->mask), how,
          text(lease->router), text(lease->resolvers[0]), set ? "" : ": refused by the kernel");
}

static uint32_t number_of(const char *words, const char *what) {
  struct in_addr in;
  if (inet_pton(AF_INET, words, &in) != 1) end(what);
  return in.s_addr;
}

static void set_fixed(int sock, char *address) {
  char words[64];
  struct dhcp_lease lease = {0};
  char *slash = strchr(address, '/');
  int bits = slash ? atoi(slash + 1) : 0;
  if (bits < 1 || bits > 32) end("agentkeys.address needs its network's length, as in 10.0.2.15/24");
  *slash = 0;
  lease.address = number_of(address, "agentkeys.address");
  lease.mask = htonl(0xffffffffu << (32 - bits));
  if (parameter("agentkeys.gateway", words, sizeof words)) lease.router = number_of(words, "agentkeys.gateway");
  if (parameter("agentkeys.resolver", words, sizeof words)) lease.resolvers[0] = number_of(words, "agentkeys.resolver");
  apply(sock, &lease, "as measured");
}

/* ---- The process without rights ---- */

static int64_t seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec;
}

static uint32_t fresh(void) {
  uint32_t value = 0;
  if (getrandom(&value, sizeof value, 0) != sizeof value) _exit(1);
  return value;
}

/* Answers are looked at before the card has an address, so below IP; of all that arrives there, only UDP to port 68 is let through. */
static int open_link(int index) {
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),          BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 17, 0, 6),
      BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 6),          BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),
      BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),         BPF_STMT(BPF_LD | BPF_H | BPF_IND, 2),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 68, 0, 1),  BPF_STMT(BPF_RET | BPF_K, 0xffff),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  struct sockaddr_ll link = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = index};
  int sock = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;
  must(sock, "a packet socket");
  must(setsockopt(sock, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter), "SO_ATTACH_FILTER");
  must(setsockopt(sock, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on), "SO_LOCK_FILTER");
  must(setsockopt(sock, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on), "PACKET_AUXDATA");
  must(bind(sock, (struct sockaddr *)&link, sizeof link), "a packet socket");
  return sock;
}

/* What is sent goes by UDP. Answers arrive there too, and are left: the link's socket has them already. */
static int open_udp(void) {
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(68)};
  int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, least = 1;
  must(sock, "a socket");
  must(setsockopt(sock, SOL_SOCKET, SO_BROADCAST, &on, sizeof on), "SO_BROADCAST");
  must(setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &least, sizeof least), "SO_RCVBUF");
  must(setsockopt(sock, SOL_SOCKET, SO_BINDTODEVICE, CARD, sizeof CARD), "SO_BINDTODEVICE");
  must(bind(sock, (struct sockaddr *)&own, sizeof own), "UDP port 68");
  return sock;
}

static ssize_t receive(int link, uint8_t *bytes, size_t size, int *summed) {
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
  } control;
  struct iovec into = {bytes, size};
  struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  ssize_t length = recvmsg(link, &message, MSG_DONTWAIT);
  *summed = 1;
  for (struct cmsghdr *c = length < 0 ? NULL : CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c)) {
    struct tpacket_auxdata aux;
    if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA || c->cmsg_len < CMSG_LEN(sizeof aux)) continue;
    memcpy(&aux, CMSG_DATA(c), sizeof aux);
    *summed = !(aux.tp_status & TP_STATUS_CSUMNOTREADY);
  }
  return length;
}

static void keep_lease(int link, int udp, const uint8_t mac[6], int news) {
  struct dhcp client;
  dhcp_begin(&client, mac, seconds());
  for (;;) {
    uint8_t bytes[2048];
    uint32_t to;
    enum dhcp_news what = DHCP_NOTHING;
    size_t length = dhcp_act(&client, seconds(), fresh(), bytes, &to, &what);
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(67), .sin_addr.s_addr = to};
    /* What is lost on the way is sent again. */
    if (length > 0) (void)!sendto(udp, bytes, length, 0, (struct sockaddr *)&server, sizeof server);
    if (what == DHCP_NOTHING) {
      int64_t wait = client.due - seconds();
      struct pollfd ready = {.fd = link, .events = POLLIN};
      if (poll(&ready, 1, wait < 0 ? 0 : wait > 3600 ? 3600000 : (int)wait * 1000) <= 0) continue;
      int summed;
      ssize_t got = receive(link, bytes, sizeof bytes, &summed);
      if (got > 0) what = dhcp_take(&client, seconds(), fresh(), bytes, (size_t)got, summed);
    }
    if (what == DHCP_NOTHING) continue;
    struct dhcp_lease lease = {0};
    if (what == DHCP_LEASED) lease = client.lease;
    if (write(news, &lease, sizeof lease) != sizeof lease) _exit(1);
  }
}

/* From here on it waits, receives, sends and reports; anything else the kernel ends it for. */
static void only_talk(void) {
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      ALLOW(SYS_poll), ALLOW(SYS_recvmsg), ALLOW(SYS_sendto), ALLOW(SYS_write), ALLOW(SYS_getrandom), ALLOW(SYS_clock_gettime),
      ALLOW(SYS_restart_syscall), ALLOW(SYS_exit_group),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), "seccomp");
}

/* ---- The process with rights ---- */

static pid_t start_leaser(int sock, int news[2]) {
  struct ifreq request = named(CARD);
  must(ioctl(sock, SIOCGIFHWADDR, &request), CARD);
  if (request.ifr_hwaddr.sa_family != ARPHRD_ETHER) end(CARD " is not Ethernet");
  uint8_t mac[6];
  memcpy(mac, request.ifr_hwaddr.sa_data, sizeof mac);
  int link = open_link((int)if_nametoindex(CARD)), udp = open_udp();
  pid_t leaser = fork();
  must(leaser, "fork");
  if (leaser == 0) {
    const struct rlimit none = {0, 0};
    close(news[0]), close(sock);
    must(chroot("/run"), "chroot");
    must(chdir("/"), "chdir");
    must(setrlimit(RLIMIT_NPROC, &none), "RLIMIT_NPROC");
    must(setrlimit(RLIMIT_FSIZE, &none), "RLIMIT_FSIZE");
    must(setrlimit(RLIMIT_NOFILE, &(struct rlimit){1, 1}), "RLIMIT_NOFILE"); /* poll(2) counts against it */
    drop_rights(LEASER);
    only_talk();
    keep_lease(link, udp, mac, news[1]);
  }
  close(link), close(udp), close(news[1]);
  return leaser;
}

void run_network(void) {
  char address[64] = "dhcp";
  int news[2], sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  must(sock, "a socket");
  set_number(sock, "lo", SIOCSIFADDR, htonl(INADDR_LOOPBACK));
  raise_interface(sock, "lo");
  wait_for_card();
  raise_interface(sock, CARD);
  parameter("agentkeys.address", address, sizeof address);
  if (strcmp(address, "dhcp") != 0) {
    set_fixed(sock, address);
    for (;;) pause();
  }
  must(pipe2(news, O_CLOEXEC), "pipe");
  start_leaser(sock, news);
  struct dhcp_lease now = {0}, next;
  while (read(news[0], &next, sizeof next) == sizeof next) {
    /* Renewed as it was: connections stay. */
    int same = next.address == now.address && next.mask == now.mask && next.router == now.router && next.mtu == now.mtu;
    if (!same) apply(sock, &next, "by DHCP");
    else if (memcmp(next.resolvers, now.resolvers, sizeof next.resolvers) != 0) write_resolvers(&next);
    now = next;
  }
  _exit(1); /* what keeps the lease has ended: the first process begins anew */
}
