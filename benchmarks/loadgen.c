/* Members of rooms: opens WebSockets (RFC 6455), joins by what the job says, and tells how far the messages come.
 *
 *     loadgen JOB_FILE        job.h says what a job file looks like
 *
 * host port members seconds     where, how many, and after how many seconds to give up
 * rooms                         member i is in room i modulo this; RRRR in `handshake` and `send` becomes the room
 * sources                       connect from so many addresses 127.0.0.x by turns (1)
 * handshake                     the HTTP request of the upgrade, with the Sec-WebSocket-Key of RFC 6455, section 1.3
 * expect, send ...              pairs: a frame that holds `expect` is answered by `send`; the empty one stands for the upgrade.
 *                               The frame that holds the last `expect`, which has no `send`, makes a connection ready
 * dense                         every event's `offset` is that of the event before on its connection plus one, and is its number
 * opcode                        of what is sent: 1 text, 2 binary
 * ping, pong                    a frame that is all of `ping` is answered by `pong`
 *
 * Prints `ready` when every connection is. A message has a number, #12345678#, somewhere in it; a frame may hold several. With
 * `count_events` the n-th frame of a connection that begins with {"type":"event", or is compressed, is message n instead. Then there are two ways:
 *
 * Without publish_port somebody else publishes into room 0:
 *     NUMBER MEDIAN_NS LAST_NS    when a message has reached all: monotonic times of the middle and the last
 *
 * With it, messages are published here, into rooms at random, once standard input has a line:
 * publish_host publish_port     the broker; `hello` is sent to it first
 * message ...                   what is sent to publish in room 0, 1, ...; NNNNNNNN becomes the number
 * in_flight                     so many messages are always under way, or
 * rate_milli                    so many a thousand seconds are sent, whatever arrives
 * warm_ms measure_ms            the window. Prints `measuring` where it begins, and at its end
 *     DELIVERIES NS CPU_US MESSAGES P50_US P99_US MOST_US    CPU of this program; times are from the publish to the last member
 *
 * Ends when standard input does, or, with 1, after `seconds`, or when a connection ends, breaks the protocol, or gets a message
 * twice or of another room. */
#define _GNU_SOURCE
#include "frames.h"
#include "job.h"
#include "progress.h"

#define MOST_CONNECTIONS 100000
#define HANDSHAKES_AT_ONCE 100
#define MOST_STEPS 8
#define BUFFER (256 * 1024)
#define DIGITS 8

static const char KEY_ANSWER[] = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="; /* RFC 6455, section 1.3 */
static const char EVENT[] = "{\"type\":\"event\"";

struct connection {
    int fd, upgraded;
    uint32_t room;
    unsigned step; /* the one that is expected next */
    uint64_t events;
    int mark;      /* 0: outside of a number; n: # and n - 1 digits have been read */
    uint64_t value;
    struct frame_reader reader;
};

static uint32_t connections, rooms, ready;
static int may_publish;
static int opcode_sent, counts_events, is_dense;
static const struct record *expects[MOST_STEPS], *sends[MOST_STEPS], *ping, *pong;
static unsigned steps;

/* Publishing. */
static struct record *messages;
static int broker = -1;
static long in_flight, rate_milli;
static uint64_t published;
static int64_t next_due;
static uint32_t seed = 1;

static uint32_t size_of_room(uint32_t room) {
    return connections / rooms + (room < connections % rooms);
}

static void reached_all(struct progress *progress, int64_t now) {
    completed++;
    if (broker < 0) {
        printf("%llu %lld %lld\n", (unsigned long long)progress->number, (long long)progress->median_ns, (long long)now);
    } else if (window.state == MEASURING && window.count < MOST_SAMPLES) {
        window.samples_us[window.count++] = (uint32_t)((now - progress->sent_ns) / 1000);
    }
}

