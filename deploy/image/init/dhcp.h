/*
 * A DHCP client for IPv4 (RFC 2131) without sockets or a clock of its own: frames go in, packets come out, and the seconds are told. What
 * it is told of the network decides where packets go and nothing else; who answers is not to be trusted with more.
 */
#ifndef DHCP_H
#define DHCP_H

#include <stddef.h>
#include <stdint.h>

#define DHCP_MAX_RESOLVERS 3 /* what a C library reads */
#define DHCP_PACKET 300      /* what is sent: BOOTP's least */
#define DHCP_FOREVER UINT32_MAX

/* What was leased. Addresses are in network order; 0 is none. */
struct dhcp_lease {
  uint32_t address, mask, router, server;
  uint32_t resolvers[DHCP_MAX_RESOLVERS];
  uint32_t seconds, renew_after, rebind_after;
  uint16_t mtu; /* 0: not said */
};

enum dhcp_state { DHCP_SELECTING, DHCP_REQUESTING, DHCP_BOUND, DHCP_RENEWING, DHCP_REBINDING };

struct dhcp {
  enum dhcp_state state;
  uint8_t mac[6];
  uint32_t xid;
  uint32_t tries;
  int64_t begun; /* of this exchange */
  int64_t due;   /* when there is something to do next */
  int64_t asked; /* when what the lease answers was sent: its time runs from there (section 4.4.1) */
  int64_t since; /* when the lease began */
  struct dhcp_lease lease;
};

/* What came of it. */
enum dhcp_news { DHCP_NOTHING, DHCP_LEASED, DHCP_LOST };

void dhcp_begin(struct dhcp *client, const uint8_t mac[6], int64_t now);

/*
 * Does what is due: writes a packet for UDP port 67 and says how long it is, or 0. It goes to `*to` (network order), the broadcast address
 * where there is no address to send from yet. `random` is fresh at every call. A lease that ran out is DHCP_LOST.
 */
size_t dhcp_act(struct dhcp *client, int64_t now, uint32_t random, uint8_t packet[DHCP_PACKET], uint32_t *to, enum dhcp_news *news);

/*
 * Takes an IPv4 packet as it came from the link. Whatever is not an answer to us, whole and sound, is nothing. `summed` is 0 where the card
 * was to fill in UDP's checksum, as between virtual machines on one host.
 */
enum dhcp_news dhcp_take(struct dhcp *client, int64_t now, uint32_t random, const uint8_t *bytes, size_t length, int summed);

#endif
