/* What loadgen.c and httpload.c share: time, dying with a reason, connections on the loopback interface, and files. Linux only. */
#ifndef NET_H
#define NET_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* Say why on standard error, and end with 1. */
static void die(const char *form, ...) {
    va_list parts;
    va_start(parts, form);
    vfprintf(stderr, form, parts);
    va_end(parts);
    fputc('\n', stderr);
    exit(1);
}

/* Nanoseconds of the clock that Python calls time.monotonic_ns(). */
static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Give the number that an argument is; anything else, or one outside the bounds, is wrong use. */
static long number(const char *text, long least, long most) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < least || value > most) die("%s is no number from %ld to %ld", text, least, most);
    return value;
}

/* Read a whole file of at most `most` bytes; ends it with a zero byte and returns its length. */
static size_t read_file(const char *path, char *into, size_t most) {
    FILE *file = fopen(path, "rb");
    if (!file) die("%s: %s", path, strerror(errno));
    size_t length = fread(into, 1, most, file);
    if (length == most) die("%s is too long", path);
    fclose(file);
    into[length] = '\0';
    return length;
}

/* Send all of it, waiting for at most a few seconds where the other side is slow. */
static void send_all(int fd, const void *data, size_t length) {
    for (const char *at = data; length > 0;) {
        ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (sent < 0 && errno == EAGAIN && poll(&writable, 1, 5000) == 1) continue;
        if (sent < 0) die("cannot send: %s", errno == EAGAIN ? "the peer does not read" : strerror(errno));
        at += sent;
        length -= (size_t)sent;
    }
}

/* Watch a socket for reading; `tag` comes back with its events. */
static int watched(int fd, int epoll, void *tag) {
    struct epoll_event interest = {.events = EPOLLIN, .data.ptr = tag};
    fcntl(fd, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &interest) < 0) die("epoll_ctl: %s", strerror(errno));
    return fd;
}

/* Connect to a socket in the file system, and watch it. */
static int open_local(const char *path, int epoll, void *tag) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) die("%s is too long", path);
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("%s: %s", path, strerror(errno));
    return watched(fd, epoll, tag);
}

/* Connect (from 127.0.0.1 and `source` more; a host with a slash is a path), and watch the socket for reading; `tag` comes back with its events. */
static int open_connection(const char *host, int port, int source, int epoll, void *tag) {
    if (host[0] == '/') return open_local(host, epoll, tag);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("%s is no IPv4 address", host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)source)};
    /* The port is chosen when the other end is known: there are as many of them for each source. */
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (source > 0 && bind(fd, (struct sockaddr *)&from, sizeof from) < 0) die("cannot connect from 127.0.0.%d: %s", 1 + source, strerror(errno));
    struct timeval patience = {.tv_sec = 5};
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) die("cannot connect: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return watched(fd, epoll, tag);
}

#endif
