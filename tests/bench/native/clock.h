/* Microseconds on CLOCK_MONOTONIC, and one timer descriptor that wakes an epoll loop at a given one. */
#pragma once
#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static inline int64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static inline void timer_at(int timer, int64_t at_us) {
    struct itimerspec at = {.it_value = {at_us / 1000000, at_us % 1000000 * 1000}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
}

static inline void timer_drain(int timer) {
    uint64_t expirations;
    if (read(timer, &expirations, sizeof expirations) < 0) return;
}
