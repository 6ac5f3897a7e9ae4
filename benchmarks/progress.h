/* How far each message has come, and what the window of measurement has seen. Included by loadgen.c alone. */
#ifndef PROGRESS_H
#define PROGRESS_H

#include <sys/resource.h>

#include "net.h"

#define UNDER_WAY 16384
#define MOST_SAMPLES (1 << 22)

/* One message. Its slot is taken again by the one that is UNDER_WAY later. */
struct progress {
    uint64_t number;
    uint32_t reached, expected, room;
    int64_t sent_ns, median_ns;
};

static struct progress under_way[UNDER_WAY];
static uint64_t completed, deliveries;

static struct progress *progress_of(uint64_t number) {
    struct progress *progress = &under_way[number % UNDER_WAY];
    if (progress->number != number || progress->expected == 0) {
        if (progress->reached != progress->expected) die("message %llu has not reached all, and there are %d after it",
                                                         (unsigned long long)progress->number, UNDER_WAY);
        *progress = (struct progress){.number = number};
    }
    return progress;
}

enum { WARMING, MEASURING, OVER };

static struct {
    int state;
    int64_t begin_ns, length_ns;
    uint64_t deliveries_before;
    int64_t cpu_before;
    uint32_t *samples_us, count;
} window;

/* The processor time of this program so far, in microseconds. */
static int64_t cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return a < b ? -1 : a > b;
}

/* The nearest rank, in microseconds. */
static uint32_t percentile(unsigned share) {
    if (window.count == 0) return 0;
    uint64_t rank = ((uint64_t)window.count * share + 99) / 100;
    return window.samples_us[rank > 0 ? rank - 1 : 0];
}

static void start_window(int64_t now, long warm_ms, long measure_ms) {
    window.begin_ns = now + warm_ms * 1000000;
    window.length_ns = measure_ms * 1000000;
    window.samples_us = malloc(MOST_SAMPLES * sizeof *window.samples_us);
    if (!window.samples_us) die("no memory for samples");
}

/* Begin or end the window where it is time to; called after every batch of arrivals. */
static void turn_window(int64_t now) {
    if (window.state == WARMING && now >= window.begin_ns) {
        window.state = MEASURING;
        window.begin_ns = now;
        window.deliveries_before = deliveries;
        window.cpu_before = cpu_us();
        puts("measuring");
    } else if (window.state == MEASURING && now >= window.begin_ns + window.length_ns) {
        window.state = OVER;
        qsort(window.samples_us, window.count, sizeof *window.samples_us, by_size);
        printf("%llu %lld %lld %u %u %u %u\n", (unsigned long long)(deliveries - window.deliveries_before),
               (long long)(now - window.begin_ns), (long long)(cpu_us() - window.cpu_before), window.count, percentile(50),
               percentile(99), percentile(100));
    }
}

#endif
