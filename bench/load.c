/* Measures an HTTP/1.1 server from the caller's side: requests a second, latency, SSE events, time
 * to the first token, idle connections, hang-ups. One thread, epoll, no dependency.
 *
 *   cc -O2 -std=c11 -o bench/bin/load bench/load.c
 *   load json   --port P --body FILE [--connections N] [--seconds S] [--rate R]
 *   load sse    --port P --body FILE [--connections N] [--seconds S] [--ramp S] [--rate R]
 *   load idle   --port P [--body FILE] [--connections N] [--seconds S]
 *   load hangup --port P --body FILE [--times K] [--before] [--wait-ms W]
 *   all: --host A --path /x --header 'Name: value' (repeat) --warm S --timeout S
 *   sse: --raw prints every time to the first token, in whole us
 *
 * json, sse: without --rate each connection asks again when its answer ends. With --rate the
 * requests have fixed starting times and latency counts from there, so a stall is not hidden by
 * the requests that it kept from being sent. A connection that fails is opened anew 100 ms later.
 * idle: with a body each connection asks once and is then left alone.
 * SIGTERM inside the window closes it.
 * hangup: one stream after the other is closed at its first event, or with --before --wait-ms
 * after it was asked for; the CLOCK_MONOTONIC times of the closes are printed.
 *
 * Standard output: {"mark": "begin"} when the window opens, after --ramp and
 * --warm; {"mark": "end"} when it closes, with the connections held for 200 ms more; then one
 * JSON line. Rates, counts and CPU are those of the window (of the whole run for hangup).
 * Exit code: 0, or 2 when nothing could be measured at all. */
#define _GNU_SOURCE
#include "answer.h"
#include "options.h"
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { LINGER = SECOND / 5, BACKOFF = SECOND / 10 };
enum state { CLOSED, CONNECTING, IDLE, ASKING, READING };

struct conn {
    int fd;
    enum state state;
    bool queued;
    size_t sent;
    int64_t due, active, open_at;
    struct answer answer;
};

static struct conn *conns;
static struct { struct conn **ring; size_t head, count; } idle;
static int64_t begin_at, end_at, next_due;
static bool stopping;
static volatile sig_atomic_t cut_short;
static int poller;

/* --- connections ----------------------------------------------------------------------------- */

static void hear(struct conn *c, uint32_t mask, int how) {
    struct epoll_event e = {.events = mask, .data.ptr = c};
    if (epoll_ctl(poller, how, c->fd, &e) != 0) setup_failed("epoll_ctl");
}

static void shut(struct conn *c, int64_t open_at) {
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
    c->state = CLOSED;
    c->open_at = open_at;
}

static void fail(struct conn *c, const char *what, int64_t now) {
    const char *detail = errno ? strerror(errno) : "";
    note_error(what, detail, strlen(detail));
    shut(c, now + BACKOFF);
}

static void push(struct conn *c, int64_t now) {
    ssize_t n = send(c->fd, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) {
        fail(c, "send: ", now);
        return;
    }
    bool partial = c->state == ASKING && c->sent > 0;
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent < request_size) {
        hear(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        return;
    }
    if (partial) hear(c, EPOLLIN, EPOLL_CTL_MOD);
    c->state = READING;
}

static void ask(struct conn *c, int64_t due, int64_t now) {
    fresh_answer(&c->answer);
    c->state = ASKING;
    c->sent = 0;
    c->due = due;
    c->active = now;
    push(c, now);
}

/* At a rate: starts what is due on connections that are free, oldest first. */
static void dispatch(int64_t now) {
    while (!stopping && next_due <= now && idle.count > 0) {
        struct conn *c = idle.ring[idle.head];
        idle.head = (idle.head + 1) % (size_t)want.connections;
        idle.count--;
        c->queued = false;
        if (c->state != IDLE) continue;
        ask(c, next_due, now);
        next_due += (int64_t)(SECOND / want.rate);
    }
}

static void rest(struct conn *c, int64_t now, bool has_asked) {
    c->state = IDLE;
    if (stopping || (want.idle && (has_asked || want.body == NULL))) return;
    if (want.rate == 0) {
        ask(c, now, now);
    } else if (!c->queued) {
        c->queued = true;
        idle.ring[(idle.head + idle.count++) % (size_t)want.connections] = c;
        dispatch(now);
    }
}

static void dial(struct conn *c, int64_t now);

