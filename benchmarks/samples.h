/* Times that were measured, and what of them is told. */
#ifndef SAMPLES_H
#define SAMPLES_H

#include <sys/resource.h>

#include "net.h"

struct samples {
    uint32_t *us;
    size_t count, most;
};

static void take_sample(struct samples *samples, int64_t ns) {
    if (samples->count == samples->most) {
        samples->most = samples->most ? 2 * samples->most : 65536;
        samples->us = realloc(samples->us, samples->most * sizeof *samples->us);
        if (!samples->us) die("no memory for samples");
    }
    samples->us[samples->count++] = (uint32_t)(ns / 1000);
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return a < b ? -1 : a > b;
}

/* Print how many there are, and p50, p99 (nearest rank) and the most in microseconds, all after a space. */
static void tell_samples(struct samples *samples) {
    if (samples->count) qsort(samples->us, samples->count, sizeof *samples->us, by_size);
    printf(" %zu", samples->count);
    for (int share = 50; share <= 148; share += 49) {
        size_t rank = (samples->count * (size_t)(share > 100 ? 100 : share) + 99) / 100;
        printf(" %u", samples->count ? samples->us[rank - 1] : 0);
    }
}

/* The processor time of this program so far, in microseconds. */
static int64_t own_cpu_us(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000LL + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
}

#endif
