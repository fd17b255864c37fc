/* bench/scope_map.c - what a synchronous "who controls this URL?" costs, and what a scope weighs.
 *
 * For 100, 10,000 and 100,000 scopes: nanoseconds for one match (URLs in random order, the value
 * retained and released), on one thread and on two at once, the time to publish one changed scope
 * and a batch of a thousand, and the bytes of the tree for each scope.  The limit beside it is a
 * loop that does only the two counter updates of a read section and the retain and release.
 * `--json` prints one line of JSON. */
#include "coordinator/scope_map.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MATCHES 2000000u

struct value {
    _Alignas(64) atomic_uint references;
};

struct url {
    char text[64];
    size_t length;
};

struct job {
    struct muster__scope_map *map;
    const struct url *urls;
    size_t url_count;
    pthread_barrier_t *start;
    double ns; /* a match */
};

static void retain(void *p)
{
    atomic_fetch_add_explicit(&((struct value *)p)->references, 1, memory_order_relaxed);
}

static void release(void *p)
{
    atomic_fetch_sub_explicit(&((struct value *)p)->references, 1, memory_order_acq_rel);
}

/* CPU time of this thread: nothing here waits, and a busy machine does not count. */
static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static uint32_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void *match_all(void *user_data)
{
    struct job *job = user_data;
    pthread_barrier_wait(job->start);
    double from = now_ns();
    for (size_t i = 0; i < MATCHES; i++) {
        const struct url *url = &job->urls[i % job->url_count];
        void *value = muster__scope_map_match(job->map, url->text, url->length);
        MUSTER_CHECK(value);
        release(value);
    }
    job->ns = (now_ns() - from) / MATCHES;
    return NULL;
}

/* The slowest of `threads` threads that match at once. */
static double time_matches(struct muster__scope_map *map, const struct url *urls, size_t url_count,
                           unsigned threads)
{
    pthread_barrier_t start;
    pthread_barrier_init(&start, NULL, threads);
    pthread_t ids[2];
    struct job jobs[2];
    for (unsigned i = 0; i < threads; i++) {
        size_t offset = i * url_count / 2;
        jobs[i] = (struct job){map, urls + offset, url_count - offset, &start, 0};
        MUSTER_CHECK(pthread_create(&ids[i], NULL, match_all, &jobs[i]) == 0);
    }
    double worst = 0;
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        worst = jobs[i].ns > worst ? jobs[i].ns : worst;
    }
    pthread_barrier_destroy(&start);
    return worst;
}

static double time_limit(void)
{
    static struct value shard, value;
    double from = now_ns();
    for (size_t i = 0; i < MATCHES; i++) {
        retain(&shard);
        retain(&value);
        release(&shard);
        release(&value);
    }
    return (now_ns() - from) / MATCHES;
}

static int scope_text(char *text, size_t size, uint32_t i)
{
    return snprintf(text, size, "https://tenant-%u.example/app/%u/", i % 1000, i);
}

static struct url *make_urls(size_t scopes, size_t count)
{
    struct url *urls = malloc(count * sizeof *urls);
    MUSTER_CHECK(urls);
    uint64_t random = 42;
    for (size_t i = 0; i < count; i++) {
        char scope[48];
        scope_text(scope, sizeof scope, next_random(&random) % (uint32_t)scopes);
        urls[i].length = (size_t)snprintf(urls[i].text, sizeof urls[i].text, "%sitem?id=%u", scope,
                                          next_random(&random) % 1000);
    }
    return urls;
}

static void set(struct muster__scope_map *map, uint32_t i, struct value *value)
{
    char scope[48];
    int length = scope_text(scope, sizeof scope, i);
    MUSTER_CHECK(muster__scope_map_set(map, scope, (size_t)length, value) == MUSTER_OK);
}

static double time_single_sets(struct muster__scope_map *map, size_t scopes, struct value *values)
{
    enum { SETS = 1000 };
    double from = now_ns();
    for (uint32_t i = 0; i < SETS; i++)
        set(map, (uint32_t)(i * 7919u % scopes), &values[i % scopes]);
    return (now_ns() - from) / SETS;
}

static double time_batch(struct muster__scope_map *map, size_t scopes, struct value *values)
{
    double from = now_ns();
    muster__scope_map_begin(map);
    for (uint32_t i = 0; i < 1000; i++)
        set(map, (uint32_t)(i * 104729u % scopes), &values[i % scopes]);
    muster__scope_map_commit(map);
    return (now_ns() - from) / 1000;
}

static void measure(size_t scopes, bool json, bool is_first)
{
    size_t url_count = 100000;
    struct url *urls = make_urls(scopes, url_count);
    struct value *values = aligned_alloc(64, scopes * sizeof *values);
    MUSTER_CHECK(values);
    memset(values, 0, scopes * sizeof *values);
    const struct muster__scope_map_options options = {.retain = retain, .release = release};
    struct muster__scope_map *map;
    MUSTER_CHECK(muster__scope_map_new(&options, &map) == MUSTER_OK);
    double from = now_ns();
    muster__scope_map_begin(map);
    for (uint32_t i = 0; i < scopes; i++)
        set(map, i, &values[i]);
    muster__scope_map_commit(map);
    double build_ns = (now_ns() - from) / (double)scopes;
    double bytes = (double)muster__scope_map_stats(map).bytes / (double)scopes;
    double one = time_matches(map, urls, url_count, 1);
    double two = time_matches(map, urls, url_count, 2);
    double single = time_single_sets(map, scopes, values);
    double batch = time_batch(map, scopes, values);
    if (json)
        printf(
            "%s{\"scopes\":%zu,\"match_ns\":%.1f,\"match_two_threads_ns\":%.1f,"
            "\"bytes_per_scope\":%.1f,\"build_ns\":%.1f,\"set_ns\":%.1f,\"batched_set_ns\":%.1f}",
            is_first ? "" : ",", scopes, one, two, bytes, build_ns, single, batch);
    else
        printf("%8zu %10.1f %14.1f %12.1f %12.1f %12.1f %14.1f\n", scopes, one, two, bytes,
               build_ns, single, batch);
    muster__scope_map_destroy(map);
    free(values);
    free(urls);
}

int main(int argc, char **argv)
{
    static const size_t sizes[] = {100, 10000, 100000};
    bool json = argc > 1 && strcmp(argv[1], "--json") == 0;
    if (argc > 1 && !json) {
        fprintf(stderr, "usage: %s [--json]\n", argv[0]);
        return 2;
    }
    double limit = time_limit();
    if (json)
        printf("{\"name\":\"scope_map\",\"limit_ns\":%.1f,\"rows\":[", limit);
    else
        printf("limit (four counter updates): %.1f ns\n%8s %10s %14s %12s %12s %12s %14s\n", limit,
               "scopes", "match ns", "2 threads ns", "bytes/scope", "build ns", "set ns",
               "batched set ns");
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        measure(sizes[i], json, i == 0);
    if (json)
        printf("]}\n");
    return 0;
}
