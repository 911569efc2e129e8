/* What the mock says, read from the files that answers.py wrote. */
#pragma once
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BURST = 20,        /* events a write, as providers' edges coalesce them */
    EVENT_BYTES = 4096 /* the longest, with its chunk's frame */
};

struct text {
    char *bytes;
    size_t length;
};

struct dialect {
    const char *path, *name;
    struct text whole, opening, closing, burst;
    struct text *deltas; /* one chunk each, sent in turn */
    size_t delta_count;
};

/* The first whose path is part of the request's path answers. */
static struct dialect dialects[] = {{.path = "/count_tokens", .name = "count_tokens"},
                                    {.path = "/messages", .name = "messages"},
                                    {.path = "/responses", .name = "responses"},
                                    {.path = "/", .name = "chat"}};
enum { DIALECTS = sizeof dialects / sizeof *dialects };

static struct text read_file(const char *directory, const char *name, const char *kind) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.%s", directory, name, kind);
    FILE *file = fopen(path, "rb");
    struct text text = {0};
    if (!file) return text;
    fseek(file, 0, SEEK_END);
    text.length = (size_t)ftell(file);
    rewind(file);
    text.bytes = calloc(1, text.length + 1);
    if (!text.bytes || fread(text.bytes, 1, text.length, file) != text.length) err(1, "%s", path);
    fclose(file);
    return text;
}

static struct text chunk(const char *bytes, size_t length) {
    struct text text = {malloc(length + 32), 0};
    if (!text.bytes) err(1, "chunk");
    text.length = (size_t)sprintf(text.bytes, "%zx\r\n", length);
    memcpy(text.bytes + text.length, bytes, length);
    text.length += length;
    memcpy(text.bytes + text.length, "\r\n", 2);
    text.length += 2;
    return text;
}

/* NAME.delta holds several events; they are sent in turn, and BURST of them make one chunk of a burst. */
static void read_deltas(struct dialect *dialect, struct text all) {
    char *burst = malloc(all.length * BURST + 1);
    size_t burst_length = 0;
    struct text *events = NULL;
    if (!burst) err(1, "burst");
    char *end, *stop = all.bytes + all.length;
    for (char *at = all.bytes; (end = memmem(at, (size_t)(stop - at), "\n\n", 2)); at = end + 2) {
        events = realloc(events, (dialect->delta_count + 1) * sizeof *events);
        dialect->deltas = realloc(dialect->deltas, (dialect->delta_count + 1) * sizeof *dialect->deltas);
        if (!events || !dialect->deltas) err(1, "deltas");
        struct text event = {at, (size_t)(end + 2 - at)};
        events[dialect->delta_count] = event;
        if (event.length + 32 > EVENT_BYTES) errx(1, "%s.delta: an event of %zu bytes", dialect->name, event.length);
        dialect->deltas[dialect->delta_count++] = chunk(event.bytes, event.length);
    }
    for (size_t i = 0; i < BURST && dialect->delta_count; i++) {
        struct text event = events[i % dialect->delta_count];
        memcpy(burst + burst_length, event.bytes, event.length);
        burst_length += event.length;
    }
    dialect->burst = chunk(burst, burst_length);
    free(events);
    free(burst);
}

static void read_dialects(const char *directory) {
    for (size_t i = 0; i < DIALECTS; i++) {
        struct dialect *dialect = &dialects[i];
        dialect->whole = read_file(directory, dialect->name, "whole");
        dialect->opening = read_file(directory, dialect->name, "opening");
        dialect->closing = read_file(directory, dialect->name, "closing");
        read_deltas(dialect, read_file(directory, dialect->name, "delta"));
    }
}

