/* tests/store_kill.c - a program that writes registrations is killed (SIGKILL) at random points, again and again in one
 * folder, and the store is read each time: every change that was told done is there, none is there in part, and no
 * file was found damaged.
 *
 *   store_kill [--times N] [--seed N]
 *
 * 60 times unless told otherwise; a failure prints the seed that repeats it as far as time can be repeated.
 *
 * The writer says in a pipe what it asks before it asks, and what it was told.  So for each scope its reader knows
 * the last change that must be there, and those after it that may. */
#include "coordinator/store.h"

#include "runtime/check.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SCOPES 24
#define CHANGES_MAX 4000 /* of one writer; it is killed long before */
#define IN_FLIGHT_MAX 64

/* What one scope holds: the number of the change that made it; 0: nothing. */
struct note {
    uint32_t scope;
    uint32_t number; /* of the change, counted through all writers; the highest bit: told done */
    uint32_t holds;  /* afterwards: `number` or 0 */
    uint32_t synced; /* afterwards: due time of its sync, or 0 */
};
#define DONE (1u << 31)

static uint64_t random_state;

static uint32_t next_random(uint32_t below)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) % below;
}

/* ---- what a change writes: everything in it says which one it was ---- */

#define TEXT_MAX 20000

struct sample {
    char scope[32], url[64], settings[64], script_urls[3][64], content_type[32];
    char *texts[3];
    struct muster__stored_script scripts[3];
    struct muster__stored_registration registration;
};

static size_t text_length(uint32_t number, size_t i)
{
    return 10 + (number * 2654435761u + (uint32_t)i * 40503u) % (TEXT_MAX - 100);
}

static void fill_text(char *text, uint32_t number, size_t i, size_t length)
{
    for (size_t at = 0; at < length; at++)
        text[at] = (char)('a' + (number + i + at / 7) % 26);
}

static void make_sample(struct sample *sample, uint32_t scope, uint32_t number)
{
    size_t count = number % 4; /* 0 too: nothing was loaded yet */
    snprintf(sample->scope, sizeof(sample->scope), "/scope-%u/", scope);
    snprintf(sample->url, sizeof(sample->url), "/sw-%u.js", number);
    snprintf(sample->settings, sizeof(sample->settings), "{\"number\":%u}", number);
    for (size_t i = 0; i < count; i++) {
        size_t length = text_length(number, i);
        sample->texts[i] = malloc(length);
        MUSTER_CHECK(sample->texts[i]);
        fill_text(sample->texts[i], number, i, length);
        snprintf(sample->script_urls[i], sizeof(sample->script_urls[i]), "/sw-%u-%zu.js", number, i);
        sample->scripts[i] = (struct muster__stored_script){
            .url = sample->script_urls[i], .text = {sample->texts[i], length}, .checked_us = number};
    }
    sample->registration = (struct muster__stored_registration){
        .storage_key = "key", .scope = sample->scope, .script_url = sample->url, .settings = sample->settings,
        .scripts = sample->scripts, .script_count = count, .checked_us = number};
}

static void free_sample(struct sample *sample)
{
    for (size_t i = 0; i < sample->registration.script_count; i++)
        free(sample->texts[i]);
}

/* ---- the writer ---- */

static int pipe_fd;
static atomic_uint in_flight;

static void say(const struct note *note)
{
    MUSTER_CHECK(write(pipe_fd, note, sizeof(*note)) == (ssize_t)sizeof(*note)); /* whole: smaller than PIPE_BUF */
}

static void is_done(void *user_data, enum muster_status status, const struct muster_error *error)
{
    struct note *note = user_data;
    if (status != MUSTER_OK) {
        fprintf(stderr, "a change failed: %s\n", error->message);
        exit(3);
    }
    note->number |= DONE;
    say(note);
    free(note);
    atomic_fetch_sub(&in_flight, 1);
}

