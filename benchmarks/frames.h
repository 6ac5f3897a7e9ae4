/* A client's side of WebSocket frames (RFC 6455): what a server sends is neither masked nor fragmented. */
#ifndef FRAMES_H
#define FRAMES_H

#include "net.h"

#define MOST_SENT 4096

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };

/* How far a frame has been read, and the beginning of its payload. */
struct frame_reader {
    unsigned char header[10]; /* a server's frames are not masked, so no header is longer */
    unsigned header_length;
    uint64_t payload_left;
    unsigned kept_length;
    unsigned char kept[1024];
};

/* Send one masked frame (section 5.3). The mask is zero: nothing here needs to be hidden from proxies. */
static void send_frame(int fd, int opcode, const void *payload, size_t length) {
    unsigned char frame[8 + MOST_SENT] = {(unsigned char)(0x80 | opcode)};
    size_t at = 2;
    if (length > MOST_SENT) die("a frame to send is too long");
    if (length < 126) {
        frame[1] = (unsigned char)(0x80 | length);
    } else {
        frame[1] = 0x80 | 126;
        frame[2] = (unsigned char)(length >> 8);
        frame[3] = (unsigned char)length;
        at = 4;
    }
    at += 4;
    memcpy(frame + at, payload, length);
    send_all(fd, frame, at + length);
}

/* How long the header is, as far as its own bytes tell: 2, 4 or 10. */
static unsigned header_size(const struct frame_reader *reader) {
    if (reader->header_length < 2) return 2;
    unsigned length = reader->header[1];
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

/* Take bytes of the header; returns how many. `payload_left` and `kept_length` hold when it is whole. */
static size_t take_header(struct frame_reader *reader, const unsigned char *data, size_t length) {
    size_t taken = 0;
    while (taken < length && reader->header_length < header_size(reader)) reader->header[reader->header_length++] = data[taken++];
    if (reader->header_length == header_size(reader)) {
        if ((reader->header[0] & 0xB0) != 0x80 || reader->header[1] & 0x80) die("a fragmented or masked frame");
        uint64_t size = 0;
        for (unsigned i = 2; i < reader->header_length; i++) size = size << 8 | reader->header[i];
        reader->payload_left = reader->header[1] < 126 ? reader->header[1] : size;
        reader->kept_length = 0;
    }
    return taken;
}

/* Whether it is compressed (RFC 7692, section 6). */
static int is_compressed(const struct frame_reader *reader) {
    return reader->header[0] & 0x40;
}

static int header_is_whole(const struct frame_reader *reader) {
    return reader->header_length == header_size(reader);
}

/* Keep the beginning of the payload, at most `most` bytes. */
static void keep(struct frame_reader *reader, const unsigned char *data, size_t length, size_t most) {
    size_t room = most - reader->kept_length;
    size_t part = length < room ? length : room;
    memcpy(reader->kept + reader->kept_length, data, part);
    reader->kept_length += (unsigned)part;
}

#endif
