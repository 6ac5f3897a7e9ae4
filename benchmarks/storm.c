/* Clients that come back all at once: handshake, subscribe from an offset, get what was missed; and how long that took for each.
 *
 *     storm JOB_FILE        job.h says what a job file looks like
 *
 * host port clients seconds     where, how many, and after how many seconds to give up
 * handshake                     the HTTP request of the upgrade, with the Sec-WebSocket-Key of RFC 6455, section 1.3
 * send                          the text frame that is sent after the upgrade
 * expect ...                    the last one stands in the frame that answers it
 * refused                       where this stands in that answer, the client counts as refused (none)
 * events                        so many frames that begin with {"type":"event" come as well (0)
 *
 * Prints `ready` and waits for a line of standard input. Then all connect at once. When each is done or has failed, prints
 *     DONE FAILED NS CPU_US COUNT P50_US P99_US MOST_US      NS until the last; CPU of this program; times from the connect on
 * The connections stay until standard input ends. Ends with 1 after `seconds`. */
#define _GNU_SOURCE
#include "client.h"
#include "job.h"
#include "samples.h"

#define MOST_CLIENTS 50000

struct state {
    int64_t begun_ns;
    long events;
    int answered, is_over;
};

static struct client *clients;
static struct state *states;
static long client_count, events_wanted, done, failed, begun;
static const struct record *to_send, *expected, *refused;
static struct samples times;
static int64_t last_ns;
static char first_failure[256];

static void end(struct client *client, int is_done, int64_t now) {
    struct state *state = &states[client->index];
    if (state->is_over) return;
    state->is_over = 1;
    last_ns = now;
    if (is_done) {
        done++;
        take_sample(&times, now - state->begun_ns);
        return;
    }
    if (failed++ == 0) snprintf(first_failure, sizeof first_failure, "%.*s", (int)client->reader.kept_length, (char *)client->reader.kept);
    close(client->fd);
}

static void on_upgrade(struct client *client, int64_t now) {
    (void)now;
    send_frame(client->fd, TEXT, to_send->value, to_send->length);
}

static void on_frame(struct client *client, int opcode, int64_t now) {
    struct state *state = &states[client->index];
    const struct frame_reader *reader = &client->reader;
    if (opcode == CLOSE) {
        end(client, 0, now);
    } else if (begins_with(client, "{\"type\":\"event\"")) {
        state->events++;
    } else if (memmem(reader->kept, reader->kept_length, expected->value, expected->length)) {
        state->answered = 1;
        if (refused && memmem(reader->kept, reader->kept_length, refused->value, refused->length)) end(client, 0, now);
    }
    if (state->answered && state->events >= events_wanted) end(client, 1, now);
}

/* Begin to connect, without waiting for it; what fails then is seen as an event. */
static void begin(struct client *client, int epoll, const struct sockaddr_in *address) {
    struct epoll_event interest = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = client};
    int on = 1;
    states[client->index].begun_ns = now_ns();
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (client->fd < 0 || (connect(client->fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno != EINPROGRESS) ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &interest) < 0)
        die("cannot connect: %s", strerror(errno));
}

/* The connection stands: send the handshake, and only read from now on. */
static void connected(struct client *client, int epoll) {
    const struct record *handshake = record_of("handshake");
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = client};
    int error = 0;
    socklen_t size = sizeof error;
    epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &interest);
    if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error ||
        send(client->fd, handshake->value, handshake->length, MSG_NOSIGNAL) != (ssize_t)handshake->length)
        end(client, 0, now_ns());
}

static void tell(int64_t begun_ns, int64_t cpu_before) {
    printf("%ld %ld %lld %lld", done, failed, (long long)(last_ns - begun_ns), (long long)(own_cpu_us() - cpu_before));
    tell_samples(&times);
    putchar('\n');
    if (failed) fprintf(stderr, "the first that failed had got: %s\n", first_failure);
}

int main(int count, char **arguments) {
    if (count != 2) die("storm JOB_FILE");
    read_job(arguments[1]);
    client_count = setting("clients", 1, MOST_CLIENTS, 1);
    events_wanted = setting("events", 0, 100000, 0);
    to_send = record_of("send");
    expected = last_record_of("expect");
    refused = find_record("refused", NULL);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)setting("port", 1, 65535, 0))};
    if (inet_pton(AF_INET, record_of("host")->value, &address.sin_addr) != 1) die("no IPv4 address");
    clients = calloc((size_t)client_count, sizeof *clients);
    states = calloc((size_t)client_count, sizeof *states);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL};
    if (!clients || !states || epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) < 0) die("cannot begin");
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF) return 0;
    int64_t begun_ns = now_ns(), cpu_before = own_cpu_us(), deadline = begun_ns + setting("seconds", 1, 600, 60) * 1000000000;
    int is_told = 0;
    while (now_ns() < deadline) {
        /* Some at a time, so that what comes meanwhile is read as soon as it does. */
        for (long some = 0; some < 64 && begun < client_count; some++, begun++) {
            clients[begun].index = (uint32_t)begun;
            begin(&clients[begun], epoll, &address);
        }
        struct epoll_event events[256];
        int found = epoll_wait(epoll, events, 256, begun < client_count ? 0 : 100);
        for (int i = 0; i < found; i++) {
            struct client *client = events[i].data.ptr;
            if (!client) {
                if (getchar() == EOF) return 0;
                continue;
            }
            if (states[client->index].is_over && events[i].events & (EPOLLHUP | EPOLLERR)) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, client->fd, NULL);
                continue;
            }
            if (events[i].events & EPOLLOUT) connected(client, epoll);
            if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR) && receive(client)) {
                end(client, 0, now_ns());
                epoll_ctl(epoll, EPOLL_CTL_DEL, client->fd, NULL);
            }
        }
        if (!is_told && done + failed == client_count) {
            tell(begun_ns, cpu_before);
            is_told = 1;
        }
        if (fflush(stdout) != 0) return 0;
    }
    die("out of time: %ld of %ld were done, %ld had failed", done, client_count, failed);
}