static void ask(struct muster__store *store, struct note *state, uint32_t number)
{
    struct note *note = malloc(sizeof(*note));
    uint32_t scope = next_random(SCOPES), what = next_random(10);
    enum muster_status status;
    struct sample sample;
    MUSTER_CHECK(note);
    make_sample(&sample, scope, number);
    *note = state[scope];
    note->scope = scope;
    note->number = number;
    if (what < 6 || (what > 7 && !note->holds)) {
        note->holds = number;
    } else if (what < 8) {
        note->holds = note->synced = 0;
    } else {
        note->synced = number;
    }
    state[scope] = *note;
    say(note);
    const struct muster__stored_sync sync = {"key", sample.scope, "tag", false, 0, number, 0};
    if (note->holds == number)
        status = muster__store_put(store, &sample.registration, is_done, note);
    else if (note->synced == number)
        status = muster__store_put_sync(store, &sync, is_done, note);
    else
        status = muster__store_remove(store, "key", sample.scope, is_done, note);
    MUSTER_CHECK(status == MUSTER_OK);
    free_sample(&sample);
}

/* What is there at first comes by standard input. */
static int write_until_killed(const char *folder, uint32_t first)
{
    struct muster__store *store;
    struct muster_error error = {0};
    struct note state[SCOPES];
    char *notice = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (read(STDIN_FILENO, state, sizeof(state)) != (ssize_t)sizeof(state))
        return 2;
    if (muster__store_open(folder, &store, &notice, &error) != MUSTER_OK || notice) {
        fprintf(stderr, "%s\n", notice ? notice : error.message);
        return 3;
    }
    for (uint32_t i = 0; i < CHANGES_MAX; i++) {
        while (atomic_load(&in_flight) >= IN_FLIGHT_MAX)
            sched_yield();
        atomic_fetch_add(&in_flight, 1);
        ask(store, state, first + i);
    }
    muster__store_close(store);
    return 0;
}

/* ---- the reader ---- */

/* Of one scope: what it may hold. */
struct may {
    struct note notes[CHANGES_MAX + 1];
    size_t count, sure; /* notes[sure] was told done; those behind it may be */
};

struct reading {
    struct may *may;               /* SCOPES of them */
    struct note found[SCOPES];
    size_t script_count, scripts_expected;
    uint32_t number;
    const char *fault;
};

static void see_script(const struct muster__stored_script *script, void *user_data)
{
    struct reading *reading = user_data;
    char url[64], *text = malloc(TEXT_MAX);
    size_t i = reading->script_count++, length = text_length(reading->number, i);
    MUSTER_CHECK(text);
    fill_text(text, reading->number, i, length);
    snprintf(url, sizeof(url), "/sw-%u-%zu.js", reading->number, i);
    if (strcmp(url, script->url) != 0 || script->text.length != length || memcmp(script->text.data, text, length) != 0 ||
        script->checked_us != reading->number)
        reading->fault = "a script is another's";
    free(text);
}

static uint32_t scope_of(const char *scope)
{
    unsigned number = SCOPES;
    return sscanf(scope, "/scope-%u/", &number) == 1 && number < SCOPES ? number : SCOPES;
}

static void see(const struct muster__stored_registration *registration, void *user_data)
{
    struct reading *reading = user_data;
    uint32_t scope = scope_of(registration->scope), number = (uint32_t)registration->checked_us;
    struct sample sample;
    if (scope == SCOPES || reading->found[scope].holds) {
        reading->fault = "a registration that nobody made, or twice";
        return;
    }
    make_sample(&sample, scope, number);
    if (strcmp(registration->script_url, sample.url) != 0 || strcmp(registration->settings, sample.settings) != 0)
        reading->fault = "a registration is half another's";
    free_sample(&sample);
    reading->found[scope].holds = number;
}

static void see_sync(const struct muster__stored_sync *sync, void *user_data)
{
    struct reading *reading = user_data;
    uint32_t scope = scope_of(sync->scope);
    if (scope == SCOPES)
        reading->fault = "a sync that nobody asked for";
    else
        reading->found[scope].synced = (uint32_t)sync->due_us;
}

