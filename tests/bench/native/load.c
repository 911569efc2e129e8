/* Load on one system over loopback, in one epoll loop; prints what it counted as one line of JSON.
 *
 *   load PORT [option VALUE]… REQUEST_FILE…
 *
 * The files hold whole requests, sent in turn. Without `rate` every connection asks again as soon as it was answered
 * (closed loop); with it, request n is due at n/rate whatever was answered, and its time counts from there (open loop).
 * An answer is right when its status is 200 and ~end~ is in its body. Events are counted by their empty lines; how
 * long one travelled is told from the ~t0000000000000000~ that it carries. */
#define _GNU_SOURCE
#include "clock.h"
#include "figures.h"
#include "message.h"
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

enum { BUFFER = 1 << 17, CARRY = 32, STAMP_BYTES = 19, SLOW_EVERY_US = 100000 };

struct request {
    char *bytes;
    size_t length;
};

enum state { IDLE, CONNECTING, ASKING, ANSWERING, CLOSED };

struct connection {
    int fd;
    enum state state;
    bool reused;     /* has been answered before: may turn out to be closed */
    bool watching_output, ended, body_seen;
    unsigned asked; /* requests so far */
    const struct request *request;
    size_t sent;
    int64_t due_us; /* when the request should have left */
    char carry[CARRY];
    size_t carry_length;
    struct message answer;
};

static struct {
    int port;
    unsigned connections;
    double seconds, rate; /* rate: requests a second; 0: closed loop */
    unsigned each;        /* requests of one connection; 0: until time is up */
    double stagger;       /* seconds over which the connections start */
    unsigned slow;        /* bytes that a connection reads every 100 ms; 0: all there is */
    bool finish;          /* closed loop: what was asked in time is waited for */
    bool rotate;          /* open loop: connections take turns, as those of many people do */
    double patience;      /* seconds that the last answers may take */
} options = {.connections = 1, .seconds = 1, .patience = 10};

static int poll_fd, timer_fd;
static struct connection *connections;
static struct request *requests;
static unsigned request_count, turn;
static struct connection **idle; /* open loop: a ring; the last one used is the next, or the first with `rotate` */
static unsigned idle_first, idle_count;
static int64_t *waiting; /* open loop: due, but no connection free; a ring */
static unsigned waiting_first, waiting_count, waiting_room;
static unsigned busy;
static int64_t started_us, finish_us;
static char buffer[CARRY + BUFFER];

static bool open_loop(void) { return options.rate > 0; }
static bool time_is_up(void) { return now_us() >= finish_us; }
static void ask(struct connection *connection, int64_t due_us);
static void next(struct connection *connection);

/* ---- reading answers ----------------------------------------------------------------------------------------- */

/* Counts in `data`, knowing the end of what came before so that nothing on a border is missed or seen twice. */
static void take_body(void *owner, const char *data, size_t length) {
    struct connection *connection = owner;
    if (!connection->body_seen) {
        connection->body_seen = true;
        if (status_code(&connection->answer) == 200) histogram_add(&first, now_us() - connection->due_us);
    }
    counted.bytes += length;
    /* `data` lies in `buffer` behind room for the carry, or further: what stands before it has been read already. */
    char *window = (char *)data - connection->carry_length;
    memcpy(window, connection->carry, connection->carry_length);
    size_t whole_length = connection->carry_length + length, seen = connection->carry_length;
    const char *end = window + whole_length, *at = window;
    while ((at = memchr(at, '\n', (size_t)(end - at))) && at + 1 < end) {
        if (at[1] == '\n' && (size_t)(at + 2 - window) > seen) counted.events++;
        at += at[1] == '\n' ? 2 : 1;
    }
    at = window;
    while ((at = memchr(at, '~', (size_t)(end - at)))) {
        size_t rest = (size_t)(end - at), before = (size_t)(at - window);
        if (rest >= 5 && !memcmp(at, "~end~", 5)) connection->ended = true;
        else if (rest >= STAMP_BYTES && before + STAMP_BYTES > seen && at[1] == 't' && at[STAMP_BYTES - 1] == '~') {
            int64_t left_us = strtoll(at + 2, NULL, 10);
            if (left_us) histogram_add(&travelled, now_us() - left_us);
            at += STAMP_BYTES - 1;
        }
        at++;
    }
    connection->carry_length = whole_length < CARRY ? whole_length : CARRY;
    memcpy(connection->carry, end - connection->carry_length, connection->carry_length);
}

static void answered(struct connection *connection) {
    int status = status_code(&connection->answer);
    counted.status[status > 0 && status < 600 ? status : 0]++;
    int64_t took = now_us() - connection->due_us;
    if (status == 200 && connection->ended) {
        counted.done++;
        histogram_add(&whole, took);
    } else {
        counted.wrong++;
        histogram_add(&refused, took);
    }
    const char *connection_header = header(&connection->answer, "\nconnection:");
    bool closes = connection_header && !strncasecmp(connection_header, "close", 5);
    busy--;
    connection->reused = true;
    if (closes) {
        close(connection->fd);
        connection->fd = -1;
    }
    connection->state = IDLE;
    next(connection);
}

