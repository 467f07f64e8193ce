/* Frames of the log protocol, as proto.frames and proto.bodies have them: big-endian. */
#ifndef BOREALIS_FRAME_H
#define BOREALIS_FRAME_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define HEADER 48           /* magic, version, type, 0, generation, sender, recipient, size of the body */
#define FRAME (HEADER + 4)  /* and the checksum */
#define APPEND_HEAD (FRAME + 40)
#define ACK_SIZE (FRAME + 25)
#define MAGIC "BRLS"
#define VERSION 4
#define APPEND 4
#define ACK 35

static inline uint32_t be32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return be32toh(v); }
static inline uint64_t be64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return be64toh(v); }
static inline void put32(uint8_t *p, uint32_t v) { v = htobe32(v); memcpy(p, &v, 4); }
static inline void put64(uint8_t *p, uint64_t v) { v = htobe64(v); memcpy(p, &v, 8); }

#endif
