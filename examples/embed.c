/* examples/embed.c - a program with a service worker in it: cc embed.c $(pkg-config --cflags --libs muster)
 *
 * Registers a script for the scope "/", sends it a fetch and an event of its own, calls a function of it,
 * and prints what comes back.  Usage: embed SCRIPT */
#include <muster/muster.h>

#include <stdio.h>
#include <string.h>

/* On a thread of muster's: a console call of the script. */
static void console(const char *scope, enum muster_log_level level, struct muster_bytes text, void *user_data)
{
    (void)level;
    (void)user_data;
    printf("%s says: %.*s\n", scope, (int)text.length, text.data);
}

/* Waits for what was asked, prints it, and lets go of it.  `status` is what the asking call answered. */
static int finish(const char *what, enum muster_status status, struct muster_handle *handle)
{
    struct muster_result result = { .status = status };
    if (status == MUSTER_OK && (status = muster_wait(handle, 10000, &result)) != MUSTER_OK)
        result = (struct muster_result){ .status = status };
    printf("%s: %s", what, muster_status_sentence(result.status));
    if (result.error && result.error->message)
        printf(": %s (%s:%d)", result.error->message, result.error->file ? result.error->file : "?",
               result.error->line);
    if (result.response)
        printf(": %d %.*s", result.response->status_code, (int)result.response->body.length,
               result.response->body.data);
    if (muster_value_type(result.value) == MUSTER_TYPE_NUMBER)
        printf(": %g", muster_value_number(result.value));
    printf("\n");
    muster_handle_release(handle);
    return result.status == MUSTER_OK ? 0 : 1;
}

static int use(struct muster *muster, const char *script)
{
    const char *url = "http://localhost/?name=ada";
    struct muster_registration_options page = { .size = sizeof page, .scope = "/", .script = script };
    struct muster_http_request request = { .method = { "GET", 3 }, .url = { url, strlen(url) } };
    struct muster_value *data = NULL, *arguments = NULL;
    struct muster_handle *handle = NULL;

    enum muster_status status = muster_register(muster, &page, NULL, NULL, &handle);
    if (finish("register", status, handle))
        return 1;

    handle = NULL;
    status = muster_fetch(muster, &request, NULL, NULL, NULL, &handle);
    int failed = finish("fetch", status, handle);

    handle = NULL;
    status = muster_value_from_json("{\"name\": \"grace\"}", 17, &data, NULL);
    if (status == MUSTER_OK)
        status = muster_dispatch(muster, "/", "greet", data, NULL, NULL, NULL, &handle);
    failed |= finish("greet", status, handle);

    handle = NULL;
    status = muster_value_from_json("[2, 3]", 6, &arguments, NULL);
    if (status == MUSTER_OK)
        status = muster_call(muster, "/", "add", arguments, NULL, NULL, NULL, &handle);
    return failed | finish("add", status, handle);
}

int main(int argc, char **argv)
{
    struct muster_options options = { .size = sizeof options, .console = console };
    struct muster_error error = { 0 };
    struct muster *muster = NULL;
    if (argc != 2 || muster_new(&options, &muster, &error) != MUSTER_OK) {
        fprintf(stderr, "%s\n", argc != 2 ? "usage: embed SCRIPT" : error.message);
        return 2;
    }
    int failed = use(muster, argv[1]);
    muster_destroy(muster);
    return failed;
}