/* ---- the connection ------------------------------------------------------------------------------------------ */

static void watch(struct connection *connection, bool output) {
    if (connection->watching_output == output) return;
    connection->watching_output = output;
    uint32_t input = options.slow ? 0 : EPOLLIN;
    struct epoll_event event = {.events = input | (output ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, connection->fd, &event);
}

static void open_connection(struct connection *connection) {
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) err(1, "socket");
    int on = 1, small = 4096;
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (options.slow) setsockopt(connection->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)options.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        err(1, "connect to port %d", options.port);
    struct epoll_event event = {.events = (options.slow ? 0 : EPOLLIN) | EPOLLOUT, .data.ptr = connection};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, connection->fd, &event);
    connection->watching_output = true;
    connection->state = CONNECTING;
    connection->reused = false;
}

static void lost(struct connection *connection) {
    enum state state = connection->state;
    close(connection->fd);
    connection->fd = -1;
    if (state == IDLE || state == CLOSED) return; /* the peer retired a connection that nothing was on */
    if (state == ANSWERING && connection->answer.state == UNTIL_CLOSE) {
        answered(connection);
        return;
    }
    if (connection->reused && !connection->answer.head_length) { /* it crossed with our request: ask on a new one */
        open_connection(connection);
        connection->sent = 0;
        return;
    }
    counted.broken++;
    busy--;
    connection->state = IDLE;
    next(connection);
}

static void send_more(struct connection *connection) {
    const struct request *request = connection->request;
    while (connection->sent < request->length) {
        ssize_t taken = send(connection->fd, request->bytes + connection->sent, request->length - connection->sent,
                             MSG_NOSIGNAL);
        if (taken < 0 && errno == EAGAIN) {
            watch(connection, true);
            return;
        }
        if (taken < 0) {
            if (connection->reused) lost(connection);
            return; /* refused before it was read whole: the answer is on its way */
        }
        connection->sent += (size_t)taken;
    }
    watch(connection, false);
    connection->state = ANSWERING;
}

static void ask(struct connection *connection, int64_t due_us) {
    connection->request = &requests[turn++ % request_count];
    connection->sent = 0;
    connection->due_us = due_us;
    connection->ended = connection->body_seen = false;
    connection->carry_length = 0;
    connection->asked++;
    message_reset(&connection->answer);
    busy++;
    if (connection->fd < 0) open_connection(connection);
    else {
        connection->state = ASKING;
        send_more(connection);
    }
}

static void rests(struct connection *connection) {
    idle[(idle_first + idle_count++) % options.connections] = connection;
}

static struct connection *take_idle(void) {
    idle_count--;
    if (!options.rotate) return idle[(idle_first + idle_count) % options.connections];
    struct connection *connection = idle[idle_first];
    idle_first = (idle_first + 1) % options.connections;
    return connection;
}

/* What an idle connection does now. */
static void next(struct connection *connection) {
    if (open_loop()) {
        if (waiting_count) {
            int64_t due_us = waiting[waiting_first];
            waiting_first = (waiting_first + 1) % waiting_room;
            waiting_count--;
            ask(connection, due_us);
        } else rests(connection);
    } else if (!time_is_up() && (!options.each || connection->asked < options.each)) ask(connection, now_us());
    else connection->state = CLOSED;
}

static void read_some(struct connection *connection) {
    size_t wanted = options.slow && options.slow < BUFFER ? options.slow : BUFFER;
    ssize_t length = recv(connection->fd, buffer + CARRY, wanted, 0);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
        lost(connection);
        return;
    }
    message_feed(&connection->answer, buffer + CARRY, (size_t)length, true, take_body, connection);
    if (connection->answer.state == COMPLETE) answered(connection);
    else if (connection->answer.state == BROKEN) lost(connection);
}

static void happened(struct connection *connection, uint32_t events) {
    if (connection->fd < 0) return;
    if (connection->state == CONNECTING && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        int problem = 0;
        socklen_t size = sizeof problem;
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &problem, &size);
        if (problem) {
            lost(connection);
            return;
        }
        connection->state = ASKING;
    }
    if (connection->state == ASKING && events & EPOLLOUT) send_more(connection);
    if (connection->fd >= 0 && connection->state != CONNECTING && events & (EPOLLIN | EPOLLERR | EPOLLHUP))
        read_some(connection);
}

/* ---- time ---------------------------------------------------------------------------------------------------- */

static unsigned begun;            /* closed loop: connections that were started */
static uint64_t released;         /* open loop: requests that were due */
static int64_t next_slow_us;

