/* bench/scopes.c - 100,000 registrations: what a start with them costs, and what asking who controls a URL.
 *
 *   bench-scopes FOLDER [--json]
 *
 * Fills FOLDER/registrations.db, once (each registration of its own origin and tenant, with the types of events for
 * which it listens, and half of them with one of a hundred scripts), then starts an instance with that folder: the
 * milliseconds until it is there and every scope is found, and the resident bytes that each costs.  Then one thread,
 * and two at once, ask muster_match(), for random ones of these URLs: nanoseconds of CPU time for one.  The limit
 * beside the start is reading the same rows and doing nothing with them. */
#include "coordinator/instance.h"
#include "coordinator/store.h"

#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SCOPES 100000u
#define URLS 65536u
#define MATCHES 1000000u

static double now_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static size_t resident(void)
{
    unsigned long size = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    MUSTER_CHECK(file && fscanf(file, "%lu %lu", &size, &pages) == 2);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int scope_text(char *text, size_t size, unsigned i)
{
    return snprintf(text, size, "https://tenant-%u.example/app/%u/", i % 1000, i);
}

/* ---- filling ---- */

static struct muster__store *open_store(const char *folder)
{
    struct muster__store *store = NULL;
    struct muster_error error = {0};
    char *notice = NULL;
    if (muster__store_open(folder, &store, &notice, &error) != MUSTER_OK) {
        fprintf(stderr, "bench-scopes: %s\n", error.message);
        exit(EXIT_FAILURE);
    }
    return store;
}

static void put_one(struct muster__store *store, unsigned i)
{
    char scope[64], key[64], script_url[80], text[200];
    scope_text(scope, sizeof(scope), i);
    snprintf(key, sizeof(key), "https://tenant-%u.example", i % 1000);
    snprintf(script_url, sizeof(script_url), "https://tenant-%u.example/app/sw.js", i % 1000);
    snprintf(text, sizeof(text), "addEventListener('fetch', event => event.respondWith(new Response('%u')))", i % 100);
    const struct muster__stored_script script = {.url = script_url, .text = {text, strlen(text)}};
    const struct muster__stored_registration registration = {
        .storage_key = key,
        .scope = scope,
        .script_url = script_url,
        .settings = i % 2 ? "{\"engine\":\"lua\",\"root\":\"/srv/app\"}"
                          : "{\"engine\":\"lua\",\"root\":\"/srv/app\",\"scripts\":true}",
        .event_types = "[\"install\",\"activate\",\"fetch\"]",
        .scripts = i % 2 ? NULL : &script,
        .script_count = i % 2 ? 0 : 1,
    };
    MUSTER_CHECK(muster__store_put(store, &registration, NULL, NULL) == MUSTER_OK);
}

static void count_one(const struct muster__stored_registration *registration, void *user_data)
{
    (void)registration;
    ++*(size_t *)user_data;
}

static size_t count_stored(struct muster__store *store)
{
    size_t count = 0;
    MUSTER_CHECK(muster__store_each(store, count_one, &count, NULL) == MUSTER_OK);
    return count;
}

/* The milliseconds to read them all. */
static double fill(const char *folder)
{
    struct muster__store *store = open_store(folder);
    if (count_stored(store) != SCOPES)
        for (unsigned i = 0; i < SCOPES; i++)
            put_one(store, i);
    muster__store_close(store);
    double from = now_ms(CLOCK_MONOTONIC);
    store = open_store(folder);
    MUSTER_CHECK(count_stored(store) == SCOPES);
    double took = now_ms(CLOCK_MONOTONIC) - from;
    muster__store_close(store);
    return took;
}

/* ---- asking ---- */

struct job {
    struct muster *muster;
    const char (*urls)[80];
    pthread_barrier_t *start;
    unsigned offset;
    double ns;
};

static void *match_all(void *user_data)
{
    struct job *job = user_data;
    size_t found = 0;
    pthread_barrier_wait(job->start);
    double from = now_ms(CLOCK_THREAD_CPUTIME_ID);
    for (unsigned i = 0; i < MATCHES; i++)
        found += muster_match(job->muster, job->urls[(i + job->offset) % URLS], NULL, 0) > 0;
    job->ns = (now_ms(CLOCK_THREAD_CPUTIME_ID) - from) * 1e6 / MATCHES;
    MUSTER_CHECK(found == MATCHES);
    return NULL;
}

/* The slower one's. */
static double time_matches(struct muster *muster, const char (*urls)[80], unsigned threads)
{
    pthread_barrier_t start;
    pthread_t ids[2];
    struct job jobs[2];
    double worst = 0;
    pthread_barrier_init(&start, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        jobs[i] = (struct job){muster, urls, &start, i * URLS / 2, 0};
        MUSTER_CHECK(pthread_create(&ids[i], NULL, match_all, &jobs[i]) == 0);
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        worst = jobs[i].ns > worst ? jobs[i].ns : worst;
    }
    pthread_barrier_destroy(&start);
    return worst;
}

static char (*make_urls(void))[80]
{
    char(*urls)[80] = malloc(URLS * sizeof(*urls));
    uint64_t random = 42;
    MUSTER_CHECK(urls);
    for (unsigned i = 0; i < URLS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        int length = scope_text(urls[i], sizeof(urls[i]), (unsigned)(random >> 33) % SCOPES);
        snprintf(urls[i] + length, sizeof(urls[i]) - (size_t)length, "item?id=%u", i);
    }
    return urls;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench-scopes FOLDER [--json]\n");
        return 2;
    }
    bool json = argc > 2 && strcmp(argv[2], "--json") == 0;
    double limit_ms = fill(argv[1]);
    char(*urls)[80] = make_urls();
    struct muster *muster = NULL;
    struct muster_error error = {0};
    malloc_trim(0);
    size_t before = resident();
    const struct muster_options options = {.size = sizeof(options), .threads = 1, .state_folder = argv[1]};
    double from = now_ms(CLOCK_MONOTONIC), cpu_from = now_ms(CLOCK_PROCESS_CPUTIME_ID);
    if (muster_new(&options, &muster, &error) != MUSTER_OK) {
        fprintf(stderr, "bench-scopes: %s\n", error.message);
        return EXIT_FAILURE;
    }
    double start_ms = now_ms(CLOCK_MONOTONIC) - from, cpu_ms = now_ms(CLOCK_PROCESS_CPUTIME_ID) - cpu_from;
    double bytes = (double)(resident() - before) / SCOPES;
    double one = time_matches(muster, urls, 1), two = time_matches(muster, urls, 2);
    muster_destroy(muster);
    free(urls);
    if (json)
        printf("{\"start_ms\": %.1f, \"start_cpu_ms\": %.1f, \"read_ms\": %.1f, \"bytes\": %.0f, \"match_ns\": %.1f, \"match_two_ns\": %.1f}\n",
               start_ms, cpu_ms, limit_ms, bytes, one, two);
    else
        printf("%u stored registrations: start %.0f ms, %.0f of CPU (reading the rows alone: %.0f ms), %.0f bytes each\n"
               "match: %.0f ns on one thread, %.0f ns on each of two\n",
               SCOPES, start_ms, cpu_ms, limit_ms, bytes, one, two);
    return 0;
}
