#include "dhcp.h"

#include <arpa/inet.h>
#include <string.h>

enum { SUBNET = 1, ROUTER = 3, RESOLVER = 6, MTU = 26, REQUESTED = 50, SECONDS = 51, OVERLOAD = 52, TYPE = 53, SERVER = 54, ASKED = 55,
       RENEW = 58, REBIND = 59, CLIENT = 61, END = 255 };
enum { DISCOVER = 1, OFFER = 2, REQUEST = 3, ACK = 5, NAK = 6 };

static const uint8_t cookie[4] = {99, 130, 83, 99};
static const size_t fixed = 236; /* of a BOOTP message, before the cookie */

/* ---- What comes in ---- */

struct message {
  const uint8_t *bytes; /* from the cookie on */
  size_t length;
};

static uint16_t u16(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }
static uint32_t u32(const uint8_t *at) { return (uint32_t)u16(at) << 16 | u16(at + 2); }

static uint32_t address(const uint8_t *at) {
  uint32_t value;
  memcpy(&value, at, sizeof value);
  return value;
}

/* The Internet checksum (RFC 1071): 0 over what carries its own. */
static uint16_t checksum(const uint8_t *bytes, size_t length, uint32_t sum) {
  for (; length > 1; bytes += 2, length -= 2) sum += u16(bytes);
  if (length == 1) sum += (uint32_t)bytes[0] << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return (uint16_t)~sum;
}

/* The UDP payload of an IPv4 packet from port 67 to port 68, whole; or nothing. */
static const uint8_t *payload(const uint8_t *packet, size_t length, int summed, size_t *size) {
  if (length < 20 || packet[0] >> 4 != 4) return NULL;
  size_t header = (size_t)(packet[0] & 15) * 4, total = u16(packet + 2);
  if (header < 20 || total > length || total < header + 8) return NULL; /* link layers pad: what follows is not looked at */
  if (u16(packet + 6) & 0x3fff || packet[9] != 17 || checksum(packet, header, 0) != 0) return NULL; /* no fragments */
  const uint8_t *udp = packet + header;
  size_t said = u16(udp + 4);
  if (u16(udp) != 67 || u16(udp + 2) != 68 || said < 8 || said != total - header) return NULL;
  if (summed && u16(udp + 6) != 0) { /* over addresses, protocol and length as well */
    uint32_t sum = 17 + (uint32_t)said;
    for (size_t at = 12; at < 20; at += 2) sum += u16(packet + at);
    if (checksum(udp, said, sum) != 0) return NULL;
  }
  *size = said - 8;
  return udp + 8;
}

/* The first option of this kind, in the options field only: what overflows into others, or says that it does, is not read (`sound`). */
static const uint8_t *option(const struct message *m, uint8_t wanted, size_t *size) {
  for (size_t at = 4; at < m->length && m->bytes[at] != END;) {
    if (m->bytes[at] == 0) {
      at++;
      continue;
    }
    size_t length = m->bytes[at + 1];
    if (m->bytes[at] == wanted) {
      *size = length;
      return m->bytes + at + 2;
    }
    at += 2 + length;
  }
  return NULL;
}

/* Every option lies within the message, none occurs twice (a long one in parts, RFC 3396, is nothing that we ask for), and there is an end. */
static int sound(const struct message *m) {
  uint8_t seen[256] = {0};
  for (size_t at = 4; at < m->length;) {
    uint8_t kind = m->bytes[at];
    if (kind == END) return !seen[OVERLOAD];
    if (kind == 0) {
      at++;
      continue;
    }
    if (at + 2 > m->length || m->bytes[at + 1] > m->length - at - 2) return 0;
    if (seen[kind]++) return 0;
    at += 2 + (size_t)m->bytes[at + 1];
  }
  return 0;
}

static uint32_t number(const struct message *m, uint8_t kind, uint32_t otherwise) {
  size_t size;
  const uint8_t *value = option(m, kind, &size);
  return value && size == 4 ? u32(value) : otherwise;
}

static uint32_t first_address(const struct message *m, uint8_t kind) {
  size_t size;
  const uint8_t *value = option(m, kind, &size);
  return value && size >= 4 && size % 4 == 0 ? address(value) : 0;
}

/* An address that a machine can have: no network 0 or 127, no multicast, no broadcast. */
static int usable(uint32_t in_network_order) {
  uint32_t top = ntohl(in_network_order) >> 24;
  return top != 0 && top != 127 && top < 224;
}

