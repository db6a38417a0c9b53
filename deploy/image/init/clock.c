/*
 * Keeps the clock to the machine's own, the RTC: it began with it, and a processor's counter drifts by seconds a week. The RTC is the
 * hypervisor's, as the time at boot was; the network is not asked. What is kept is the distance that both had at the start, so that an RTC in
 * local time does no harm. The clock never goes back: it is made slower until the RTC has caught up.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/rtc.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#ifndef EVERY
#define EVERY 600
#endif
/* Further back it is not led: whatever that is, it is no drift. */
#define MOST_BACK 60.0

static int read_rtc(int rtc, time_t *seconds) {
  struct rtc_time now;
  if (ioctl(rtc, RTC_RD_TIME, &now) < 0) return -1;
  struct tm fields = {.tm_sec = now.tm_sec, .tm_min = now.tm_min, .tm_hour = now.tm_hour,
                      .tm_mday = now.tm_mday, .tm_mon = now.tm_mon, .tm_year = now.tm_year};
  *seconds = timegm(&fields);
  return 0;
}

/* How far the RTC is ahead, looked at when its second changes; 0 where it cannot be read. */
static int distance(int rtc, double *apart) {
  time_t before, after;
  struct timespec now;
  if (read_rtc(rtc, &before) < 0) return 0;
  for (int tries = 0; tries < 150; tries++) {
    usleep(10000);
    if (read_rtc(rtc, &after) < 0) return 0;
    if (after == before) continue;
    clock_gettime(CLOCK_REALTIME, &now);
    *apart = (double)(after - now.tv_sec) - (double)now.tv_nsec / 1e9;
    return 1;
  }
  return 0;
}

static void correct(double by) {
  struct timespec now;
  fprintf(stderr, "init: the clock is %.1f s %s\n", by < 0 ? -by : by, by < 0 ? "ahead" : "behind");
  if (by < -MOST_BACK) return;
  if (by < 0) {
    struct timeval slower = {.tv_sec = (time_t)by, .tv_usec = (suseconds_t)((by - (double)(time_t)by) * 1e6)};
    adjtime(&slower, NULL);
    return;
  }
  clock_gettime(CLOCK_REALTIME, &now);
  long nanoseconds = now.tv_nsec + (long)((by - (double)(time_t)by) * 1e9);
  now.tv_sec += (time_t)by + nanoseconds / 1000000000;
  now.tv_nsec = nanoseconds % 1000000000;
  clock_settime(CLOCK_REALTIME, &now);
}

void run_clock(void) {
  double begin = 0, apart;
  int rtc = open("/dev/rtc0", O_RDONLY | O_CLOEXEC);
  int kept = rtc >= 0 && distance(rtc, &begin);
  fprintf(stderr, "init: the clock is %s\n", kept ? "kept to the machine's own" : "not kept: there is no RTC");
  while (kept) {
    sleep(EVERY);
    if (distance(rtc, &apart) && (apart - begin > 1 || apart - begin < -1)) correct(apart - begin);
  }
  for (;;) pause();
}
