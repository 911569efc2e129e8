/* The provider behind every system under test: one epoll loop that answers as the request asks.
 *
 *   mock PORT DIRECTORY
 *
 * DIRECTORY holds, per dialect, what to say: NAME.whole, and NAME.opening, NAME.delta, NAME.closing of a stream (see
 * answers.py). A request says what it wants in a text that survives re-encoding, ~bench EVENTS PACE_MS WAIT_MS~:
 * after WAIT_MS, a whole answer (EVENTS 0) or a stream, in bursts (PACE_MS 0) or one event every PACE_MS. Each paced
 * event carries when it left, as ~t0000000000000000~ in microseconds on CLOCK_MONOTONIC. */
#define _GNU_SOURCE
#include "answers.h"
#include "clock.h"
#include "message.h"
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { BUFFER = 1 << 18, WISH_BYTES = 64, STAMP_DIGITS = 16 };

enum step { IDLE, WAITING, OPENING, DELTAS, CLOSING };

struct connection {
    int fd;
    uint32_t generation; /* tells a timer that its connection has gone */
    struct message request;
    char wish[WISH_BYTES]; /* the text from '~' on, as far as it has come */
    size_t wish_length;
    bool wished;
    int events, pace_ms, wait_ms;
    const struct dialect *dialect;
    enum step step;
    int sent_events;
    int64_t due_us;
    struct text rest; /* what the socket did not take yet */
    bool watching_output;
};

struct alarm {
    int64_t at_us;
    struct connection *connection;
    uint32_t generation;
};

static int poll_fd, timer_fd;
static struct alarm *alarms; /* a binary heap */
static size_t alarm_count, alarm_room;
static char buffer[BUFFER];

/* ---- alarms -------------------------------------------------------------------------------------------------- */

static void swap_alarms(size_t one, size_t other) {
    struct alarm kept = alarms[one];
    alarms[one] = alarms[other];
    alarms[other] = kept;
}

static void wake_at(struct connection *connection, int64_t at_us) {
    if (alarm_count == alarm_room) {
        alarm_room = alarm_room ? alarm_room * 2 : 1024;
        alarms = realloc(alarms, alarm_room * sizeof *alarms);
        if (!alarms) err(1, "alarms");
    }
    size_t at = alarm_count++;
    alarms[at] = (struct alarm){at_us, connection, connection->generation};
    for (; at && alarms[(at - 1) / 2].at_us > alarms[at].at_us; at = (at - 1) / 2) swap_alarms(at, (at - 1) / 2);
    if (!at) timer_at(timer_fd, at_us);
}

static struct alarm pop_alarm(void) {
    struct alarm first = alarms[0];
    alarms[0] = alarms[--alarm_count];
    for (size_t at = 0;;) {
        size_t least = at, left = 2 * at + 1;
        if (left < alarm_count && alarms[left].at_us < alarms[least].at_us) least = left;
        if (left + 1 < alarm_count && alarms[left + 1].at_us < alarms[least].at_us) least = left + 1;
        if (least == at) return first;
        swap_alarms(at, least);
        at = least;
    }
}

/* ---- answering ----------------------------------------------------------------------------------------------- */

