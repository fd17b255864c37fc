/* bench/http_servers/h2o.c - libh2o on its own event loop.
 *
 * A handler only notes the request; the answers are sent after the loop's turn, which is how a worker's
 * turn would run: next, never inside the library's callback. */
#include <h2o.h>
#include <h2o/http1.h>
#include <stdio.h>

#include "bench_listen.h"

enum { MAX_WAITING = 4096 };

static h2o_globalconf_t config;
static h2o_context_t context;
static h2o_accept_ctx_t accept_context;
static h2o_req_t *waiting[MAX_WAITING];
static size_t waiting_count;

static void answer(h2o_req_t *request)
{
    static h2o_generator_t generator;
    h2o_iovec_t body = h2o_strdup(&request->pool, "Hello world\n", 12);
    request->res.status = 200;
    request->res.reason = "OK";
    request->res.content_length = 12;
    h2o_add_header(&request->pool, &request->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/plain"));
    h2o_add_header(&request->pool, &request->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL,
                   H2O_STRLIT("no-store"));
    h2o_start_response(request, &generator);
    h2o_send(request, &body, 1, 1);
}

static int note(h2o_handler_t *self, h2o_req_t *request)
{
    (void)self;
    if (waiting_count == MAX_WAITING)
        return -1;
    waiting[waiting_count++] = request;
    return 0;
}

static void on_accept(h2o_socket_t *listener, const char *error)
{
    for (h2o_socket_t *socket; !error && (socket = h2o_evloop_socket_accept(listener));)
        h2o_accept(&accept_context, socket);
}

int main(int argc, char **argv)
{
    int listen_fd = bench_listen(argc, argv);
    h2o_config_init(&config);
    h2o_hostconf_t *host =
        h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = note;
    h2o_context_init(&context, h2o_evloop_create(), &config);
    accept_context = (h2o_accept_ctx_t){.ctx = &context, .hosts = config.hosts};
    h2o_socket_t *listener =
        h2o_evloop_socket_create(context.loop, listen_fd, H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(listener, on_accept);
    while (h2o_evloop_run(context.loop, waiting_count > 0 ? 0 : INT32_MAX) == 0)
        while (waiting_count > 0)
            answer(waiting[--waiting_count]);
    return 1;
}
