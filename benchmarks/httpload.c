/* Requests on keep-alive connections, one under way on each: how many are answered in a second, and how soon.
 *
 *     httpload HOST PORT CONNECTIONS WARM_MS MEASURE_MS STATUS REQUEST_FILE
 *
 * REQUEST_FILE holds whole HTTP/1.1 requests, with a NUL between two, which are sent in turn again and again. Answers need a Content-Length, but for those that
 * have no body (204, 304).
 *
 * Standard output:   measuring                            when the warm-up is over
 *                    REQUESTS NANOSECONDS P50_US P99_US   at the end
 *
 * Ends with 1 when an answer has another status than STATUS, or when nothing is answered for 5 seconds. */
#include "net.h"

#define MOST_CONNECTIONS 1000
#define MOST_REQUESTS 1000
#define SLOWEST_US 1000000 /* slower ones count as this slow */
#define PATIENCE_MS 5000

struct connection {
    int fd;
    int64_t sent_ns;
    size_t length;
    char answer[256 * 1024];
};

static char requests_text[256 * 1024];
static struct { const char *text; size_t length; } requests_of[MOST_REQUESTS];
static size_t requests_count, next_request;
static char expected[16]; /* "HTTP/1.1 200 " */
static int is_bodiless;
static uint32_t answered_in_us[SLOWEST_US + 1];

static void ask(struct connection *connection) {
    connection->length = 0;
    connection->sent_ns = now_ns();
    send_all(connection->fd, requests_of[next_request].text, requests_of[next_request].length);
    next_request = (next_request + 1) % requests_count;
}

/* Find where each request begins. */
static void split_requests(size_t length) {
    for (const char *at = requests_text, *end = at + length; at < end; at += requests_of[requests_count++].length + 1) {
        if (requests_count == MOST_REQUESTS) die("over %d requests", MOST_REQUESTS);
        requests_of[requests_count].text = at;
        requests_of[requests_count].length = strlen(at);
    }
    if (requests_count == 0) die("no request");
}

/* Find the body's length in the head, which ends at `end`. */
static size_t content_length(const char *head, const char *end) {
    static const char NAME[] = "\r\nContent-Length:";
    for (const char *at = head; at < end; at++) {
        if (*at == '\r' && strncasecmp(at, NAME, sizeof NAME - 1) == 0) return strtoul(at + sizeof NAME - 1, NULL, 10);
    }
    die("an answer without Content-Length: %.*s", (int)(end - head), head);
    return 0;
}

/* Read what came; returns whether the answer is complete. */
static int receive(struct connection *connection) {
    size_t room = sizeof connection->answer - 1 - connection->length;
    ssize_t length = recv(connection->fd, connection->answer + connection->length, room, 0);
    if (length < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (length <= 0) die("the server ended a connection, or its answer is over 256 KiB");
    connection->length += (size_t)length;
    connection->answer[connection->length] = '\0';
    char *end = strstr(connection->answer, "\r\n\r\n");
    if (!end) return 0;
    if (strncmp(connection->answer, expected, strlen(expected)) != 0) die("not the expected status: %s", connection->answer);
    size_t whole = (size_t)(end - connection->answer) + 4 + (is_bodiless ? 0 : content_length(connection->answer, end));
    if (connection->length > whole) die("more than one answer to a request");
    return connection->length == whole;
}

/* Return the time in which `share` of a thousand requests were answered. */
static uint32_t percentile(uint64_t requests, uint64_t share) {
    uint64_t seen = 0;
    for (uint32_t us = 0; us <= SLOWEST_US; us++) {
        seen += answered_in_us[us];
        if (seen * 1000 >= requests * share) return us;
    }
    return SLOWEST_US;
}

static void count_answer(const struct connection *connection, int64_t now) {
    int64_t us = (now - connection->sent_ns) / 1000;
    answered_in_us[us < SLOWEST_US ? us : SLOWEST_US]++;
}

int main(int count, char **arguments) {
    if (count != 8) die("httpload HOST PORT CONNECTIONS WARM_MS MEASURE_MS STATUS REQUEST_FILE");
    long connections = number(arguments[3], 1, MOST_CONNECTIONS);
    int64_t warm_ns = number(arguments[4], 0, 60000) * 1000000, measure_ns = number(arguments[5], 1, 600000) * 1000000;
    long status = number(arguments[6], 100, 599);
    snprintf(expected, sizeof expected, "HTTP/1.1 %ld ", status);
    is_bodiless = status == 204 || status == 304; /* RFC 9110, section 6.4.1 */
    split_requests(read_file(arguments[7], requests_text, sizeof requests_text));

    struct connection *all = calloc((size_t)connections, sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!all || epoll < 0) die("cannot begin: %s", strerror(errno));
    for (long i = 0; i < connections; i++) {
        all[i].fd = open_connection(arguments[1], (int)number(arguments[2], 1, 65535), 0, epoll, &all[i]);
        ask(&all[i]);
    }
    uint64_t requests = 0;
    int64_t begin = now_ns() + warm_ns, last = begin;
    int measuring = 0, is_over = 0;
    for (long waiting = connections; waiting > 0;) {
        struct epoll_event events[256];
        int found = epoll_wait(epoll, events, 256, PATIENCE_MS);
        if (found == 0) die("nothing was answered for %d ms", PATIENCE_MS);
        for (int i = 0; i < found; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!receive(connection)) continue;
            int64_t now = now_ns();
            if (measuring && !is_over) {
                requests++;
                last = now;
                count_answer(connection, now);
            }
            if (!measuring && now >= begin) {
                measuring = 1;
                begin = now;
                puts("measuring");
                fflush(stdout);
            }
            /* After the end, what is under way is still waited for: a server is not left with broken connections. */
            is_over |= measuring && now >= begin + measure_ns;
            if (is_over) waiting--;
            else ask(connection);
        }
    }
    if (requests == 0) die("nothing was answered while it was measured");
    printf("%llu %lld %u %u\n", (unsigned long long)requests, (long long)(last - begin), percentile(requests, 500), percentile(requests, 990));
    return 0;
}
