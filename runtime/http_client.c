/* runtime/http_client.c - opens muster-http.so with the first request, and hands everything on to it.
 *
 * Any thread.  A failure to open it is not remembered. */
#include "runtime/http_client.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

#include "runtime/module_file.h"

/* Behind the wall of a process without network neither sockets nor files are to be had: the first is the reason. */
static bool is_walled(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool refused = fd < 0 && (errno == EPERM || errno == EACCES);
    if (fd >= 0)
        (void)close(fd);
    return refused;
}

static const struct muster__http_driver *find_driver(struct muster_error *error)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static _Atomic(const struct muster__http_driver *) known;
    const struct muster__http_driver *driver = atomic_load_explicit(&known, memory_order_acquire);
    if (driver != NULL)
        return driver;
    pthread_mutex_lock(&lock);
    driver = atomic_load_explicit(&known, memory_order_relaxed);
    if (driver == NULL)
        driver = muster__module_file_open("muster-http.so", "muster__http_driver", "the HTTP client", error);
    atomic_store_explicit(&known, driver, memory_order_release);
    pthread_mutex_unlock(&lock);
    if (driver == NULL && is_walled())
        muster_error_set(error, MUSTER_UNSUPPORTED, "the process of this worker may not use the network");
    return driver;
}

static enum muster_status hand_on(struct muster_error *take_problem, struct muster_error *error)
{
    enum muster_status status = take_problem->status;
    if (error != NULL)
        *error = *take_problem;
    else
        muster_error_clean_up(take_problem);
    return status;
}

enum muster_status muster__http_prepare(struct muster_error *error)
{
    struct muster_error problem = {0};
    const struct muster__http_driver *driver = find_driver(&problem);
    if (driver != NULL) {
        driver->prepare();
        return MUSTER_OK;
    }
    return hand_on(&problem, error);
}

enum muster_status muster__http_start(const struct muster__http_options *options,
                                      struct muster__http_transfer **ret_transfer, struct muster_error *error)
{
    struct muster_error problem = {0};
    const struct muster__http_driver *driver = find_driver(&problem);
    if (driver != NULL)
        return driver->start(options, ret_transfer, error);
    return hand_on(&problem, error);
}

void muster__http_cancel(struct muster__http_transfer *take_transfer)
{
    if (take_transfer != NULL)
        find_driver(NULL)->cancel(take_transfer);
}

void muster__http_release(struct muster__http_transfer *take_transfer)
{
    if (take_transfer != NULL)
        find_driver(NULL)->release(take_transfer);
}

char *muster__http_resolve(const char *base, const char *reference)
{
    const struct muster__http_driver *driver = find_driver(NULL);
    return driver == NULL ? NULL : driver->resolve(base, reference);
}

size_t muster__http_digest(const char *algorithm, struct muster_bytes bytes,
                           unsigned char ret_digest[MUSTER__DIGEST_MOST])
{
    const struct muster__http_driver *driver = find_driver(NULL);
    return driver == NULL ? 0 : driver->digest(algorithm, bytes, ret_digest);
}