static int is_mask(uint32_t in_network_order) {
  uint32_t holes = ~ntohl(in_network_order);
  return (holes & (holes + 1)) == 0 && holes != UINT32_MAX;
}

/* Reads what an offer or an acknowledgement leases. */
static int read_lease(const struct message *m, uint32_t given, struct dhcp_lease *lease) {
  size_t size = 0;
  memset(lease, 0, sizeof *lease);
  lease->address = given;
  lease->server = first_address(m, SERVER);
  lease->mask = first_address(m, SUBNET);
  lease->router = first_address(m, ROUTER);
  lease->seconds = number(m, SECONDS, 0);
  if (!usable(given) || !usable(lease->server) || !is_mask(lease->mask) || lease->seconds == 0) return 0;
  if (lease->router && !usable(lease->router)) return 0;
  const uint8_t *resolvers = option(m, RESOLVER, &size);
  for (size_t i = 0; resolvers && size % 4 == 0 && i < size / 4 && i < DHCP_MAX_RESOLVERS; i++) {
    lease->resolvers[i] = address(resolvers + i * 4);
    if (!usable(lease->resolvers[i])) return 0;
  }
  const uint8_t *mtu = option(m, MTU, &size);
  if (mtu && size == 2 && u16(mtu) >= 576 && u16(mtu) <= 9216) lease->mtu = u16(mtu);
  if (lease->seconds == DHCP_FOREVER) {
    lease->renew_after = lease->rebind_after = DHCP_FOREVER;
    return 1;
  }
  uint32_t half = lease->seconds / 2, most = lease->seconds - lease->seconds / 8;
  lease->renew_after = number(m, RENEW, half);
  lease->rebind_after = number(m, REBIND, most);
  if (lease->renew_after > lease->rebind_after || lease->rebind_after > lease->seconds) {
    lease->renew_after = half;
    lease->rebind_after = most;
  }
  return 1;
}

/* ---- What goes out ---- */

static uint8_t *put(uint8_t *at, uint8_t kind, const void *value, uint8_t size) {
  *at++ = kind;
  *at++ = size;
  memcpy(at, value, size);
  return at + size;
}

static size_t write_packet(const struct dhcp *client, int64_t now, uint8_t packet[DHCP_PACKET]) {
  static const uint8_t asked[] = {SUBNET, ROUTER, RESOLVER, MTU, SECONDS, RENEW, REBIND};
  uint8_t type = client->state == DHCP_SELECTING ? DISCOVER : REQUEST;
  uint8_t identity[7] = {1}; /* Ethernet */
  uint32_t xid = htonl(client->xid);
  int64_t seconds = now - client->begun;
  memset(packet, 0, DHCP_PACKET);
  packet[0] = 1; /* a request */
  packet[1] = 1;
  packet[2] = 6;
  memcpy(packet + 4, &xid, 4);
  packet[8] = (uint8_t)((seconds > 0xffff ? 0xffff : seconds) >> 8);
  packet[9] = (uint8_t)(seconds > 0xffff ? 0xff : seconds);
  if (client->state >= DHCP_BOUND) memcpy(packet + 12, &client->lease.address, 4);
  memcpy(packet + 28, client->mac, 6);
  memcpy(packet + fixed, cookie, 4);
  memcpy(identity + 1, client->mac, 6);
  uint8_t *at = packet + fixed + 4;
  at = put(at, TYPE, &type, 1);
  at = put(at, CLIENT, identity, sizeof identity);
  at = put(at, ASKED, asked, sizeof asked);
  if (client->state == DHCP_REQUESTING) {
    at = put(at, REQUESTED, &client->lease.address, 4);
    at = put(at, SERVER, &client->lease.server, 4);
  }
  *at = END;
  return DHCP_PACKET;
}

/* ---- What happens when ---- */

static int64_t later(int64_t since, uint32_t seconds) { return seconds == DHCP_FOREVER ? INT64_MAX : since + seconds; }

static void enter(struct dhcp *client, enum dhcp_state state, int64_t now, int64_t due, uint32_t xid) {
  client->state = state;
  client->xid = xid;
  client->begun = now;
  client->due = due;
  client->tries = 0;
}