static void message_arrived(struct connection *connection, uint64_t number, int64_t now) {
    struct progress *progress = progress_of(number);
    if (progress->expected == 0) {
        if (broker >= 0) die("message %llu was not published here", (unsigned long long)number);
        progress->expected = size_of_room(0);
    }
    if (progress->room != connection->room) die("message %llu is of room %u, and came to %u", (unsigned long long)number, progress->room, connection->room);
    if (progress->reached == progress->expected) die("message %llu came twice", (unsigned long long)number);
    progress->reached++;
    deliveries++;
    if (progress->reached == (progress->expected + 1) / 2) progress->median_ns = now;
    if (progress->reached == progress->expected) reached_all(progress, now);
}

/* Find numbers in a part of a payload; one may be cut in two by the end of the part. */
static void find_marks(struct connection *connection, const unsigned char *data, size_t length, int64_t now) {
    const unsigned char *end = data + length;
    while (data < end) {
        if (connection->mark == 0) {
            data = memchr(data, '#', (size_t)(end - data));
            if (!data) return;
            data++;
            connection->mark = 1;
            connection->value = 0;
        } else if (connection->mark <= DIGITS) {
            int is_digit = *data >= '0' && *data <= '9';
            connection->value = connection->value * 10 + (uint64_t)(*data - '0');
            connection->mark = is_digit ? connection->mark + 1 : 0;
            data += is_digit;
        } else {
            connection->mark = 0;
            if (*data++ == '#') message_arrived(connection, connection->value, now);
        }
    }
}

static void send_text(struct connection *connection, const struct record *text) {
    char filled[MOST_SENT];
    if (text->length > sizeof filled) die("a frame to send is too long");
    memcpy(filled, text->value, text->length);
    fill_in(filled, text->length, "RRRR", connection->room);
    send_frame(connection->fd, opcode_sent, filled, text->length);
}

/* Go on with joining where the frame, or the upgrade, is what is waited for. */
static void join(struct connection *connection) {
    const struct frame_reader *reader = &connection->reader;
    const struct record *expected = expects[connection->step];
    if (!memmem(reader->kept, reader->kept_length, expected->value, expected->length)) return;
    if (++connection->step < steps) send_text(connection, sends[connection->step - 1]);
    else if (++ready == connections) puts("ready");
}

/* Take an event whose offset must follow that of the one before. */
static void next_offset_arrived(struct connection *connection, int64_t now) {
    static const char OFFSET[] = "\"offset\":\"";
    const struct frame_reader *reader = &connection->reader;
    const char *found = memmem(reader->kept, reader->kept_length, OFFSET, sizeof OFFSET - 1);
    if (!found) die("an event without an offset");
    uint64_t offset = strtoull(found + sizeof OFFSET - 1, NULL, 10);
    if (connection->events > 0 && offset != connection->events + 1)
        die("offset %llu came after %llu", (unsigned long long)offset, (unsigned long long)connection->events);
    connection->events = offset;
    message_arrived(connection, offset, now);
}

/* A frame is complete: its opcode is in the header, the beginning of its payload is kept. */
static void frame_arrived(struct connection *connection, int64_t now) {
    struct frame_reader *reader = &connection->reader;
    int opcode = reader->header[0] & 0x0F;
    unsigned length = reader->kept_length;
    if (opcode == PING) {
        send_frame(connection->fd, PONG, reader->kept, length);
    } else if (opcode == CLOSE) {
        int code = length >= 2 ? reader->kept[0] << 8 | reader->kept[1] : 1005;
        die("the server closed: %d %.*s", code, length > 2 ? (int)length - 2 : 0, (char *)reader->kept + 2);
    } else if (connection->step < steps) {
        join(connection);
    } else if (ping && length == ping->length && memcmp(reader->kept, ping->value, length) == 0) {
        send_frame(connection->fd, opcode_sent, pong->value, pong->length);
    } else if (counts_events && (is_compressed(reader) || (length >= sizeof EVENT - 1 && memcmp(reader->kept, EVENT, sizeof EVENT - 1) == 0))) {
        if (is_dense) next_offset_arrived(connection, now);
        else message_arrived(connection, connection->events++, now);
    }
}