static int64_t release_open(int64_t now) {
    for (;;) {
        int64_t due_us = started_us + (int64_t)((double)released / options.rate * 1e6);
        if (due_us >= finish_us) return INT64_MAX;
        if (due_us > now) return due_us;
        released++;
        if (idle_count) ask(take_idle(), due_us);
        else if (waiting_count < waiting_room) {
            waiting[(waiting_first + waiting_count++) % waiting_room] = due_us;
            counted.late++;
        } else counted.unanswered++;
    }
}

static int64_t start_closed(int64_t now) {
    while (begun < options.connections) {
        int64_t due_us = started_us + (int64_t)(options.stagger * 1e6 * begun / options.connections);
        if (due_us > now) return due_us;
        ask(&connections[begun++], due_us);
    }
    return INT64_MAX;
}

static int64_t read_slowly(int64_t now) {
    if (!options.slow) return INT64_MAX;
    if (now >= next_slow_us) {
        next_slow_us = now + SLOW_EVERY_US;
        for (unsigned i = 0; i < options.connections; i++)
            if (connections[i].fd >= 0 && connections[i].state == ANSWERING) read_some(&connections[i]);
    }
    return next_slow_us;
}

static bool finished(int64_t now) {
    if (now >= finish_us + (int64_t)(options.patience * 1e6)) return true;
    if (open_loop()) return now >= finish_us && !busy && !waiting_count;
    if (options.each) return begun == options.connections && !busy;
    return now >= finish_us && (!options.finish || !busy);
}

static void run(void) {
    struct epoll_event ready[512];
    for (;;) {
        int64_t now = now_us();
        int64_t wake = open_loop() ? release_open(now) : start_closed(now);
        int64_t slow = read_slowly(now);
        if (finished(now)) return;
        int64_t end = now < finish_us ? finish_us : finish_us + (int64_t)(options.patience * 1e6);
        if (slow < wake) wake = slow;
        timer_at(timer_fd, end < wake ? end : wake);
        int found = epoll_wait(poll_fd, ready, 512, -1);
        for (int i = 0; i < found; i++) {
            if (ready[i].data.ptr == &timer_fd) timer_drain(timer_fd);
            else happened(ready[i].data.ptr, ready[i].events);
        }
    }
}

/* ---- the command --------------------------------------------------------------------------------------------- */

static struct request read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) err(1, "%s", path);
    fseek(file, 0, SEEK_END);
    struct request request = {.length = (size_t)ftell(file)};
    rewind(file);
    request.bytes = malloc(request.length);
    if (!request.bytes || fread(request.bytes, 1, request.length, file) != request.length) err(1, "%s", path);
    fclose(file);
    return request;
}

static void read_arguments(int count, char **arguments) {
    if (count < 3) errx(2, "usage: load PORT [option VALUE]... REQUEST_FILE...");
    options.port = atoi(arguments[1]);
    int at = 2;
    for (; at + 1 < count; at += 2) {
        double value = atof(arguments[at + 1]);
        if (!strcmp(arguments[at], "connections")) options.connections = (unsigned)value;
        else if (!strcmp(arguments[at], "seconds")) options.seconds = value;
        else if (!strcmp(arguments[at], "rate")) options.rate = value;
        else if (!strcmp(arguments[at], "each")) options.each = (unsigned)value;
        else if (!strcmp(arguments[at], "stagger")) options.stagger = value;
        else if (!strcmp(arguments[at], "slow")) options.slow = (unsigned)value;
        else if (!strcmp(arguments[at], "finish")) options.finish = value != 0;
        else if (!strcmp(arguments[at], "rotate")) options.rotate = value != 0;
        else if (!strcmp(arguments[at], "patience")) options.patience = value;
        else break;
    }
    request_count = (unsigned)(count - at);
    requests = calloc(request_count ? request_count : 1, sizeof *requests);
    if (!requests || !request_count) errx(2, "no request");
    for (unsigned i = 0; i < request_count; i++) requests[i] = read_request(arguments[at + (int)i]);
}

int main(int count, char **arguments) {
    read_arguments(count, arguments);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event ticking = {.events = EPOLLIN, .data.ptr = &timer_fd};
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &ticking);
    waiting_room = 65536;
    connections = calloc(options.connections, sizeof *connections);
    idle = calloc(options.connections, sizeof *idle);
    waiting = calloc(waiting_room, sizeof *waiting);
    if (!connections || !idle || !waiting) err(1, "connections");
    for (unsigned i = 0; i < options.connections; i++) {
        connections[i].fd = -1;
        if (open_loop()) rests(&connections[options.connections - 1 - i]);
    }
    started_us = now_us();
    finish_us = started_us + (int64_t)(options.seconds * 1e6);
    run();
    double seconds = (double)(now_us() - started_us) / 1e6;
    if (open_loop()) counted.unanswered += busy + waiting_count;
    if (options.each || options.finish) counted.unanswered += busy;
    print_result(seconds);
}
