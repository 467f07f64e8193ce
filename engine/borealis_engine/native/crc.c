/* CRC-32C with the processor's instruction where there is one, else by a table. */
#include <pthread.h>
#include <string.h>

#include "native.h"

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void) {
  for (uint32_t byte = 0; byte < 256; byte++) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0x82F63B78u : crc >> 1;
    table[byte] = crc;
  }
}

static uint32_t by_table(const uint8_t *data, size_t size, uint32_t crc) {
  pthread_once(&once, fill);
  while (size--) crc = crc >> 8 ^ table[(crc ^ *data++) & 255];
  return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_instruction(const uint8_t *data, size_t size, uint32_t crc) {
  uint64_t wide = crc;
  for (; size >= 8; size -= 8, data += 8) {
    uint64_t word;
    memcpy(&word, data, 8);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = (uint32_t)wide;
  while (size--) crc = __builtin_ia32_crc32qi(crc, *data++);
  return crc;
}

static int has_instruction(void) { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
__attribute__((target("+crc"))) static uint32_t by_instruction(const uint8_t *data, size_t size, uint32_t crc) {
  for (; size >= 8; size -= 8, data += 8) {
    uint64_t word;
    memcpy(&word, data, 8);
    crc = __builtin_aarch64_crc32cx(crc, word);
  }
  while (size--) crc = __builtin_aarch64_crc32cb(crc, *data++);
  return crc;
}

static int has_instruction(void) { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
#else
#define by_instruction by_table
static int has_instruction(void) { return 0; }
#endif

uint32_t borealis_crc32c(const void *data, size_t size, uint32_t crc) {
  static int known; /* 0 unknown, 1 by table, 2 by instruction; whoever asks finds the same */
  if (!known) known = 1 + (has_instruction() != 0);
  return ~(known == 2 ? by_instruction(data, size, ~crc) : by_table(data, size, ~crc));
}
