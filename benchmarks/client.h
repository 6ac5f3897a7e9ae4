/* A connection of a client, from its handshake on: bytes in, whole frames out. What storm.c and inbound.c share. */
#ifndef CLIENT_H
#define CLIENT_H

#include "frames.h"

#define BUFFER (256 * 1024)

static const char KEY_ANSWER[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; /* RFC 6455, section 1.3 */

struct client {
    int fd, upgraded;
    uint32_t index;
    struct frame_reader reader;
};

/* Set by the program: what it does when a client is upgraded, and with a whole frame other than a ping; `kept` begins the payload. */
static void on_upgrade(struct client *client, int64_t now);
static void on_frame(struct client *client, int opcode, int64_t now);

/* A frame is complete: its opcode is in the header. */
static void frame_is_whole(struct client *client, int64_t now) {
    int opcode = client->reader.header[0] & 0x0F;
    if (opcode == PING) send_frame(client->fd, PONG, client->reader.kept, client->reader.kept_length);
    else on_frame(client, opcode, now);
    client->reader.header_length = 0;
}

/* Take bytes of frames, in whatever pieces they come. */
static void take_frames(struct client *client, const unsigned char *data, size_t length, int64_t now) {
    struct frame_reader *reader = &client->reader;
    while (length > 0) {
        if (!header_is_whole(reader)) {
            size_t taken = take_header(reader, data, length);
            data += taken;
            length -= taken;
            if (!header_is_whole(reader)) return;
        }
        size_t part = length < reader->payload_left ? length : (size_t)reader->payload_left;
        keep(reader, data, part, sizeof reader->kept);
        reader->payload_left -= part;
        data += part;
        length -= part;
        if (reader->payload_left == 0) frame_is_whole(client, now);
    }
}

/* Take bytes of the answer to the handshake; what follows it are frames. Returns whether it is no upgrade. */
static int take_answer(struct client *client, const unsigned char *data, size_t length, int64_t now) {
    struct frame_reader *reader = &client->reader;
    for (size_t taken = 0; taken < length;) {
        if (reader->kept_length + 1 == sizeof reader->kept) return 1;
        reader->kept[reader->kept_length++] = data[taken++];
        reader->kept[reader->kept_length] = '\0';
        if (reader->kept_length < 4 || memcmp(reader->kept + reader->kept_length - 4, "\r\n\r\n", 4) != 0) continue;
        char *answer = (char *)reader->kept;
        if (strncmp(answer, "HTTP/1.1 101 ", 13) != 0 || !strstr(answer, KEY_ANSWER)) return 1;
        client->upgraded = 1;
        reader->kept_length = 0;
        on_upgrade(client, now);
        take_frames(client, data + taken, length - taken, now);
        return 0;
    }
    return 0;
}

/* Read what has come. Returns whether the connection has ended, or was refused. */
static int receive(struct client *client) {
    static unsigned char buffer[BUFFER];
    ssize_t length = recv(client->fd, buffer, sizeof buffer, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (length <= 0) return 1;
    int64_t now = now_ns();
    if (!client->upgraded) return take_answer(client, buffer, (size_t)length, now);
    take_frames(client, buffer, (size_t)length, now);
    return 0;
}

static int begins_with(const struct client *client, const char *text) {
    size_t length = strlen(text);
    return client->reader.kept_length >= length && memcmp(client->reader.kept, text, length) == 0;
}

#endif