static void finish(struct conn *c, int64_t now) {
    struct answer *a = &c->answer;
    bool sound = a->status == 200 && !a->failed && (!want.sse || a->done);
    if (!sound && !a->failed) note_error(a->status == 200 ? "no [DONE]" : "status", "", 0);
    if (sound && in_window) want.sse ? ended++ : requests++;
    bool counted = want.rate > 0 ? c->due >= begin_at && c->due < end_at : in_window;
    if (sound && counted) keep(&latency, now - c->due);
    if (!a->last) {
        rest(c, now, true);
        return;
    }
    shut(c, now + BACKOFF);
    if (sound && !stopping && !want.idle) dial(c, now);
}

static void pull(struct conn *c, int64_t now) {
    static char data[1 << 16];
    ssize_t n = recv(c->fd, data, sizeof data, 0);
    struct answer *a = &c->answer;
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0 && c->state == IDLE) {
        reopened++; /* the server's right, between requests */
        shut(c, now + BACKOFF);
        return;
    }
    if (n <= 0 && a->part == TO_EOF && n == 0) {
        finish(c, now);
        return;
    }
    errno = n < 0 ? errno : 0;
    if (n <= 0) {
        fail(c, a->head_at ? "cut inside the answer " : "closed before the answer ", now);
        return;
    }
    bool had_token = a->token_at != 0, had_head = a->head_at != 0;
    bool counted = want.rate == 0 || (c->due >= begin_at && c->due < end_at);
    if (in_window) bytes += (uint64_t)n;
    c->active = now;
    if (c->state != READING || !take(a, data, (size_t)n, now)) {
        fail(c, "not the HTTP answer that was expected ", now);
        return;
    }
    if (counted && !had_head && want.sse) keep(&head_time, now - c->due);
    if (counted && !had_token && a->token_at) keep(&token_time, now - c->due);
    if (a->part == COMPLETE) finish(c, now);
}

static void dial(struct conn *c, int64_t now) {
    int yes = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) setup_failed("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    c->state = CONNECTING;
    c->active = now;
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS)
        fail(c, "connect: ", now);
    else hear(c, EPOLLOUT, EPOLL_CTL_ADD);
}

static void ready(struct conn *c, uint32_t what, int64_t now) {
    if (c->state == CONNECTING) {
        int problem = 0;
        socklen_t size = sizeof problem;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
        if ((errno = problem) != 0) {
            fail(c, "connect: ", now);
            return;
        }
        hear(c, EPOLLIN, EPOLL_CTL_MOD);
        rest(c, now, false);
        return;
    }
    if ((what & EPOLLOUT) && c->state == ASKING) push(c, now);
    if (c->state != CLOSED && (what & ~(uint32_t)EPOLLOUT)) pull(c, now);
}

/* Ten times a second, and when a connection is to be opened: time-outs and openings. */
static void sweep(int64_t now) {
    for (struct conn *c = conns; c < conns + want.connections; c++) {
        bool busy = c->state == CONNECTING || c->state == ASKING || c->state == READING;
        errno = 0;
        if (busy && now - c->active > (int64_t)(want.timeout * SECOND)) fail(c, "timed out", now);
        if (c->state == CLOSED && c->open_at <= now && !stopping) dial(c, now);
    }
}

/* --- the modes ------------------------------------------------------------------------------- */

static void cut(int number) {
    (void)number;
    cut_short = 1;
}

/* Opens the measured window, closes it; true when the linger after it is over. */
static bool move_window(int64_t now, double *cpu) {
    bool opens = !in_window && !stopping && now >= begin_at, closes = in_window && (now >= end_at || cut_short);
    if (opens) begin_at = now;
    if (opens) end_at = now + (int64_t)(want.seconds * SECOND);
    if (opens) signal(SIGTERM, cut);
    if (closes) end_at = now;
    if (opens || closes) {
        printf("{\"mark\": \"%s\"}\n", opens ? "begin" : "end");
        fflush(stdout);
        *cpu = own_cpu() - *cpu;
        in_window = opens;
        stopping = closes;
    }
    return stopping && now >= end_at + LINGER;
}

static int prepare_load(int64_t now) {
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    poller = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc((size_t)want.connections, sizeof *conns);
    idle.ring = calloc((size_t)want.connections, sizeof *idle.ring);
    if (!conns || !idle.ring || epoll_ctl(poller, EPOLL_CTL_ADD, timer, &e)) setup_failed("epoll");
    for (int i = 0; i < want.connections; i++) {
        conns[i].fd = -1;
        conns[i].open_at = now + (int64_t)(want.ramp * SECOND / want.connections * i);
    }
    begin_at = now + (int64_t)((want.ramp + want.warm) * SECOND);
    end_at = begin_at + (int64_t)(want.seconds * SECOND);
    next_due = now;
    return timer;
}

