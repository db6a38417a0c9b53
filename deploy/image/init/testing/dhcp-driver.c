/*
 * Runs the DHCP client without a network: a command a line in, what came of it a line out (dhcp.test.ts).
 *   begin NOW | act NOW RANDOM | take NOW RANDOM SUMMED HEX
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../dhcp.h"

static const char *words[] = {"selecting", "requesting", "bound", "renewing", "rebinding"};
static const char *news_words[] = {"", "leased", "lost"};
static struct dhcp client;

static const char *text(uint32_t address) {
  static char texts[8][INET_ADDRSTRLEN];
  static unsigned next;
  return inet_ntop(AF_INET, &address, texts[next++ % 8], INET_ADDRSTRLEN);
}

static void report(enum dhcp_news news, const uint8_t *packet, size_t length, uint32_t to) {
  const struct dhcp_lease *l = &client.lease;
  printf("{\"state\":\"%s\",\"news\":\"%s\",\"due\":%lld", words[client.state], news_words[news], (long long)client.due);
  if (length > 0) {
    printf(",\"to\":\"%s\",\"packet\":\"", text(to));
    for (size_t i = 0; i < length; i++) printf("%02x", packet[i]);
    printf("\"");
  }
  if (news == DHCP_LEASED)
    printf(",\"lease\":{\"address\":\"%s\",\"mask\":\"%s\",\"router\":\"%s\",\"server\":\"%s\",\"resolvers\":[\"%s\",\"%s\",\"%s\"],"
           "\"seconds\":%u,\"renew\":%u,\"rebind\":%u,\"mtu\":%u}",
           text(l->address), text(l->mask), text(l->router), text(l->server), text(l->resolvers[0]), text(l->resolvers[1]),
           text(l->resolvers[2]), l->seconds, l->renew_after, l->rebind_after, l->mtu);
  printf("}\n");
}

/* Of exactly its length, so that a sanitizer sees what is read behind it. */
static uint8_t *unhex(const char *hex, size_t *length) {
  *length = strspn(hex, "0123456789abcdef") / 2;
  uint8_t *bytes = malloc(*length ? *length : 1);
  for (size_t i = 0; bytes && i < *length; i++) sscanf(hex + i * 2, "%2hhx", &bytes[i]);
  return bytes;
}

int main(void) {
  static const uint8_t mac[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56};
  static char line[16384];
  while (fgets(line, sizeof line, stdin)) {
    long long now;
    unsigned random;
    int summed, at = 0;
    uint32_t to = 0;
    uint8_t packet[DHCP_PACKET];
    enum dhcp_news news = DHCP_NOTHING;
    if (sscanf(line, "begin %lld", &now) == 1) {
      dhcp_begin(&client, mac, now);
      report(news, NULL, 0, 0);
    } else if (sscanf(line, "act %lld %u", &now, &random) == 2) {
      size_t length = dhcp_act(&client, now, random, packet, &to, &news);
      report(news, packet, length, to);
    } else if (sscanf(line, "take %lld %u %d %n", &now, &random, &summed, &at) == 3 && at > 0) {
      size_t length;
      uint8_t *bytes = unhex(line + at, &length);
      if (!bytes) return 1;
      news = dhcp_take(&client, now, random, bytes, length, summed);
      report(news, NULL, 0, 0);
      free(bytes);
    } else {
      return 2;
    }
  }
  return 0;
}
