/* Part of load.c: the clock, what is counted, and how it is printed. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { SECOND = 1000000000, EXCERPT = 150 };

struct samples {
    double *us;
    size_t count, room;
};
static struct samples latency, head_time, token_time;
static uint64_t requests, events, bytes, errors, ended, reopened;
static char first_error[200];
static bool in_window;

static void setup_failed(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, errno ? strerror(errno) : "not usable");
    exit(2);
}

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

static double own_cpu(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void note_error(const char *what, const char *detail, size_t size) {
    errors++;
    if (first_error[0] == 0)
        snprintf(first_error, sizeof first_error, "%s%.*s", what,
                 (int)(size < EXCERPT ? size : EXCERPT), detail);
}

static void keep(struct samples *s, int64_t ns) {
    if (s->count == s->room) {
        s->room = s->room ? s->room * 2 : 4096;
        s->us = realloc(s->us, s->room * sizeof *s->us);
        if (s->us == NULL) setup_failed("memory");
    }
    s->us[s->count++] = (double)ns / 1e3;
}

static void print_count(const char *name, uint64_t count) {
    printf(", \"%s\": %llu", name, (unsigned long long)count);
}

static int by_size(const void *x, const void *y) {
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void print_samples(const char *name, struct samples *s, bool all) {
    if (s->count) qsort(s->us, s->count, sizeof *s->us, by_size);
    printf(", \"%s\": {\"count\": %zu", name, s->count);
    static const char *const names[] = {"p50", "p90", "p99", "max"};
    static const double marks[] = {.5, .9, .99, 1};
    for (size_t i = 0; i < 4 && s->count; i++)
        printf(", \"%s\": %.1f", names[i], s->us[(size_t)((double)(s->count - 1) * marks[i] + .5)]);
    if (all) printf(", \"all\": [");
    for (size_t i = 0; all && i < s->count; i++) printf("%s%.0f", i ? ", " : "", s->us[i]);
    printf(all ? "]}" : "}");
}

static void print_end(double seconds, double cpu) {
    for (char *p = first_error; *p; p++)
        if (*p == '"' || *p == '\\' || *p < ' ' || *p > '~') *p = '\'';
    print_count("errors", errors);
    printf(", \"first_error\": \"%s\", \"seconds\": %.4f, \"cpu_seconds\": %.4f}\n", first_error,
           seconds, cpu);
}

#endif
