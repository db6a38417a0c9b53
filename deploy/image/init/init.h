/* What the files of the first process have in common. */
#ifndef INIT_H
#define INIT_H

#include <stddef.h>

/* Who runs what: the key service, and what reads the network's answers. */
#define WORKER 1000
#define LEASER 1001

/* Ends the machine, with why and errno. */
void end(const char *why);
void must(int result, const char *what);

/* The value of a parameter of the measured kernel command line, or NULL. */
char *parameter(const char *name, char *value, size_t size);

/* Makes this process one of a user without rights for good: no capability, no core, no way back. */
void drop_rights(unsigned user);

/* network.c: brings the network up, and keeps its lease; a process of its own, which does not return. */
void run_network(void);
/* clock.c: keeps the clock to the RTC; a process of its own, which does not return. */
void run_clock(void);
/* measure.c: gives the PCRs a value that are empty when nobody meddled. */
void close_pcrs(void);
/* confine.c: after everything is loaded and mounted, what the kernel then refuses to everybody. Says each thing on the console. */
void confine_kernel(void);

#endif
