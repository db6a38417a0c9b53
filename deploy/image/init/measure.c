/*
 * Closes the PCRs that hold nothing when the image was booted as it is: 12 (a command line from outside) and 13 (extensions beside it).
 * What was never extended looks like what nobody measured; closed, each has a value that policies can name (measure.ts predicts it), and
 * that a machine with another command line cannot reach.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "init.h"

/* TPM2_PCR_Event (Part 3, section 22.3) extends every bank with the digest of what it is given. The PCR has an empty password. */
static void close_pcr(int tpm, uint8_t pcr) {
  static const char event[] = "agentkeys: closed";
  uint8_t command[64] = {
      0x80, 0x02, 0, 0, 0, 0, 0, 0, 0x01, 0x3c, /* with an authorization, so long, TPM_CC_PCR_Event */
      0, 0, 0, pcr,
      0, 0, 0, 9, 0x40, 0, 0, 0x09, 0, 0, 0, 0, 0, /* by TPM_RS_PW */
      0, sizeof event - 1,
  };
  uint8_t answer[4096];
  size_t length = 29 + sizeof event - 1;
  memcpy(command + 29, event, sizeof event - 1);
  command[5] = (uint8_t)length;
  errno = EIO;
  if (write(tpm, command, length) != (ssize_t)length) end("the TPM");
  ssize_t got = read(tpm, answer, sizeof answer);
  if (got < 10 || memcmp(answer + 6, (uint8_t[4]){0}, 4) != 0) end("the TPM closes no PCR");
}

void close_pcrs(void) {
  int tpm = open("/dev/tpm0", O_RDWR | O_CLOEXEC);
  must(tpm, "/dev/tpm0");
  close_pcr(tpm, 12);
  close_pcr(tpm, 13);
  close(tpm);
}
