/* Clients that publish into a room, and one that listens there: how many frames a second go in, and how long each takes.
 *
 *     inbound JOB_FILE      job.h says what a job file looks like
 *
 * host port clients seconds     where, how many publish, and after how many seconds to give up
 * handshake                     the HTTP request of the upgrade, with the Sec-WebSocket-Key of RFC 6455, section 1.3
 * send, expect ...              the text frame with which the listener joins; what stands in the answer is in the last `expect`
 * publish                       the text frame that publishes; NNNNNNNN becomes its number
 * answer                        how the answer to it begins; another text frame of a publisher ends the program, see `also`
 * also                          how frames begin that come to publishers as well (may come again)
 * in_flight                     so many of a publisher wait for their answers at once
 * warm_ms measure_ms            the window
 *
 * Prints `ready`, waits for a line of standard input, then `measuring` where the window begins and at its end
 *     NS CPU_US ANSWERS P50_US P99_US MOST_US EVENTS P50_US P99_US MOST_US
 * CPU of this program; answers to publishers, and frames that came to the listener, each with its number as #12345678#; times from the
 * publish on. Ends when standard input does, or, with 1, after `seconds`, or when a frame is lost, doubled or refused. */
#define _GNU_SOURCE
#include "client.h"
#include "job.h"
#include "samples.h"

#define MOST_CLIENTS 1000
#define UNDER_WAY (1 << 20)

static struct client *clients; /* the last one listens */
static long publishers, in_flight, standing;
static const struct record *publish_frame, *join_frame, *joined, *answer;
static int64_t sent_ns[UNDER_WAY];
static uint64_t sent, heard;
/* Numbers of a publisher's frames, oldest first: answers come in their order. */
static uint64_t (*waiting)[256];
static unsigned char (*ends)[2];
static struct samples answers, events;
static int is_measuring, is_over;

static void publish(struct client *client) {
    char text[MOST_SENT];
    memcpy(text, publish_frame->value, publish_frame->length);
    fill_in(text, publish_frame->length, "NNNNNNNN", sent);
    waiting[client->index][ends[client->index][1]++] = sent;
    sent_ns[sent++ % UNDER_WAY] = now_ns();
    send_frame(client->fd, TEXT, text, publish_frame->length);
}

static void on_upgrade(struct client *client, int64_t now) {
    (void)now;
    if (client->index == publishers) send_frame(client->fd, TEXT, join_frame->value, join_frame->length);
    else standing++;
}

static void to_listener(struct client *client, int64_t now) {
    const struct frame_reader *reader = &client->reader;
    const char *mark = memmem(reader->kept, reader->kept_length, "#", 1);
    if (memmem(reader->kept, reader->kept_length, joined->value, joined->length)) {
        standing++;
    } else if (mark && mark + 10 <= (const char *)reader->kept + reader->kept_length && mark[9] == '#') {
        uint64_t number = strtoull(mark + 1, NULL, 10);
        heard++;
        if (is_measuring) take_sample(&events, now - sent_ns[number % UNDER_WAY]);
    }
}

static int is_known(const struct client *client) {
    for (const struct record *also = NULL; (also = find_record("also", also));)
        if (begins_with(client, also->value)) return 1;
    return 0;
}

static void on_frame(struct client *client, int opcode, int64_t now) {
    const struct frame_reader *reader = &client->reader;
    if (opcode == CLOSE) die("the server closed: %.*s", reader->kept_length > 2 ? (int)reader->kept_length - 2 : 0, (char *)reader->kept + 2);
    if (client->index == publishers) {
        to_listener(client, now);
    } else if (begins_with(client, answer->value)) {
        uint64_t number = waiting[client->index][ends[client->index][0]++];
        if (is_measuring) take_sample(&answers, now - sent_ns[number % UNDER_WAY]);
        if (!is_over) publish(client);
    } else if (!is_known(client)) {
        die("the server said: %.*s", (int)reader->kept_length, (char *)reader->kept);
    }
}

static void open_all(int epoll) {
    const struct record *handshake = record_of("handshake");
    for (long i = 0; i <= publishers; i++) {
        clients[i].index = (uint32_t)i;
        clients[i].fd = open_connection(record_of("host")->value, (int)setting("port", 1, 65535, 0), 0, epoll, &clients[i]);
        send_all(clients[i].fd, handshake->value, handshake->length);
    }
}

static void take_events(int epoll) {
    struct epoll_event events_found[256];
    int found = epoll_wait(epoll, events_found, 256, 20);
    for (int i = 0; i < found; i++) {
        if (!events_found[i].data.ptr) exit(0); /* standard input has ended */
        if (receive(events_found[i].data.ptr)) die("a connection was refused or has ended: %s", (char *)((struct client *)events_found[i].data.ptr)->reader.kept);
    }
}

int main(int count, char **arguments) {
    if (count != 2) die("inbound JOB_FILE");
    read_job(arguments[1]);
    publishers = setting("clients", 1, MOST_CLIENTS, 1);
    in_flight = setting("in_flight", 1, 200, 1);
    publish_frame = record_of("publish");
    join_frame = record_of("send");
    joined = last_record_of("expect");
    answer = record_of("answer");
    if (publish_frame->length > MOST_SENT) die("the frame is too long");
    clients = calloc((size_t)publishers + 1, sizeof *clients);
    waiting = calloc((size_t)publishers, sizeof *waiting);
    ends = calloc((size_t)publishers, sizeof *ends);
    int64_t deadline = now_ns() + setting("seconds", 1, 600, 60) * 1000000000;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!clients || !waiting || !ends || epoll < 0) die("cannot begin");
    open_all(epoll);
    while (standing <= publishers && now_ns() < deadline) take_events(epoll);
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 0;
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input);
    int64_t begin = now_ns() + setting("warm_ms", 0, 600000, 0) * 1000000, end = begin + setting("measure_ms", 1, 600000, 1) * 1000000;
    for (long i = 0; i < publishers; i++)
        for (long j = 0; j < in_flight; j++) publish(&clients[i]);
    int64_t cpu_before = 0;
    while (now_ns() < deadline) {
        int64_t now = now_ns();
        if (!is_measuring && !is_over && now >= begin) {
            is_measuring = 1;
            begin = now;
            cpu_before = own_cpu_us();
            puts("measuring");
        } else if (is_measuring && now >= end) {
            is_measuring = 0;
            is_over = 1;
            printf("%lld %lld", (long long)(now - begin), (long long)(own_cpu_us() - cpu_before));
            tell_samples(&answers);
            tell_samples(&events);
            putchar('\n');
        }
        if (fflush(stdout) != 0) return 0;
        take_events(epoll);
    }
    die("out of time: %ld stood, %llu were sent, %llu came", standing, (unsigned long long)sent, (unsigned long long)heard);
}