/* Take bytes of frames, in whatever pieces they come. */
static void take_frames(struct connection *connection, const unsigned char *data, size_t length, int64_t now) {
    struct frame_reader *reader = &connection->reader;
    while (length > 0) {
        if (!header_is_whole(reader)) {
            size_t taken = take_header(reader, data, length);
            data += taken;
            length -= taken;
            if (!header_is_whole(reader)) return;
            connection->mark = 0;
        }
        size_t part = length < reader->payload_left ? length : (size_t)reader->payload_left;
        keep(reader, data, part, connection->step < steps ? sizeof reader->kept : 125);
        if (!counts_events) find_marks(connection, data, part, now);
        reader->payload_left -= part;
        data += part;
        length -= part;
        if (reader->payload_left == 0) {
            frame_arrived(connection, now);
            reader->header_length = 0;
        }
    }
}

/* Take bytes of the answer to the handshake; what follows it are frames. */
static void take_answer(struct connection *connection, const unsigned char *data, size_t length, int64_t now) {
    struct frame_reader *reader = &connection->reader;
    for (size_t taken = 0; taken < length;) {
        if (reader->kept_length + 1 == sizeof reader->kept) die("the answer to the handshake is too long");
        reader->kept[reader->kept_length++] = data[taken++];
        reader->kept[reader->kept_length] = '\0';
        if (reader->kept_length < 4 || memcmp(reader->kept + reader->kept_length - 4, "\r\n\r\n", 4) != 0) continue;
        char *answer = (char *)reader->kept;
        if (strncmp(answer, "HTTP/1.1 101 ", 13) != 0 || !strstr(answer, KEY_ANSWER)) die("no upgrade: %s", answer);
        connection->upgraded = 1;
        reader->kept_length = 0;
        if (expects[0]->length == 0) join(connection);
        take_frames(connection, data + taken, length - taken, now);
        return;
    }
}

static unsigned char buffer[BUFFER];

