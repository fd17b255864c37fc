/* examples/embed_glib.c - muster in a GLib main loop: every callback comes on the thread of the loop.
 *
 * The instance delivers to a queue; its descriptor is one more source of the loop, and what is ready
 * runs in there.  Nothing else of the program needs a lock.  Usage: embed_glib SCRIPT
 * cc embed_glib.c $(pkg-config --cflags --libs muster glib-2.0) */
#include <muster/muster.h>

#include <glib-unix.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

struct program {
    GMainLoop *loop;
    GThread *thread; /* the loop's */
    struct muster *muster;
    int waiting; /* completions that are still to come */
    int failed;
};

/* Thread: the loop's.  The descriptor is readable: run what is ready. */
static gboolean completions_ready(gint fd, GIOCondition condition, gpointer user_data)
{
    struct program *program = user_data;
    (void)fd;
    (void)condition;
    muster_run_completions(program->muster);
    return G_SOURCE_CONTINUE;
}

static void ended(struct program *program, const char *what, const struct muster_result *result)
{
    g_assert(g_thread_self() == program->thread);
    printf("%s: %s\n", what, muster_status_sentence(result->status));
    if (result->error && result->error->message)
        fprintf(stderr, "%s\n", result->error->message);
    program->failed |= result->status != MUSTER_OK;
    if (--program->waiting == 0)
        g_main_loop_quit(program->loop);
}

static void fetched(const struct muster_result *result, void *user_data)
{
    if (result->response)
        printf("%d %.*s\n", result->response->status_code, (int)result->response->body.length,
               result->response->body.data);
    ended(user_data, "fetch", result);
}

static void called(const struct muster_result *result, void *user_data)
{
    ended(user_data, "add", result);
}

static void refused(struct program *program, const char *what, enum muster_status status)
{
    if (status != MUSTER_OK)
        ended(program, what, &(struct muster_result){ .status = status });
}

/* Now that the scope is there: a fetch and a call, side by side. */
static void registered(const struct muster_result *result, void *user_data)
{
    struct program *program = user_data;
    const char *url = "http://localhost/?name=glib";
    const struct muster_http_request request = { .method = { "GET", 3 }, .url = { url, strlen(url) } };
    struct muster_value *arguments = NULL;
    if (result->status == MUSTER_OK) {
        program->waiting += 2;
        refused(program, "fetch", muster_fetch(program->muster, &request, NULL, fetched, program, NULL));
        enum muster_status status = muster_value_from_json("[2, 3]", 6, &arguments, NULL);
        if (status == MUSTER_OK)
            status = muster_call(program->muster, "/", "add", arguments, NULL, called, program, NULL);
        refused(program, "add", status);
    }
    ended(program, "register", result);
}

/* Thread: one of muster's.  Nothing runs any more. */
static void closed(void *user_data)
{
    struct program *program = user_data;
    g_main_loop_quit(program->loop);
}

int main(int argc, char **argv)
{
    struct muster_options options = { .size = sizeof options, .delivery = MUSTER_DELIVER_ON_QUEUE };
    struct program program = { .waiting = 1 };
    struct muster_error error = { 0 };
    if (argc != 2 || muster_new(&options, &program.muster, &error) != MUSTER_OK) {
        fprintf(stderr, "%s\n", argc != 2 ? "usage: embed_glib SCRIPT" : error.message);
        muster_error_clean_up(&error);
        return 2;
    }
    program.loop = g_main_loop_new(NULL, FALSE);
    program.thread = g_thread_self();
    guint source =
        g_unix_fd_add(muster_completion_fd(program.muster), G_IO_IN, completions_ready, &program);

    const struct muster_registration_options registration = {
        .size = sizeof registration, .scope = "/", .script = argv[1]
    };
    enum muster_status status = muster_register(program.muster, &registration, registered, &program, NULL);
    refused(&program, "register", status);
    if (program.waiting > 0)
        g_main_loop_run(program.loop);

    /* The loop goes on while muster ends, so that a program with windows would not freeze. */
    if (muster_close(program.muster, closed, &program) == MUSTER_OK)
        g_main_loop_run(program.loop);
    g_source_remove(source);
    muster_destroy(program.muster);
    g_main_loop_unref(program.loop);
    return program.failed;
}
