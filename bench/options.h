/* Part of load.c: the command line in, what is wanted and the request's bytes out. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H
#include "answer.h"
#include <arpa/inet.h>
#include <getopt.h>

static struct {
    const char *mode, *host, *path, *body;
    int port, connections, times, wait_ms;
    double seconds, warm, ramp, rate, timeout;
    bool before, raw, sse, idle, hangup;
} want = {.host = "127.0.0.1", .path = "/v1/chat/completions", .connections = 1, .times = 20,
          .wait_ms = 50, .seconds = 5, .timeout = 10};
static struct sockaddr_in address;
static char headers[4096], *request;
static size_t request_size;

static void build_request(void) {
    char *body = NULL;
    size_t size = 0, got = 0;
    if (want.body != NULL) {
        FILE *file = fopen(want.body, "rb");
        if (file == NULL || fseek(file, 0, SEEK_END) != 0) setup_failed(want.body);
        size = (size_t)ftell(file);
        rewind(file);
        body = malloc(size + 1);
        got = body ? fread(body, 1, size, file) : 0;
        if (size == 0 || got != size) setup_failed(want.body);
        fclose(file);
    }
    request = malloc(size + sizeof headers + 1024);
    if (request == NULL) setup_failed("memory");
    int head = snprintf(request, sizeof headers + 1024, "POST %.500s HTTP/1.1\r\nHost: %s:%d\r\n%s"
                        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                        want.path, want.host, want.port, headers, size);
    if (body != NULL) memcpy(request + head, body, size);
    request_size = (size_t)head + size;
    free(body);
}

static void read_arguments(int count, char **words) {
    static const struct option known[] = {
        {"host", 1, 0, 'h'}, {"port", 1, 0, 'p'}, {"path", 1, 0, 'P'}, {"body", 1, 0, 'b'},
        {"header", 1, 0, 'H'}, {"connections", 1, 0, 'c'}, {"seconds", 1, 0, 's'},
        {"warm", 1, 0, 'w'}, {"ramp", 1, 0, 'r'}, {"rate", 1, 0, 'R'}, {"timeout", 1, 0, 't'},
        {"times", 1, 0, 'k'}, {"before", 0, 0, 'B'}, {"wait-ms", 1, 0, 'W'}, {"raw", 0, 0, 'a'}, {0}};
    errno = 0;
    want.mode = count > 1 ? words[1] : "";
    for (int o; (o = getopt_long(count, words, "", known, NULL)) != -1;) {
        size_t used = strlen(headers);
        switch (o) {
        case 'h': want.host = optarg; break;
        case 'p': want.port = atoi(optarg); break;
        case 'P': want.path = optarg; break;
        case 'b': want.body = optarg; break;
        case 'H': snprintf(headers + used, sizeof headers - used, "%s\r\n", optarg); break;
        case 'c': want.connections = atoi(optarg); break;
        case 's': want.seconds = atof(optarg); break;
        case 'w': want.warm = atof(optarg); break;
        case 'r': want.ramp = atof(optarg); break;
        case 'R': want.rate = atof(optarg); break;
        case 't': want.timeout = atof(optarg); break;
        case 'k': want.times = atoi(optarg); break;
        case 'B': want.before = true; break;
        case 'a': want.raw = true; break;
        case 'W': want.wait_ms = atoi(optarg); break;
        default: exit(2);
        }
    }
    want.idle = strcmp(want.mode, "idle") == 0;
    want.hangup = strcmp(want.mode, "hangup") == 0;
    want.sse = expect_events = want.hangup || strcmp(want.mode, "sse") == 0;
    if (!want.idle && !want.sse && strcmp(want.mode, "json") != 0) setup_failed("mode");
    if (!want.idle && want.body == NULL) setup_failed("--body");
    if (want.connections < 1 || want.connections > 60000) setup_failed("--connections");
    if (want.seconds <= 0 || want.rate < 0 || want.timeout <= 0) setup_failed("times");
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)want.port)};
    bool known_host = inet_pton(AF_INET, want.host, &address.sin_addr) == 1;
    if (want.port < 1 || !known_host) setup_failed("--host, --port");
}

#endif