static void print_load(double cpu) {
    double seconds = (double)(end_at - begin_at) / SECOND;
    double behind = next_due < end_at ? (double)(end_at - next_due) * want.rate / SECOND : 0;
    uint64_t open = 0, streams = 0;
    for (int i = 0; i < want.connections; i++) {
        open += conns[i].state > CONNECTING;
        streams += want.sse && conns[i].state == READING;
    }
    printf("{\"mode\": \"%s\", \"unsent\": %.0f", want.mode, behind);
    print_count("connections", open);
    print_count("reopened", reopened);
    print_count("streams", streams);
    print_count("ended", ended);
    print_count("events", events);
    print_count("requests", requests);
    print_count("bytes", bytes);
    printf(", \"rps\": %.1f", (double)requests / seconds);
    print_samples("latency_us", &latency, false);
    print_samples("ttfh_us", &head_time, false);
    print_samples("ttft_us", &token_time, want.raw);
    print_end(seconds, cpu);
}

static void run_load(void) {
    struct epoll_event heard[256];
    int64_t now = clock_ns(), next_sweep = now, armed = 0;
    int64_t ramp_end = now + (int64_t)(want.ramp * SECOND);
    int timer = prepare_load(now);
    double cpu = 0;
    while (now = clock_ns(), !move_window(now, &cpu)) {
        if (now >= next_sweep) {
            sweep(now);
            next_sweep = now + (now < ramp_end ? SECOND / 1000 : BACKOFF);
        }
        if (want.rate > 0) dispatch(now);
        int64_t edge = in_window ? end_at : stopping ? end_at + LINGER : begin_at;
        int64_t wake = edge < next_sweep ? edge : next_sweep;
        if (want.rate > 0 && next_due > now && next_due < wake) wake = next_due;
        if (wake != armed) {
            struct itimerspec at = {.it_value = {wake / SECOND, wake % SECOND}};
            timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
            armed = wake;
        }
        int n = epoll_wait(poller, heard, 256, 1000);
        now = clock_ns();
        for (int i = 0; i < n; i++) {
            uint64_t ticks;
            if (heard[i].data.ptr != NULL) ready(heard[i].data.ptr, heard[i].events, now);
            else if (read(timer, &ticks, sizeof ticks) > 0) armed = 0;
        }
    }
    print_load(cpu);
}

/* Waits until the stream has an event, or with --before for its time. False: nothing to leave. */
static bool read_some(int fd, struct answer *a, int64_t until) {
    char data[1 << 14];
    for (int64_t now = clock_ns(); now < until; now = clock_ns()) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, (int)((until - now) / 1000000) + 1) <= 0) continue;
        ssize_t n = recv(fd, data, sizeof data, 0);
        if (n <= 0 || !take(a, data, (size_t)n, clock_ns()) || a->part == COMPLETE) return false;
        if (!want.before && a->token_at != 0) return true;
    }
    return want.before;
}

static void run_hangups(void) {
    static struct answer a;
    int64_t started = clock_ns();
    double cpu = own_cpu();
    struct timespec gap = {.tv_nsec = SECOND / 20};
    struct timeval limit = {.tv_sec = (time_t)want.timeout + 1};
    printf("{\"mode\": \"hangup\", \"closed_ns\": [");
    for (int i = 0, count = 0; i < want.times; i++, nanosleep(&gap, NULL)) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        fresh_answer(&a);
        bool sent = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
                    send(fd, request, request_size, MSG_NOSIGNAL) == (ssize_t)request_size;
        double wait = want.before ? want.wait_ms / 1e3 : want.timeout;
        bool leaves = sent && read_some(fd, &a, clock_ns() + (int64_t)(wait * SECOND));
        int64_t now = clock_ns();
        close(fd);
        if (leaves) printf("%s%lld", count++ ? ", " : "", (long long)now);
        else note_error("no stream to leave ", "", 0);
    }
    printf("]");
    print_end((double)(clock_ns() - started) / SECOND, own_cpu() - cpu);
}

int main(int count, char **words) {
    struct rlimit files;
    read_arguments(count, words);
    build_request();
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < (rlim_t)want.connections + 16) setup_failed("too few file descriptors");
    int probe = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(probe, (struct sockaddr *)&address, sizeof address) != 0) setup_failed("connect");
    close(probe);
    if (want.hangup) run_hangups();
    else run_load();
    return 0;
}