static void receive(struct connection *connection) {
    ssize_t length = recv(connection->fd, buffer, sizeof buffer, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (length <= 0) die("the server ended a connection%s%s", length < 0 ? ": " : "", length < 0 ? strerror(errno) : "");
    int64_t now = now_ns();
    if (connection->upgraded) take_frames(connection, buffer, (size_t)length, now);
    else take_answer(connection, buffer, (size_t)length, now);
}

/* Read what the broker answers; only a refusal is of interest. */
static void hear_broker(void) {
    ssize_t length = recv(broker, buffer, sizeof buffer - 1, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (length <= 0) die("the broker ended the connection");
    if (buffer[0] == '-' || memmem(buffer, (size_t)length, "\r\n-", 3)) die("the broker refused: %.*s", (int)length, buffer);
}

/* Publish the next message into a room at random; it is sent by flush_messages(). */
static char outgoing[1 << 20];
static size_t outgoing_length;

static void flush_messages(void) {
    if (outgoing_length > 0) send_all(broker, outgoing, outgoing_length);
    outgoing_length = 0;
}

static void publish(int64_t now) {
    seed = seed * 1664525 + 1013904223;
    uint32_t room = (uint32_t)(((uint64_t)seed * rooms) >> 32);
    struct progress *progress = progress_of(published);
    progress->expected = size_of_room(room);
    progress->room = room;
    progress->sent_ns = now;
    const struct record *message = &messages[room];
    if (outgoing_length + message->length > sizeof outgoing) flush_messages();
    if (message->length > sizeof outgoing) die("a message is too long");
    char *at = outgoing + outgoing_length;
    memcpy(at, message->value, message->length);
    fill_in(at, message->length, "NNNNNNNN", published++);
    outgoing_length += message->length;
}

/* Publish what is due. Returns for how many milliseconds nothing else will be. */
static int publish_due(int64_t now) {
    if (broker < 0 || !may_publish || window.state == OVER) return 100;
    if (window.length_ns == 0) {
        start_window(now, setting("warm_ms", 0, 600000, 0), setting("measure_ms", 1, 600000, 1));
        next_due = now;
    }
    if (rate_milli > 0) {
        for (; next_due <= now; next_due += 1000000000000LL / rate_milli) publish(now);
    } else {
        while (published - completed < (uint64_t)in_flight) publish(now);
    }
    flush_messages();
    turn_window(now);
    int64_t wait = rate_milli > 0 ? (next_due - now) / 1000000 : 100;
    return wait > 100 ? 100 : (int)wait;
}

static void read_steps(void) {
    const struct record *send = NULL;
    for (const struct record *at = NULL; (at = find_record("expect", at)) && steps < MOST_STEPS;) {
        expects[steps] = at;
        sends[steps++] = send = find_record("send", send);
    }
    if (steps == 0) die("the job does not say how to join");
    ping = find_record("ping", NULL);
    pong = find_record("pong", NULL);
    if (ping && !pong) die("a ping needs its pong");
}

static void read_messages(void) {
    messages = calloc(rooms, sizeof *messages);
    const struct record *message = NULL;
    for (uint32_t room = 0; room < rooms; room++) {
        message = find_record("message", message);
        if (!message) die("there is no message for room %u", room);
        messages[room] = *message;
    }
    in_flight = setting("in_flight", 1, UNDER_WAY - 1, 1);
    rate_milli = setting("rate_milli", 1, 1000000000, 0);
}

static void open_next(struct connection *connection, int epoll, uint32_t index) {
    const struct record *handshake = record_of("handshake");
    char filled[MOST_SENT];
    if (handshake->length > sizeof filled) die("the handshake is too long");
    connection->room = index % rooms;
    connection->fd = open_connection(record_of("host")->value, (int)setting("port", 1, 65535, 0), (int)(index % (uint32_t)setting("sources", 1, 250, 1)), epoll, connection);
    memcpy(filled, handshake->value, handshake->length);
    fill_in(filled, handshake->length, "RRRR", connection->room);
    send_all(connection->fd, filled, handshake->length);
}

int main(int count, char **arguments) {
    if (count != 2) die("loadgen JOB_FILE");
    read_job(arguments[1]);
    connections = (uint32_t)number(record_of("members")->value, 1, MOST_CONNECTIONS);
    rooms = (uint32_t)setting("rooms", 1, connections, 1);
    is_dense = find_record("dense", NULL) != NULL;
    counts_events = is_dense || find_record("count_events", NULL);
    opcode_sent = (int)setting("opcode", TEXT, BINARY, TEXT);
    int64_t deadline = now_ns() + setting("seconds", 1, 3600, 60) * 1000000000;
    read_steps();

    struct connection *all = calloc(connections, sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    if (!all || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0) die("cannot begin: %s", strerror(errno));
    if (find_record("publish_port", NULL)) {
        read_messages();
        broker = open_connection(record_of("publish_host")->value, (int)setting("publish_port", 1, 65535, 0), 0, epoll, &broker);
        const struct record *hello = find_record("hello", NULL);
        if (hello) send_all(broker, hello->value, hello->length);
    }
    uint32_t opened = 0;
    while (now_ns() < deadline) {
        for (; opened < connections && opened - ready < HANDSHAKES_AT_ONCE; opened++) open_next(&all[opened], epoll, opened);
        int wait = publish_due(now_ns());
        struct epoll_event events[256];
        int found = epoll_wait(epoll, events, 256, wait);
        for (int i = 0; i < found; i++) {
            if (events[i].data.ptr == &broker) hear_broker();
            else if (events[i].data.ptr) receive(events[i].data.ptr);
            else if (getchar() == EOF) return 0;
            else may_publish = ready == connections;
        }
        if (fflush(stdout) != 0) return 0; /* nobody reads any more */
    }
    uint32_t waits = 0;
    while (waits + 1 < opened && all[waits].step == steps) waits++;
    die("out of time: %u of %u were ready, %llu messages had arrived; connection %u waits at step %u after %.*s", ready, connections,
        (unsigned long long)completed, waits, all[waits].step, (int)all[waits].reader.kept_length, (char *)all[waits].reader.kept);
}