static void check_scripts(struct reading *reading, struct muster__store *store, uint32_t scope)
{
    char text[32];
    enum muster_status status;
    snprintf(text, sizeof(text), "/scope-%u/", scope);
    reading->number = reading->found[scope].holds;
    reading->script_count = 0;
    status = muster__store_each_script(store, "key", text, see_script, reading, NULL);
    if (status != (reading->number % 4 ? MUSTER_OK : MUSTER_NOT_FOUND) || reading->script_count != reading->number % 4)
        reading->fault = "scripts are missing";
}

static void check_found(struct reading *reading, uint32_t scope)
{
    const struct may *may = &reading->may[scope];
    for (size_t i = may->sure; i < may->count; i++)
        if (may->notes[i].holds == reading->found[scope].holds && may->notes[i].synced == reading->found[scope].synced)
            return;
    fprintf(stderr, "scope %u holds change %u, sync %u; the last that was told done leaves %u, %u\n", scope,
            reading->found[scope].holds, reading->found[scope].synced, may->notes[may->sure].holds,
            may->notes[may->sure].synced);
    reading->fault = "an acknowledged change is missing, or an unknown one there";
}

/* NULL: all is as it must be. */
static const char *read_store(const char *folder, struct reading *reading)
{
    struct muster__store *store;
    struct muster_error error = {0};
    char *notice = NULL;
    memset(reading->found, 0, sizeof(reading->found));
    reading->fault = NULL;
    if (muster__store_open(folder, &store, &notice, &error) != MUSTER_OK) {
        fprintf(stderr, "%s\n", error.message);
        return "the store cannot be opened";
    }
    if (notice)
        fprintf(stderr, "%s\n", notice);
    if (notice || muster__store_each(store, see, reading, NULL) != MUSTER_OK ||
        muster__store_each_sync(store, see_sync, reading, NULL) != MUSTER_OK)
        reading->fault = "the store is damaged";
    for (uint32_t scope = 0; scope < SCOPES && !reading->fault; scope++) {
        if (reading->found[scope].holds)
            check_scripts(reading, store, scope);
        check_found(reading, scope);
    }
    muster__store_close(store);
    return reading->fault;
}

