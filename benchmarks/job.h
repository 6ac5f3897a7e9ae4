/* The job of a load generator: a file of records `KEY LENGTH\nVALUE\n`, written by generator.py. The same key may come again. */
#ifndef JOB_H
#define JOB_H

#include "net.h"

#define MOST_RECORDS 4096

struct record {
    char key[16];
    char *value; /* ends with a zero byte that is not part of it */
    size_t length;
};

static struct record records[MOST_RECORDS];
static unsigned record_count;

static void read_job(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) die("%s: %s", path, strerror(errno));
    struct record *record = records;
    while (fscanf(file, "%15s %zu", record->key, &record->length) == 2) {
        record->value = calloc(1, record->length + 1);
        if (fgetc(file) != '\n' || !record->value || fread(record->value, 1, record->length, file) != record->length)
            die("%s: the record %s is not whole", path, record->key);
        if (++record == records + MOST_RECORDS) die("%s has too many records", path);
    }
    record_count = (unsigned)(record - records);
    fclose(file);
}

/* The record of that key after `previous` (NULL: the first), or NULL. */
static const struct record *find_record(const char *key, const struct record *previous) {
    for (const struct record *at = previous ? previous + 1 : records; at < records + record_count; at++)
        if (strcmp(at->key, key) == 0) return at;
    return NULL;
}

static const struct record *record_of(const char *key) {
    const struct record *record = find_record(key, NULL);
    if (!record) die("the job has no %s", key);
    return record;
}

/* The last record of that key. */
static const struct record *last_record_of(const char *key) {
    const struct record *last = record_of(key);
    for (const struct record *next = last; next; next = find_record(key, next)) last = next;
    return last;
}

/* The number that a record holds; without the record `otherwise`. */
static long setting(const char *key, long least, long most, long otherwise) {
    const struct record *record = find_record(key, NULL);
    return record ? number(record->value, least, most) : otherwise;
}

/* Write `value`, with leading zeros, over every place in `text` that holds `token`. */
static void fill_in(char *text, size_t length, const char *token, uint64_t value) {
    size_t width = strlen(token);
    for (char *at = text; (at = memmem(at, length - (size_t)(at - text), token, width)); at += width) {
        uint64_t left = value;
        for (size_t i = width; i-- > 0; left /= 10) at[i] = (char)('0' + left % 10);
    }
}

#endif