void dhcp_begin(struct dhcp *client, const uint8_t mac[6], int64_t now) {
  memset(client, 0, sizeof *client);
  memcpy(client->mac, mac, 6);
  enter(client, DHCP_SELECTING, now, now, 0);
}

/* Without an answer: again after 4, 8, 16, 32 and then every 64 seconds, one more or less (RFC 2131 section 4.1). */
static int64_t again(uint32_t tries, uint32_t random) {
  return (4 << (tries < 4 ? tries : 4)) - 1 + (int64_t)(random >> 8) % 3;
}

/* With a lease: at half the time that is left, but not within a minute of the last (section 4.4.5). */
static int64_t half_way(int64_t now, int64_t until) {
  int64_t wait = (until - now) / 2 > 60 ? (until - now) / 2 : 60;
  return now + wait < until ? now + wait : until;
}

size_t dhcp_act(struct dhcp *client, int64_t now, uint32_t random, uint8_t packet[DHCP_PACKET], uint32_t *to, enum dhcp_news *news) {
  int64_t rebind = later(client->since, client->lease.rebind_after), end = later(client->since, client->lease.seconds);
  *news = DHCP_NOTHING;
  *to = INADDR_BROADCAST;
  if (now < client->due) return 0;
  if (client->state >= DHCP_BOUND && now >= end) {
    /* Whoever is told takes the address away first: what is asked next does not come from it. */
    *news = DHCP_LOST;
    enter(client, DHCP_SELECTING, now, now + 1, 0);
    return 0;
  } else if (client->state >= DHCP_BOUND && client->state < DHCP_REBINDING && now >= rebind) {
    enter(client, DHCP_REBINDING, now, now, random);
  } else if (client->state == DHCP_BOUND) {
    enter(client, DHCP_RENEWING, now, now, random);
  } else if (client->state == DHCP_REQUESTING && client->tries == 4) {
    enter(client, DHCP_SELECTING, now, now, 0); /* who offered has gone */
  }
  if (client->state == DHCP_SELECTING && client->tries == 0) client->xid = random;
  client->due = client->state == DHCP_RENEWING    ? half_way(now, rebind)
                : client->state == DHCP_REBINDING ? half_way(now, end)
                                                  : now + again(client->tries, random);
  if (client->state == DHCP_RENEWING) *to = client->lease.server;
  client->tries++;
  client->asked = now;
  return write_packet(client, now, packet);
}

enum dhcp_news dhcp_take(struct dhcp *client, int64_t now, uint32_t random, const uint8_t *bytes, size_t length, int summed) {
  size_t size;
  struct dhcp_lease lease;
  const uint8_t *bootp = payload(bytes, length, summed, &size);
  if (!bootp || size < fixed + 5 || client->state == DHCP_BOUND || client->tries == 0) return DHCP_NOTHING;
  struct message m = {bootp + fixed, size - fixed};
  int ours = bootp[0] == 2 && bootp[1] == 1 && bootp[2] == 6 && u32(bootp + 4) == client->xid && memcmp(bootp + 28, client->mac, 6) == 0;
  if (!ours || memcmp(m.bytes, cookie, 4) != 0 || !sound(&m)) return DHCP_NOTHING;
  size_t one;
  const uint8_t *type = option(&m, TYPE, &one);
  if (!type || one != 1) return DHCP_NOTHING;
  if (client->state == DHCP_SELECTING) {
    if (*type != OFFER || !read_lease(&m, address(bootp + 16), &lease)) return DHCP_NOTHING;
    client->lease = lease;
    enter(client, DHCP_REQUESTING, client->begun, now, client->xid);
    return DHCP_NOTHING;
  }
  /* Only a rebinding client takes another server's word. */
  if (client->state != DHCP_REBINDING && first_address(&m, SERVER) != client->lease.server) return DHCP_NOTHING;
  if (*type == NAK) {
    int had = client->state != DHCP_REQUESTING;
    enter(client, DHCP_SELECTING, now, now + 1 + (random >> 8) % 8, 0);
    return had ? DHCP_LOST : DHCP_NOTHING;
  }
  if (*type != ACK || !read_lease(&m, address(bootp + 16), &lease)) return DHCP_NOTHING;
  if (client->state != DHCP_REQUESTING && lease.address != client->lease.address) return DHCP_NOTHING;
  client->lease = lease;
  client->since = client->asked;
  enter(client, DHCP_BOUND, now, later(client->since, lease.renew_after), client->xid);
  return DHCP_LEASED;
}