static void hear(struct may *may, const struct note *note)
{
    MUSTER_CHECK(note->scope < SCOPES);
    struct may *at = &may[note->scope];
    if (!(note->number & DONE)) {
        MUSTER_CHECK(at->count <= CHANGES_MAX);
        at->notes[at->count++] = *note;
        return;
    }
    while (at->notes[at->sure].number != (note->number & ~DONE)) {
        at->sure++;
        MUSTER_CHECK(at->sure < at->count);
    }
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Hears it until the time has come or `limit` changes were told done; false: it ended by itself. */
static bool hear_until(int fd, struct may *may, uint64_t until_ns, uint32_t limit, size_t *ret_done)
{
    struct note note;
    while (*ret_done < limit) {
        uint64_t now = now_ns();
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        struct timespec left = {0, (long)(until_ns > now ? until_ns - now : 0)};
        if (ppoll(&poll_fd, 1, &left, NULL) <= 0)
            return true;
        if (read(fd, &note, sizeof(note)) != (ssize_t)sizeof(note))
            return false;
        hear(may, &note);
        *ret_done += (note.number & DONE) != 0;
    }
    return true;
}

static pid_t start_writer(const char *self, const char *folder, uint32_t first, const struct note *state, int *ret_fd)
{
    int in[2], out[2];
    char first_text[16], seed_text[24], fd_text[16];
    MUSTER_CHECK(pipe(in) == 0 && pipe(out) == 0);
    snprintf(first_text, sizeof(first_text), "%u", first);
    snprintf(seed_text, sizeof(seed_text), "%u", next_random(UINT32_MAX));
    snprintf(fd_text, sizeof(fd_text), "%d", out[1]);
    MUSTER_CHECK(write(in[1], state, sizeof(*state) * SCOPES) == (ssize_t)(sizeof(*state) * SCOPES));
    pid_t child = fork();
    MUSTER_CHECK(child >= 0);
    if (child == 0) {
        dup2(in[0], STDIN_FILENO);
        close(out[0]);
        execl(self, self, "write", folder, first_text, seed_text, fd_text, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(in[1]);
    close(out[1]);
    *ret_fd = out[0];
    return child;
}

static void begin_round(struct may *may, const struct note *state)
{
    for (uint32_t scope = 0; scope < SCOPES; scope++) {
        may[scope].notes[0] = state[scope];
        may[scope].count = 1;
        may[scope].sure = 0;
    }
}

/* One writer, from its start to what it left.  NULL: well. */
static const char *kill_one(const char *self, const char *folder, struct reading *reading, uint32_t first, size_t *ret_done)
{
    int fd, ended;
    size_t done = 0;
    pid_t child = start_writer(self, folder, first, reading->found, &fd);
    begin_round(reading->may, reading->found);
    /* In each phase of its life: while it opens, early, and after a number of changes and a little. */
    bool by_time = next_random(4) == 0;
    uint64_t until = now_ns() + (by_time ? next_random(20000000) : 900000000u);
    bool alive = hear_until(fd, reading->may, until, by_time ? UINT32_MAX : 1 + next_random(60), &done);
    if (alive && !by_time)
        (void)hear_until(fd, reading->may, now_ns() + next_random(3000000), UINT32_MAX, &done);
    kill(child, SIGKILL);
    (void)hear_until(fd, reading->may, now_ns() + 900000000u, UINT32_MAX, &done); /* what it said before */
    close(fd);
    MUSTER_CHECK(waitpid(child, &ended, 0) == child);
    *ret_done += done;
    if (WIFEXITED(ended) && WEXITSTATUS(ended))
        return "the writer failed";
    return read_store(folder, reading);
}

static void remove_folder(const char *folder)
{
    DIR *names = opendir(folder);
    struct dirent *entry;
    char path[512];
    while (names && (entry = readdir(names))) {
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        unlink(path);
    }
    if (names)
        closedir(names);
    rmdir(folder);
}

static int kill_many(const char *self, unsigned times, uint64_t seed)
{
    struct reading reading = {.may = calloc(SCOPES, sizeof(struct may))};
    char folder[] = "store-kill-XXXXXX";
    const char *fault = NULL;
    size_t done = 0;
    MUSTER_CHECK(reading.may && mkdtemp(folder));
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    uint64_t from = now_ns();
    unsigned i = 0;
    for (; i < times && !fault; i++)
        fault = kill_one(self, folder, &reading, 1 + i * CHANGES_MAX, &done);
    printf("killed %u times in %.1f s; %zu changes were told done\n", i, (double)(now_ns() - from) / 1e9, done);
    if (fault)
        printf("at kill %u: %s; the folder %s is kept\n", i, fault, folder);
    else
        remove_folder(folder);
    free(reading.may);
    return fault != NULL;
}

int main(int argc, char **argv)
{
    unsigned times = 60;
    uint64_t seed = now_ns();
    if (argc == 6 && strcmp(argv[1], "write") == 0) {
        random_state = strtoull(argv[4], NULL, 10);
        pipe_fd = atoi(argv[5]);
        return write_until_killed(argv[2], (uint32_t)strtoul(argv[3], NULL, 10));
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        times = strcmp(argv[i], "--times") == 0 ? (unsigned)strtoul(argv[i + 1], NULL, 10) : times;
        seed = strcmp(argv[i], "--seed") == 0 ? strtoull(argv[i + 1], NULL, 10) : seed;
    }
    random_state = seed;
    return kill_many("/proc/self/exe", times, seed);
}
