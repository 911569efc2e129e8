/* What a load counts, and its line of JSON. Times are histograms of microseconds: exact below 4096, then to 1/2048. */
#pragma once
#include <stdint.h>
#include <stdio.h>

enum { EXACT = 4096, HALF = EXACT / 2, OCTAVES = 20 };

struct histogram {
    uint32_t count[EXACT + OCTAVES * HALF];
};

static inline void histogram_add(struct histogram *histogram, int64_t us) {
    uint64_t value = us < 0 ? 0 : (uint64_t)us;
    unsigned shift = 0;
    while (value >> shift >= EXACT) shift++;
    if (shift > OCTAVES) return;
    histogram->count[shift ? EXACT + (shift - 1) * HALF + (value >> shift) - HALF : value]++;
}

static inline void histogram_print(const struct histogram *histogram, const char *name) {
    printf("\"%s\":[", name);
    const char *comma = "";
    for (unsigned slot = 0; slot < sizeof histogram->count / sizeof *histogram->count; slot++) {
        if (!histogram->count[slot]) continue;
        unsigned shift = slot < EXACT ? 0 : (slot - EXACT) / HALF + 1;
        uint64_t value = shift ? ((uint64_t)(slot - EXACT) % HALF + HALF) << shift : slot;
        printf("%s[%llu,%u]", comma, (unsigned long long)value, histogram->count[slot]);
        comma = ",";
    }
    printf("]");
}

static struct {
    uint64_t done, wrong, broken, events, bytes, unanswered, late;
    unsigned status[600];
} counted;
static struct histogram whole, first, travelled, refused;

static void print_result(double seconds) {
    printf("{\"seconds\":%.6f,\"done\":%llu,\"wrong\":%llu,\"broken\":%llu,\"unanswered\":%llu,\"late\":%llu,"
           "\"events\":%llu,\"bytes\":%llu,\"status\":{",
           seconds, (unsigned long long)counted.done, (unsigned long long)counted.wrong,
           (unsigned long long)counted.broken, (unsigned long long)counted.unanswered, (unsigned long long)counted.late,
           (unsigned long long)counted.events, (unsigned long long)counted.bytes);
    const char *comma = "";
    for (unsigned status = 0; status < 600; status++) {
        if (!counted.status[status]) continue;
        printf("%s\"%u\":%u", comma, status, counted.status[status]);
        comma = ",";
    }
    printf("},");
    histogram_print(&whole, "whole");
    printf(",");
    histogram_print(&first, "first");
    printf(",");
    histogram_print(&travelled, "travelled");
    printf(",");
    histogram_print(&refused, "refused");
    printf("}\n");
}
