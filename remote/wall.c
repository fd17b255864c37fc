/* remote/wall.c - raises the wall around a process that hosts workers: the order of its parts, and what
 * is done where one is missing.
 *
 * Main thread, once.  The order is no accident.  Landlock and the loss of capabilities bind a thread and
 * those that it starts, so they come first; an engine starts threads and opens files when it is first
 * used, so that comes next; seccomp binds all threads there are, and comes last. */
#include "remote/wall.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/check.h"

static const char *const words[] = {
    [MUSTER__WALL_SCRIPT] = "script",
    [MUSTER__WALL_FULL] = "full",
    [MUSTER__WALL_NONE] = "none",
};

const char *muster__wall_word(enum muster__wall_trust trust)
{
    MUSTER_CHECK((size_t)trust < sizeof words / sizeof words[0]);
    return words[trust];
}

bool muster__wall_parse(const char *word, enum muster__wall_trust *ret_trust)
{
    for (size_t i = 0; word != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(word, words[i]) == 0) {
            *ret_trust = (enum muster__wall_trust)i;
            return true;
        }
    }
    return false;
}

int muster__wall_describe(enum muster__wall_trust trust, const struct muster__wall_report *report,
                          char *text, size_t size)
{
    char landlock[32] = "";
    if (report->landlock)
        snprintf(landlock, sizeof landlock, ", Landlock (ABI %d)", report->landlock_abi);
    bool nothing = !report->no_new_privs && !report->seccomp && !report->landlock;
    return snprintf(text, size, "trust %s: %s%s%s%s", muster__wall_word(trust),
                    nothing                ? "no wall"
                    : report->no_new_privs ? "no new privileges"
                                           : "privileges may grow",
                    report->seccomp ? ", seccomp" : "", landlock,
                    report->no_capabilities ? ", no capabilities" : "");
}

/* ---- the parts ---- */

/* A folder has a link for itself, one in its parent, and one for each folder below: here, a thread. */
bool muster__wall_is_only_thread(void)
{
    struct stat tasks;
    return stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink == 3;
}

/* A root without capabilities is a user who happens to own root's files.  Of the calling thread; those
 * that it starts have what it has. */
static bool drop_capabilities(void)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) == 1; capability++)
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); /* who may not drop has none to lose */
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct nothing[_LINUX_CAPABILITY_U32S_3] = {{0}};
    return syscall(SYS_capset, &header, nothing) == 0;
}

static enum muster_status check_paths(const struct muster__wall_options *options,
                                      struct muster_error *error)
{
    for (size_t i = 0; options->readable != NULL && options->readable[i] != NULL; i++) {
        if (options->readable[i][0] != '/') {
            muster_error_set(error, MUSTER_INVALID_ARGUMENT, "\"%s\" is not an absolute path",
                             options->readable[i]);
            return MUSTER_INVALID_ARGUMENT;
        }
    }
    return MUSTER_OK;
}

static enum muster_status fail(struct muster_error *error, enum muster_status status, const char *what,
                               int number)
{
    muster_error_set(error, status, "the wall cannot be raised: %s%s%s", what,
                     number != 0 ? ": " : "", number != 0 ? strerror(number) : "");
    return status;
}

static enum muster_status raise_seccomp(const struct muster__wall_options *options, bool may_open,
                                        struct muster__wall_report *report, struct muster_error *error)
{
    int problem = muster__wall_seccomp(options, may_open);
    report->seccomp = problem == 0;
    if (problem == 0 || (problem == ENOSYS && options->allow_partial))
        return MUSTER_OK;
    if (problem == ENOMEM)
        return fail(error, MUSTER_NO_MEMORY, "out of memory", 0);
    if (problem == ENOSYS && options->trust == MUSTER__WALL_SCRIPT)
        return MUSTER_OK; /* the default has to run everywhere; the report says what holds */
    return problem == ENOSYS ? fail(error, MUSTER_UNSUPPORTED, "this kernel filters no system calls", 0)
                             : fail(error, MUSTER_SYSTEM, "seccomp refused the filter", problem);
}

/* Without paths Landlock is the second line behind seccomp, which opens nothing at all; with paths it is
 * the only one, and without it they stay closed. */
static enum muster_status raise_landlock(const struct muster__wall_options *options,
                                         struct muster__wall_report *report, struct muster_error *error)
{
    bool needed = options->readable != NULL && options->readable[0] != NULL;
    if (report->landlock_abi == 0)
        return !needed || options->allow_partial
                   ? MUSTER_OK
                   : fail(error, MUSTER_UNSUPPORTED,
                          "folders to read need Landlock, which this kernel lacks", 0);
    const char *path = NULL;
    int problem = muster__wall_landlock(options, report->landlock_abi, &path);
    report->landlock = problem == 0;
    if (problem == 0)
        return MUSTER_OK;
    if (path != NULL)
        return fail(error, MUSTER_NOT_FOUND, path, problem);
    return options->allow_partial ? MUSTER_OK
                                  : fail(error, MUSTER_SYSTEM, "Landlock refused the rules", problem);
}

static enum muster_status raise_none(const struct muster__wall_options *options,
                                     struct muster__wall_report *report, struct muster_error *error)
{
    bool alone = muster__wall_is_only_thread();
    if (!alone && !options->allow_partial)
        return fail(error, MUSTER_REFUSED,
                    "other threads run already, or /proc is not there to tell", 0);
    enum muster_status status = alone ? raise_landlock(options, report, error) : MUSTER_OK;
    if (status != MUSTER_OK)
        return status;
    report->no_capabilities = alone && drop_capabilities();
    if (options->warm_up != NULL)
        status = options->warm_up(options->user_data, error);
    if (status != MUSTER_OK)
        return status;
    bool may_open = report->landlock && options->readable != NULL && options->readable[0] != NULL;
    return raise_seccomp(options, may_open, report, error);
}

static enum muster_status raise_all(const struct muster__wall_options *options,
                                    struct muster__wall_report *report, struct muster_error *error)
{
    enum muster_status status = check_paths(options, error);
    if (status != MUSTER_OK || options->trust == MUSTER__WALL_FULL)
        return status;
    report->no_new_privs = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0;
    if (!report->no_new_privs && !options->allow_partial)
        return fail(error, MUSTER_UNSUPPORTED, "no_new_privs", errno);
    report->landlock_abi = muster__wall_landlock_abi();
    return options->trust == MUSTER__WALL_NONE ? raise_none(options, report, error)
                                               : raise_seccomp(options, true, report, error);
}

enum muster_status muster__wall_raise(const struct muster__wall_options *options,
                                      struct muster__wall_report *ret_report, struct muster_error *error)
{
    static atomic_bool raised;
    struct muster__wall_report report = {0};
    enum muster_status status = MUSTER_EXISTS;

    (void)muster__wall_word(options->trust); /* checks it */
    if (atomic_exchange(&raised, true))
        (void)fail(error, MUSTER_EXISTS, "it was raised before", 0);
    else
        status = raise_all(options, &report, error);
    if (ret_report != NULL)
        *ret_report = report;
    return status;
}
