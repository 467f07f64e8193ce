/* The agent's side of a commit: one append to many members in one call, and the acks without a look by Python. */
#include "frame.h"
#include "native.h"

#define SMALL (16 * 1024) /* bytes of log that are encrypted for all before any is sent: a send fills the caches anew */

void fan_append(fan_copy *copies, int count, uint32_t generation, const uint8_t *sender, uint64_t epoch, uint64_t lsn,
                uint64_t durable, const void *data, size_t size) {
  uint8_t head[APPEND_HEAD] = MAGIC;
  head[4] = VERSION, head[5] = APPEND;
  put32(head + 8, generation);
  memcpy(head + 12, sender, 16);
  put32(head + 44, (uint32_t)(APPEND_HEAD - FRAME + size));
  put64(head + FRAME, epoch);
  put64(head + FRAME + 16, lsn);
  put64(head + FRAME + 24, durable);
  for (int i = 0; i < count; i++) {
    memcpy(head + 28, copies[i].member, 16);
    put64(head + FRAME + 8, copies[i].stream);
    put64(head + FRAME + 32, copies[i].beat);
    uint32_t crc = borealis_crc32c(head + FRAME, APPEND_HEAD - FRAME, borealis_crc32c(head, HEADER, 0));
    put32(head + HEADER, borealis_crc32c(data, size, crc));
    copies[i].result = wire_put(copies[i].to, head, APPEND_HEAD, data, size);
    if (size > SMALL && copies[i].result == 1) copies[i].result = wire_flush(copies[i].to);
  }
  for (int i = 0; i < count && size <= SMALL; i++)
    if (copies[i].result == 1) copies[i].result = wire_flush(copies[i].to);
}

static int parse(const uint8_t *data, size_t have, const uint8_t *member, fan_ack *ack) {
  if (have < ACK_SIZE || memcmp(data, MAGIC, 4) || data[4] != VERSION || data[5] != ACK) return 0;
  if (be32(data + 44) != ACK_SIZE - FRAME || memcmp(data + 12, member, 16)) return 0;
  uint32_t crc = borealis_crc32c(data, HEADER, 0);
  if (borealis_crc32c(data + FRAME, ACK_SIZE - FRAME, crc) != be32(data + HEADER)) return 0;
  *ack = (fan_ack){be32(data + 8), be64(data + FRAME), be64(data + FRAME + 8), be64(data + FRAME + 16), data[FRAME + 24]};
  return 1;
}

int fan_acks(wire *w, const uint8_t *member, fan_ack *acks, int *code) {
  int count = 0;
  *code = wire_receive(w);
  size_t have;
  const uint8_t *data = wire_bytes(w, &have);
  while (have && count < FAN_ACKS && parse(data, have, member, &acks[count])) {
    wire_take(w, ACK_SIZE);
    count++;
    data = wire_bytes(w, &have);
  }
  if (have) *code = 1;
  else if (*code == 1) *code = WIRE_LATER;
  return count;
}
