/* bench/http_servers/microhttpd.c - libmicrohttpd with its own epoll loop, external polling.
 *
 * "handler": the answer is queued inside the library's callback.  "resume": the callback suspends the
 * connection, and it is resumed and answered after MHD_run returned, as a worker's turn would need it. */
#include <microhttpd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "bench_listen.h"

enum { MAX_WAITING = 4096 };

static bool answers_later;
static struct MHD_Response *response;
static struct MHD_Connection *waiting[MAX_WAITING];
static size_t waiting_count;

static enum MHD_Result handle(void *data, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    (void)data, (void)url, (void)method, (void)version, (void)upload, (void)upload_size;
    static char seen_head, suspended;
    if (!*state) {
        *state = &seen_head;
        return MHD_YES;
    }
    if (answers_later && *state != &suspended && waiting_count < MAX_WAITING) {
        *state = &suspended;
        waiting[waiting_count++] = connection;
        MHD_suspend_connection(connection);
        return MHD_YES;
    }
    return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

static void resume_all(void)
{
    while (waiting_count > 0)
        MHD_resume_connection(waiting[--waiting_count]);
}

int main(int argc, char **argv)
{
    answers_later = argc > 2 && strcmp(argv[2], "resume") == 0;
    int listen_fd = bench_listen(argc, argv);
    static char body[] = "Hello world\n";
    response = MHD_create_response_from_buffer(12, body, MHD_RESPMEM_PERSISTENT);
    if (!response || !MHD_add_response_header(response, "Content-Type", "text/plain") ||
        !MHD_add_response_header(response, "Cache-Control", "no-store") ||
        !MHD_add_response_header(response, "X-Bench", "microhttpd"))
        return 1;
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL | (answers_later ? MHD_ALLOW_SUSPEND_RESUME : 0), 0, NULL, NULL,
                         handle, NULL, MHD_OPTION_LISTEN_SOCKET, listen_fd,
                         MHD_OPTION_CONNECTION_LIMIT, 1000u, MHD_OPTION_END);
    if (!daemon)
        return 1;
    int epoll_fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    for (;;) {
        struct epoll_event event;
        MHD_UNSIGNED_LONG_LONG timeout_ms = 0;
        bool has_timeout = MHD_get_timeout(daemon, &timeout_ms) == MHD_YES;
        if (!has_timeout || timeout_ms > 0) {
            /* The library's epoll descriptor is itself polled: MHD_run would never wait. */
            static int outer = -1;
            if (outer < 0) {
                outer = epoll_create1(EPOLL_CLOEXEC);
                struct epoll_event inner = {.events = EPOLLIN};
                if (outer < 0 || epoll_ctl(outer, EPOLL_CTL_ADD, epoll_fd, &inner) != 0)
                    return 1;
            }
            (void)epoll_wait(outer, &event, 1, has_timeout ? (int)timeout_ms : -1);
        }
        MHD_run(daemon);
        if (waiting_count > 0) {
            resume_all();
            MHD_run(daemon);
        }
    }
}
