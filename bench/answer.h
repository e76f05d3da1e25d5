/* Part of load.c: one HTTP/1.1 answer, bytes in, SSE events and the answer's end out. It knows a
 * length, chunks, and an end by closing; of SSE as much as OpenAI's wire uses ("data: " lines). */
#ifndef BENCH_ANSWER_H
#define BENCH_ANSWER_H
#include "tally.h"

enum part { HEAD, LENGTH, TO_EOF, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, COMPLETE };

struct answer { /* one response; text holds the head, then a line that a read cut in two */
    enum part part;
    int status;
    bool last, in_event, done, failed;
    int64_t head_at, token_at;
    uint64_t left;
    size_t kept;
    char text[8192];
};

static bool expect_events; /* the answers are streams */

static void take_line(struct answer *a, const char *line, size_t size, int64_t now) {
    if (size > 0 && line[size - 1] == '\r') size--;
    if (size == 0) a->in_event = false;
    if (size < 6 || memcmp(line, "data: ", 6) != 0) return;
    if (size >= 12 && memcmp(line + 6, "[DONE]", 6) == 0) {
        a->done = true;
        return;
    }
    if (memmem(line, size < 64 ? size : 64, "{\"error\"", 8) != NULL) {
        a->failed = true;
        note_error("error event: ", line, size);
    }
    if (!a->in_event && in_window) events++;
    a->in_event = true;
    if (a->token_at == 0) {
        const char *end = line + size, *at = memmem(line, size, "\"content\":", 10);
        for (at = at ? at + 10 : end; at < end && *at == ' '; at++) {}
        if (at + 1 < end && at[0] == '"' && at[1] != '"') a->token_at = now;
    }
}

/* Cuts the payload into lines. Of a line that spans reads only as much is kept as text has room. */
static void take_payload(struct answer *a, const char *p, size_t size, int64_t now) {
    if (!expect_events || a->status != 200) return;
    while (size > 0) {
        const char *lf = memchr(p, '\n', size);
        size_t step = lf ? (size_t)(lf - p) : size, room = sizeof a->text - a->kept;
        if (a->kept == 0 && lf) {
            take_line(a, p, step, now);
        } else {
            memcpy(a->text + a->kept, p, step < room ? step : room);
            a->kept += step < room ? step : room;
            if (lf) {
                take_line(a, a->text, a->kept, now);
                a->kept = 0;
            }
        }
        step += lf != NULL;
        p += step;
        size -= step;
    }
}

static bool take_head(struct answer *a, char *end) {
    *end = 0;
    a->part = TO_EOF;
    a->last = true;
    if (sscanf(a->text, "HTTP/1.1 %d", &a->status) != 1 || a->status < 200) return false;
    a->last = strcasestr(a->text, "\r\nconnection: close") != NULL;
    char *length = strcasestr(a->text, "\r\ncontent-length:");
    if (strcasestr(a->text, "\r\ntransfer-encoding: chunked") != NULL) {
        a->part = CHUNK_SIZE;
    } else if (length != NULL) {
        a->left = strtoull(length + 17, NULL, 10);
        a->part = a->left ? LENGTH : COMPLETE;
    } else {
        a->last = true;
    }
    a->left = a->part == CHUNK_SIZE ? 0 : a->left;
    a->kept = 0;
    return true;
}

/* One byte of chunk framing; left collects the size. */
static bool take_framing(struct answer *a, char byte) {
    static const char digits[] = "0123456789abcdef";
    if (a->part == CHUNK_SIZE) {
        const char *digit = byte ? strchr(digits, byte | (byte >= 'A' ? 0x20 : 0)) : NULL;
        if (byte == '\n') a->part = a->left ? CHUNK_DATA : TRAILER;
        else if (digit != NULL && a->left < (1u << 28))
            a->left = a->left * 16 + (uint64_t)(digit - digits);
        else if (byte != '\r') return false; /* a chunk extension: nobody here sends one */
    } else if (a->part == CHUNK_END) {
        if (byte == '\n') a->part = CHUNK_SIZE;
        else if (byte != '\r') return false;
    } else { /* TRAILER: left counts the bytes of the present line */
        if (byte == '\n' && a->left == 0) a->part = COMPLETE;
        else if (byte == '\n') a->left = 0;
        else if (byte != '\r') a->left++;
    }
    return true;
}

/* True while the bytes make sense; the answer has ended when part is COMPLETE. */
static bool take(struct answer *a, const char *p, size_t size, int64_t now) {
    if (a->head_at == 0) a->head_at = now;
    if (a->part == HEAD) {
        size_t before = a->kept, room = sizeof a->text - 1 - before;
        size_t step = size < room ? size : room;
        memcpy(a->text + before, p, step);
        a->kept += step;
        char *end = memmem(a->text, a->kept, "\r\n\r\n", 4);
        if (end == NULL) return a->kept < sizeof a->text - 1;
        size_t used = (size_t)(end + 4 - a->text) - before;
        if (!take_head(a, end)) return false;
        p += used;
        size -= used;
    }
    while (size > 0 && a->part != COMPLETE) {
        if (a->part == LENGTH || a->part == CHUNK_DATA || a->part == TO_EOF) {
            size_t step = a->part != TO_EOF && a->left < size ? (size_t)a->left : size;
            if (a->status != 200 && first_error[0] == 0)
                snprintf(first_error, sizeof first_error, "%d %.*s", a->status,
                         (int)(step < EXCERPT ? step : EXCERPT), p);
            take_payload(a, p, step, now);
            p += step;
            size -= step;
            if (a->part == TO_EOF) continue;
            a->left -= step;
            if (a->left == 0) a->part = a->part == LENGTH ? COMPLETE : CHUNK_END;
        } else {
            if (!take_framing(a, *p)) return false;
            p++;
            size--;
        }
    }
    return size == 0;
}

static void fresh_answer(struct answer *a) {
    memset(a, 0, offsetof(struct answer, text));
}

#endif
