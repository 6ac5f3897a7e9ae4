/* The floor: the least that a program can do which sends each message to each member. Bounds, not a server to use.
 *
 *     floor REDIS_HOST|REDIS_SOCKET REDIS_PORT alone|joined
 *
 * One epoll loop; Redis pub/sub in; one prebuilt frame a message, one send() a member and message. With `joined`, what one recv()
 * brought from Redis for a room is sent together: fewer calls where messages piled up, the same where they did not. No credentials,
 * no limits, no pings, no history; it knows one Sec-WebSocket-Key, that of RFC 6455, section 1.3; a slow reader stops everybody. */
#define _GNU_SOURCE
#include "../net.h"

#define MOST_ROOMS 10000
#define BUFFER (4 * 1024 * 1024)

static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char JOINED[] = "\x81\x06joined";
static const char SUBSCRIBE[] = "*2\r\n$10\r\nPSUBSCRIBE\r\n$6\r\nroom:*\r\n";

struct member {
    int fd, upgraded, room; /* room: -1 before it has joined */
    unsigned index;         /* in the room */
};

/* What waits to be sent to the room, and its members. */
struct room {
    struct member **members;
    unsigned count, space;
    unsigned char *frames;
    size_t length, frames_space;
};

static struct room rooms[MOST_ROOMS];
static struct room *touched[MOST_ROOMS];
static unsigned touched_count;
static int epoll, joins;
static unsigned char buffer[BUFFER];
static size_t filled;

/* As send_all(), but whoever has gone is nobody's fault; recv() will say so. */
static void send_whole(int fd, const unsigned char *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (sent < 0 && errno == EAGAIN) poll(&writable, 1, 1000);
        else if (sent < 0) return;
        data += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
    }
}

static void flush_room(struct room *room) {
    for (unsigned i = 0; i < room->count; i++) send_whole(room->members[i]->fd, room->frames, room->length);
    room->length = 0;
}

static void add_frame(struct room *room, const unsigned char *payload, size_t length) {
    if (length > 65535) die("a message is too long");
    if (room->length + length + 4 > room->frames_space) {
        room->frames_space = 2 * (room->length + length + 4);
        room->frames = realloc(room->frames, room->frames_space);
    }
    if (room->length == 0) touched[touched_count++] = room;
    unsigned char *at = room->frames + room->length;
    at[0] = 0x81;
    if (length < 126) {
        at[1] = (unsigned char)length;
        at += 2;
    } else {
        at[1] = 126;
        at[2] = (unsigned char)(length >> 8);
        at[3] = (unsigned char)length;
        at += 4;
    }
    memcpy(at, payload, length);
    room->length = (size_t)(at - room->frames) + length;
}

/* Read a line `$123` or `*4` at `*at`; returns its number and moves on, or -2 where it is not whole yet. */
static long read_number(size_t *at) {
    unsigned char *end = memmem(buffer + *at, filled - *at, "\r\n", 2);
    if (!end) return -2;
    long value = strtol((char *)buffer + *at + 1, NULL, 10);
    *at = (size_t)(end - buffer) + 2;
    return value;
}

/* Take one answer of Redis, an array of strings or numbers; returns where the next begins, or 0 where it is not whole yet. */
static size_t take_answer(size_t at) {
    const unsigned char *parts[4];
    size_t lengths[4];
    if (buffer[at] == '-') die("Redis refused: %.100s", buffer + at);
    long count = read_number(&at);
    if (count == -2 || count > 4) return 0;
    for (long i = 0; i < count; i++) {
        if (at >= filled) return 0;
        int is_number = buffer[at] == ':';
        long length = read_number(&at);
        if (length == -2) return 0;
        parts[i] = buffer + at;
        lengths[i] = is_number ? 0 : (size_t)length;
        if (is_number) continue;
        if (filled - at < lengths[i] + 2) return 0;
        at += lengths[i] + 2;
    }
    if (count == 4 && lengths[0] == 8) {
        int room = atoi((const char *)parts[2] + sizeof "room:" - 1);
        add_frame(&rooms[room], parts[3], lengths[3]);
        if (!joins) flush_room(&rooms[room]), touched_count = 0;
    }
    return at;
}

static void hear_redis(int fd) {
    ssize_t length = recv(fd, buffer + filled, sizeof buffer - filled, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) die("Redis has gone");
    filled += (size_t)length;
    size_t at = 0;
    for (size_t next; at < filled && (next = take_answer(at)) > 0;) at = next;
    memmove(buffer, buffer + at, filled - at);
    filled -= at;
    for (unsigned i = 0; i < touched_count; i++) flush_room(touched[i]);
    touched_count = 0;
}

static void join_room(struct member *member, int number) {
    if (number < 0 || number >= MOST_ROOMS) die("there is no room %d", number);
    struct room *room = &rooms[number];
    if (room->count == room->space) {
        room->space = room->space ? 2 * room->space : 16;
        room->members = realloc(room->members, room->space * sizeof *room->members);
    }
    member->room = number;
    member->index = room->count;
    room->members[room->count++] = member;
    send_whole(member->fd, (const unsigned char *)JOINED, sizeof JOINED - 1);
}

static void leave(struct member *member) {
    if (member->room >= 0) {
        struct room *room = &rooms[member->room];
        room->members[member->index] = room->members[--room->count];
        room->members[member->index]->index = member->index;
    }
    close(member->fd);
    free(member);
}

/* The request for the upgrade, then `join 0007`, then pongs, of which nothing is wanted. Each comes whole here. */
static void hear_member(struct member *member) {
    unsigned char data[8192];
    ssize_t length = recv(member->fd, data, sizeof data, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
        leave(member);
    } else if (!member->upgraded) {
        member->upgraded = 1;
        send_whole(member->fd, (const unsigned char *)ANSWER, sizeof ANSWER - 1);
    } else if (member->room < 0 && length == 6 + (ssize_t)sizeof "join 0007" - 1) {
        char text[10] = {0};
        for (int i = 0; i < 9; i++) text[i] = (char)(data[6 + i] ^ data[2 + i % 4]);
        join_room(member, atoi(text + sizeof "join " - 1));
    }
}

static void accept_members(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct member *member = calloc(1, sizeof *member);
        member->fd = fd;
        member->room = -1;
        watched(fd, epoll, member);
    }
}

static int listen_somewhere(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 2048) < 0) die("cannot listen: %s", strerror(errno));
    getsockname(fd, (struct sockaddr *)&address, &size);
    printf("serves on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

int main(int count, char **arguments) {
    if (count != 4) die("floor REDIS_HOST|REDIS_SOCKET REDIS_PORT alone|joined");
    joins = strcmp(arguments[3], "joined") == 0;
    epoll = epoll_create1(EPOLL_CLOEXEC);
    static char redis_tag, listener_tag;
    int redis = open_connection(arguments[1], (int)number(arguments[2], 1, 65535), 0, epoll, &redis_tag);
    send_all(redis, SUBSCRIBE, sizeof SUBSCRIBE - 1);
    int listener = listen_somewhere();
    watched(listener, epoll, &listener_tag);
    watched(STDIN_FILENO, epoll, NULL);
    for (;;) {
        struct epoll_event events[256];
        int found = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < found; i++) {
            void *tag = events[i].data.ptr;
            if (tag == &redis_tag) hear_redis(redis);
            else if (tag == &listener_tag) accept_members(listener);
            else if (tag) hear_member(tag);
            else if (getchar() == EOF) return 0;
        }
    }
}