static void watch_output(struct connection *connection, bool wanted) {
    if (connection->watching_output == wanted) return;
    connection->watching_output = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

/* False when the socket is full; what it did not take is kept. */
static bool say(struct connection *connection, const char *bytes, size_t length) {
    ssize_t taken = send(connection->fd, bytes, length, MSG_NOSIGNAL);
    if (taken < 0) taken = 0; /* full, or gone: then reading says so */
    if ((size_t)taken == length) return true;
    connection->rest.length = length - (size_t)taken;
    connection->rest.bytes = malloc(connection->rest.length);
    if (!connection->rest.bytes) err(1, "rest");
    memcpy(connection->rest.bytes, bytes + taken, connection->rest.length);
    watch_output(connection, true);
    return false;
}

static bool say_rest(struct connection *connection) {
    struct text rest = connection->rest;
    if (!rest.bytes) return true;
    connection->rest = (struct text){0};
    bool all = say(connection, rest.bytes, rest.length);
    free(rest.bytes);
    if (all) watch_output(connection, false);
    return all;
}

static bool say_delta(struct connection *connection) {
    const struct dialect *dialect = connection->dialect;
    const struct text *delta = &dialect->deltas[(size_t)connection->sent_events % dialect->delta_count];
    char stamped[EVENT_BYTES], digits[STAMP_DIGITS + 1];
    memcpy(stamped, delta->bytes, delta->length);
    char *stamp = memmem(stamped, delta->length, "~t0000", 6);
    snprintf(digits, sizeof digits, "%016lld", (long long)now_us());
    if (stamp) memcpy(stamp + 2, digits, STAMP_DIGITS);
    connection->sent_events++;
    return say(connection, stamped, delta->length);
}

/* Say what is due, until the socket is full, a pause comes or all is said. */
static void proceed(struct connection *connection) {
    if (!say_rest(connection)) return;
    const struct dialect *dialect = connection->dialect;
    for (;;) switch (connection->step) {
        case IDLE:
            return;
        case WAITING:
            if (connection->due_us > now_us()) {
                wake_at(connection, connection->due_us);
                return;
            }
            connection->step = OPENING;
            break;
        case OPENING: {
            const struct text *said = connection->events ? &dialect->opening : &dialect->whole;
            connection->step = connection->events ? DELTAS : IDLE;
            connection->due_us = now_us() + connection->pace_ms * 1000LL;
            if (!say(connection, said->bytes, said->length)) return;
            if (connection->step == DELTAS && connection->pace_ms) {
                wake_at(connection, connection->due_us);
                return;
            }
            break;
        }
        case DELTAS:
            if (connection->sent_events >= connection->events) {
                connection->step = CLOSING;
                break;
            }
            if (!connection->pace_ms) {
                connection->sent_events += BURST;
                if (!say(connection, dialect->burst.bytes, dialect->burst.length)) return;
                break;
            }
            if (connection->due_us > now_us()) {
                wake_at(connection, connection->due_us);
                return;
            }
            connection->due_us += connection->pace_ms * 1000LL;
            if (!say_delta(connection)) return;
            break;
        case CLOSING:
            connection->step = IDLE;
            if (!say(connection, dialect->closing.bytes, dialect->closing.length)) return;
            return;
        }
}

static void answer(struct connection *connection) {
    connection->events = connection->pace_ms = connection->wait_ms = 0;
    connection->wish[connection->wish_length] = 0;
    sscanf(connection->wish, "~bench %d %d %d~", &connection->events, &connection->pace_ms, &connection->wait_ms);
    const char *line_end = strchr(connection->request.head, '\r');
    for (size_t i = 0; i < DIALECTS; i++) {
        const char *path = strstr(connection->request.head, dialects[i].path);
        if (path && path < line_end) {
            connection->dialect = &dialects[i];
            break;
        }
    }
    connection->sent_events = 0;
    connection->step = connection->wait_ms ? WAITING : OPENING;
    connection->due_us = now_us() + connection->wait_ms * 1000LL;
    proceed(connection);
}

/* ---- asking -------------------------------------------------------------------------------------------------- */

/* Looks for ~bench …~, whose only rare character is the first, over the borders of fragments. */
static void look_for_wish(void *owner, const char *data, size_t length) {
    struct connection *connection = owner;
    for (size_t at = 0; at < length && !connection->wished;) {
        if (!connection->wish_length) {
            const char *found = memchr(data + at, '~', length - at);
            if (!found) return;
            at = (size_t)(found - data) + 1;
            connection->wish[connection->wish_length++] = '~';
            continue;
        }
        char c = data[at];
        static const char expected[] = "~bench ";
        size_t n = connection->wish_length;
        bool fits = n < sizeof expected - 1 ? c == expected[n] : n < WISH_BYTES - 1;
        if (!fits) {
            connection->wish_length = 0;
            continue;
        }
        connection->wish[connection->wish_length++] = c;
        connection->wished = c == '~';
        at++;
    }
}

static void close_connection(struct connection *connection) {
    close(connection->fd);
    free(connection->rest.bytes);
    connection->rest = (struct text){0};
    connection->generation++;
    connection->fd = -1;
    connection->step = IDLE;
}

static void next_request(struct connection *connection) {
    message_reset(&connection->request);
    connection->wish_length = 0;
    connection->wished = false;
}

static void readable(struct connection *connection) {
    ssize_t length = recv(connection->fd, buffer, sizeof buffer, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
        close_connection(connection);
        return;
    }
    for (ssize_t at = 0; at < length;) {
        at += (ssize_t)message_feed(&connection->request, buffer + at, (size_t)(length - at), false, look_for_wish,
                                    connection);
        if (connection->request.state == BROKEN) {
            close_connection(connection);
            return;
        }
        if (connection->request.state != COMPLETE) return;
        answer(connection);
        next_request(connection);
    }
}

/* Connections are kept for reuse: a timer may still name one, and is told apart by its generation. */
static struct connection *spare_connection(void) {
    static struct connection **all;
    static size_t count, cursor;
    for (size_t tried = 0; tried < count && tried < 64; tried++) {
        cursor = (cursor + 1) % count;
        if (all[cursor]->fd < 0) return all[cursor];
    }
    all = realloc(all, (count + 1) * sizeof *all);
    if (!all || !(all[count] = calloc(1, sizeof **all))) err(1, "connection");
    return all[count++];
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        struct connection *connection = spare_connection();
        connection->fd = fd;
        connection->watching_output = false;
        next_request(connection);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

/* ---- serving ------------------------------------------------------------------------------------------------- */

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) err(1, "port %d", port);
    return fd;
}

int main(int count, char **arguments) {
    if (count != 3) errx(2, "usage: mock PORT DIRECTORY");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    read_dialects(arguments[2]);
    int listener = listen_on(atoi(arguments[1]));
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event accepting = {.events = EPOLLIN, .data.ptr = &listener};
    struct epoll_event ticking = {.events = EPOLLIN, .data.ptr = &timer_fd};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &accepting);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &ticking);
    struct epoll_event ready[512];
    for (;;) {
        int found = epoll_wait(poll_fd, ready, 512, -1);
        for (int i = 0; i < found; i++) {
            void *what = ready[i].data.ptr;
            if (what == &listener) accept_all(listener);
            else if (what == &timer_fd) {
                timer_drain(timer_fd);
                while (alarm_count && alarms[0].at_us <= now_us()) {
                    struct alarm due = pop_alarm();
                    if (due.generation == due.connection->generation && due.connection->fd >= 0)
                        proceed(due.connection);
                }
                if (alarm_count) timer_at(timer_fd, alarms[0].at_us);
            } else {
                struct connection *connection = what;
                if (connection->fd >= 0 && ready[i].events & EPOLLOUT) proceed(connection);
                if (connection->fd >= 0 && ready[i].events & ~(uint32_t)EPOLLOUT) readable(connection);
            }
        }
    }
}
