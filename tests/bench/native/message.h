/* One HTTP/1.1 message as it comes off a socket: head, then a body with a length, in chunks, or until the end.
 *
 * Reads what the systems under test send; it is no judge of HTTP. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { HEAD_BYTES = 16384 };
enum message_state { HEAD, SIZED, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER, UNTIL_CLOSE, COMPLETE, BROKEN };

struct message {
    enum message_state state;
    size_t head_length;  /* bytes of `head` in use */
    uint64_t left;       /* of the body or of the chunk */
    size_t line_length;  /* of the chunk-size or trailer line so far */
    char head[HEAD_BYTES];
};

typedef void body_sink(void *owner, const char *data, size_t length);

static inline void message_reset(struct message *message) {
    message->state = HEAD;
    message->head_length = 0;
    message->left = 0;
    message->line_length = 0;
}

/* The value of a header in a complete head, or NULL. `name` is "\nname:" in lower case. */
static inline const char *header(const struct message *message, const char *name) {
    const char *found = strcasestr(message->head, name);
    if (!found) return NULL;
    found += strlen(name);
    while (*found == ' ') found++;
    return found;
}

static inline int status_code(const struct message *message) {
    return message->head_length > 12 ? atoi(message->head + 9) : 0;
}

static inline void message_choose_body(struct message *message, bool response) {
    const char *length = header(message, "\ncontent-length:");
    const char *coding = header(message, "\ntransfer-encoding:");
    if (coding && !strncasecmp(coding, "chunked", 7)) message->state = CHUNK_SIZE;
    else if (length && (message->left = strtoull(length, NULL, 10))) message->state = SIZED;
    else if (length || !response) message->state = COMPLETE;
    else message->state = UNTIL_CLOSE;
}

static inline size_t message_take_head(struct message *message, const char *data, size_t length, bool response) {
    size_t before = message->head_length, room = HEAD_BYTES - 1 - before;
    size_t taken = length < room ? length : room;
    memcpy(message->head + before, data, taken);
    message->head[before + taken] = 0;
    size_t from = before > 3 ? before - 3 : 0;
    char *end = memmem(message->head + from, before + taken - from, "\r\n\r\n", 4);
    if (!end) {
        message->head_length = before + taken;
        if (taken == room) message->state = BROKEN;
        return taken;
    }
    size_t whole = (size_t)(end - message->head) + 4;
    message->head[whole] = 0;
    message->head_length = whole;
    if (response && status_code(message) == 100) message_reset(message);
    else message_choose_body(message, response);
    return whole - before;
}

/* Takes bytes up to the end of the message and returns how many it took; body bytes go to `sink`. */
static inline size_t message_feed(struct message *message, const char *data, size_t length, bool response,
                                  body_sink *sink, void *owner) {
    size_t at = 0;
    while (at < length && message->state != COMPLETE && message->state != BROKEN) {
        size_t rest = length - at, part;
        switch (message->state) {
        case HEAD:
            at += message_take_head(message, data + at, rest, response);
            break;
        case SIZED:
        case CHUNK_DATA:
            part = rest < message->left ? rest : (size_t)message->left;
            sink(owner, data + at, part);
            at += part;
            message->left -= part;
            if (!message->left) message->state = message->state == SIZED ? COMPLETE : CHUNK_END;
            break;
        case CHUNK_SIZE: {
            char c = data[at++];
            if (c == '\n') {
                message->state = message->left ? CHUNK_DATA : TRAILER;
                message->line_length = 0;
            } else if (c != '\r' && message->line_length < 16) {
                static const char digits[] = "0123456789abcdef";
                const char *digit = strchr(digits, c | 0x20);
                if (digit && *digit) message->left = message->left << 4 | (uint64_t)(digit - digits);
                else message->line_length = 16; /* an extension: not looked at */
            }
            break;
        }
        case CHUNK_END:
            if (data[at++] == '\n') message->state = CHUNK_SIZE;
            break;
        case TRAILER: {
            char c = data[at++];
            if (c == '\n' && !message->line_length) message->state = COMPLETE;
            else if (c == '\n') message->line_length = 0;
            else if (c != '\r') message->line_length++;
            break;
        }
        case UNTIL_CLOSE:
            sink(owner, data + at, rest);
            at = length;
            break;
        default:
            break;
        }
    }
    return at;
}
