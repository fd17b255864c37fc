/* coordinator/script_map.c - see script_map.h.
 *
 * A list in order of addition, under a lock that is not held while a script is fetched: two that miss the same script
 * at a time (there is one worker of a version, so it does not happen) would fetch it twice, and the first one stays. */
#include "coordinator/script_map.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/http_client.h"
#include "runtime/script_fetch.h"

/* What a version may import. */
#define MOST_SCRIPTS 10000

struct entry {
    struct entry *next;
    struct muster__mapped_script mapped; /* its own; without a script: it did not come */
};

struct muster__script_map {
    struct muster__loader inner;
    pthread_mutex_t fill_lock; /* held while it is being filled */
    void (*fill)(struct muster__script_map *map, void *user_data);
    void *fill_data;
    pthread_mutex_t lock;
    struct entry *first, **end;
    size_t count;
    bool is_closed, is_of_imports;
};

struct muster__script_map *muster__script_map_new(const struct muster__loader *inner)
{
    struct muster__script_map *map = calloc(1, sizeof *map);
    if (map == NULL)
        return NULL;
    map->inner = *inner;
    map->end = &map->first;
    pthread_mutex_init(&map->fill_lock, NULL);
    pthread_mutex_init(&map->lock, NULL);
    return map;
}

struct muster__script_map *muster__script_map_new_of_imports(const struct muster__loader *inner)
{
    struct muster__script_map *map = muster__script_map_new(inner);
    if (map != NULL)
        map->is_of_imports = true;
    return map;
}

void muster__mapped_script_clean_up(struct muster__mapped_script *mapped)
{
    muster__script_destroy(mapped->script);
    free((char *)(uintptr_t)mapped->url);
    free((char *)(uintptr_t)mapped->etag);
    free((char *)(uintptr_t)mapped->last_modified);
    *mapped = (struct muster__mapped_script){0};
}

static void entry_destroy(struct entry *entry)
{
    muster__mapped_script_clean_up(&entry->mapped);
    free(entry);
}

static void forget_all(struct muster__script_map *map)
{
    while (map->first != NULL) {
        struct entry *entry = map->first;
        map->first = entry->next;
        entry_destroy(entry);
    }
    map->end = &map->first;
    map->count = 0;
}

void muster__script_map_destroy(struct muster__script_map *map)
{
    if (map == NULL)
        return;
    forget_all(map);
    pthread_mutex_destroy(&map->fill_lock);
    pthread_mutex_destroy(&map->lock);
    free(map);
}

const struct muster__loader *muster__script_map_inner(const struct muster__script_map *map)
{
    return &map->inner;
}

void muster__script_map_set_fill(struct muster__script_map *map,
                                 void (*fill)(struct muster__script_map *map, void *user_data), void *user_data)
{
    map->fill = fill;
    map->fill_data = user_data;
}

static void fill(struct muster__script_map *map)
{
    pthread_mutex_lock(&map->fill_lock);
    if (map->fill != NULL)
        map->fill(map, map->fill_data);
    map->fill = NULL;
    pthread_mutex_unlock(&map->fill_lock);
}

/* ---- what is in it ---- */

/* A fragment is no part of where a script comes from. */
static size_t length_of(const char *url)
{
    return strcspn(url, "#");
}

static struct entry *find_locked(const struct muster__script_map *map, const char *url)
{
    size_t length = length_of(url);
    struct entry *entry = map->first;
    while (entry != NULL && (strncmp(entry->mapped.url, url, length) != 0 || entry->mapped.url[length] != '\0'))
        entry = entry->next;
    return entry;
}

bool muster__mapped_script_copy(struct muster__mapped_script *to, const struct muster__mapped_script *from)
{
    *to = *from;
    to->url = muster__strndup(from->url, length_of(from->url));
    to->etag = muster__strdup(from->etag);
    to->last_modified = muster__strdup(from->last_modified);
    if (to->script != NULL)
        muster__script_acquire(to->script);
    bool copied = to->url != NULL && (to->etag != NULL || from->etag == NULL) &&
                  (to->last_modified != NULL || from->last_modified == NULL);
    if (!copied)
        muster__mapped_script_clean_up(to);
    return copied;
}

static struct entry *entry_new(const struct muster__mapped_script *script)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry != NULL && !muster__mapped_script_copy(&entry->mapped, script)) {
        free(entry);
        return NULL;
    }
    return entry;
}

/* In the place of the one that it replaces, if there is one. */
static void put_locked(struct muster__script_map *map, struct entry *take_entry, struct entry *old)
{
    struct entry **place = &map->first;
    if (old == NULL) {
        *map->end = take_entry;
        map->end = &take_entry->next;
        map->count++;
        return;
    }
    while (*place != old)
        place = &(*place)->next;
    *place = take_entry;
    take_entry->next = old->next;
    if (map->end == &old->next)
        map->end = &take_entry->next;
    entry_destroy(old);
}

enum muster_status muster__script_map_add(struct muster__script_map *map, const struct muster__mapped_script *script)
{
    struct entry *entry = entry_new(script);
    if (entry == NULL)
        return MUSTER_NO_MEMORY;
    pthread_mutex_lock(&map->lock);
    struct entry *old = find_locked(map, script->url);
    bool fits = old != NULL || map->count < MOST_SCRIPTS;
    if (fits)
        put_locked(map, entry, old);
    pthread_mutex_unlock(&map->lock);
    if (!fits)
        entry_destroy(entry);
    return fits ? MUSTER_OK : MUSTER_REFUSED;
}

struct muster__mapped_script muster__script_map_entry(const char *url, const struct muster__fetched_script *fetched)
{
    uint64_t now_us = muster__wall_us();
    return (struct muster__mapped_script){
        .url = url,
        .script = fetched->script,
        .checked_us = now_us,
        .fresh_until_us = fetched->max_age_us != 0 ? now_us + fetched->max_age_us : 0,
        .etag = fetched->etag,
        .last_modified = fetched->last_modified,
    };
}

enum muster_status muster__script_map_miss(struct muster__script_map *map, const char *url)
{
    return muster__script_map_add(map, &(const struct muster__mapped_script){.url = url});
}

struct muster__script *muster__script_map_find(struct muster__script_map *map, const char *url)
{
    fill(map);
    pthread_mutex_lock(&map->lock);
    const struct entry *entry = find_locked(map, url);
    struct muster__script *script = entry != NULL ? entry->mapped.script : NULL;
    if (script != NULL)
        muster__script_acquire(script);
    pthread_mutex_unlock(&map->lock);
    return script;
}

void muster__script_map_check(struct muster__script_map *map, const char *url, uint64_t checked_us,
                              uint64_t fresh_until_us)
{
    pthread_mutex_lock(&map->lock);
    struct entry *entry = find_locked(map, url);
    if (entry != NULL) {
        entry->mapped.checked_us = checked_us;
        entry->mapped.fresh_until_us = fresh_until_us;
    }
    pthread_mutex_unlock(&map->lock);
}

bool muster__script_map_peek(struct muster__script_map *map, const char *url,
                             struct muster__mapped_script *ret_mapped)
{
    pthread_mutex_lock(&map->lock);
    const struct entry *entry = find_locked(map, url);
    bool found = entry != NULL && entry->mapped.script != NULL &&
                 muster__mapped_script_copy(ret_mapped, &entry->mapped);
    pthread_mutex_unlock(&map->lock);
    return found;
}

void muster__script_map_each(struct muster__script_map *map,
                             void (*see)(const struct muster__mapped_script *script, void *user_data),
                             void *user_data)
{
    fill(map);
    pthread_mutex_lock(&map->lock);
    for (const struct entry *entry = map->first; entry != NULL; entry = entry->next)
        if (entry->mapped.script != NULL)
            see(&entry->mapped, user_data);
    pthread_mutex_unlock(&map->lock);
}

void muster__script_map_close(struct muster__script_map *map)
{
    pthread_mutex_lock(&map->lock);
    struct entry **place = &map->first;
    while (*place != NULL) {
        struct entry *entry = *place;
        if (entry->mapped.is_used) {
            place = &entry->next;
            continue;
        }
        *place = entry->next;
        map->count--;
        entry_destroy(entry);
    }
    map->end = place;
    map->is_closed = true;
    pthread_mutex_unlock(&map->lock);
}

/* ---- as a loader ---- */

static enum muster_status no_memory(struct muster_error *error, const char *url)
{
    muster_error_set(error, MUSTER_NO_MEMORY, "out of memory while loading %s", url);
    return MUSTER_NO_MEMORY;
}

/* The address by which it is kept: absolute where it comes from the web.  Elsewhere a version's imports all have the
 * same importer, so that what was asked for is as good. */
static char *key_of(const char *url, const char *importer)
{
    char *key = importer != NULL && muster__is_http_url(importer) ? muster__http_resolve(importer, url) : NULL;
    if (key == NULL)
        key = muster__strdup(url);
    if (key != NULL)
        key[length_of(key)] = '\0';
    return key;
}

/* With a reference; NULL: it is not there.  *ret_may_fetch: it may come still. */
static struct muster__script *use(struct muster__script_map *map, const char *key, bool *ret_may_fetch)
{
    pthread_mutex_lock(&map->lock);
    struct entry *entry = find_locked(map, key);
    struct muster__script *script = entry != NULL ? entry->mapped.script : NULL;
    if (script != NULL) {
        entry->mapped.is_used = true;
        muster__script_acquire(script);
    }
    *ret_may_fetch = !map->is_closed && entry == NULL;
    pthread_mutex_unlock(&map->lock);
    return script;
}

static enum muster_status fetch(struct muster__script_map *map, const char *key, const char *importer,
                                struct muster__script **ret_script, struct muster_error *error)
{
    const struct muster__script_fetch_options options = {.loader = &map->inner, .url = key, .importer = importer};
    struct muster__fetched_script fetched = {0};
    enum muster_status status = muster__script_fetch_now(&options, &fetched, error);
    if (status != MUSTER_OK)
        return status;
    struct muster__mapped_script mapped = muster__script_map_entry(key, &fetched);
    mapped.is_used = true;
    status = muster__script_map_add(map, &mapped);
    if (status == MUSTER_OK) {
        *ret_script = fetched.script;
        fetched.script = NULL;
    }
    muster__fetched_script_clean_up(&fetched);
    if (status == MUSTER_OK)
        return MUSTER_OK;
    if (status == MUSTER_NO_MEMORY)
        return no_memory(error, key);
    muster_error_set(error, MUSTER_LOAD_FAILED, "cannot load \"%s\": the worker has imported %d scripts already", key,
                     MOST_SCRIPTS);
    return MUSTER_LOAD_FAILED;
}

static enum muster_status give(const struct muster__script *script, struct muster_loaded *ret_loaded,
                               struct muster_error *error)
{
    if (script->text == NULL) {
        muster_error_set(error, MUSTER_LOAD_FAILED, "cannot load \"%s\": a script imports no native code", script->url);
        return MUSTER_LOAD_FAILED;
    }
    char *url = muster__strdup(script->url);
    char *text = muster__strndup(script->text, script->length);
    char *source_map = muster__strdup(script->source_map);
    if (url == NULL || text == NULL || (source_map == NULL && script->source_map != NULL)) {
        free(url);
        free(text);
        free(source_map);
        return no_memory(error, script->url);
    }
    ret_loaded->url = url;
    ret_loaded->text = text;
    ret_loaded->length = script->length;
    ret_loaded->source_map = source_map;
    ret_loaded->is_module = script->is_module;
    return MUSTER_OK;
}

/* The version's own, of which the map is not. */
static enum muster_status load_own(struct muster__script_map *map, const char *url, struct muster_loaded *ret_loaded,
                                   struct muster_error *error)
{
    struct muster__script *script = NULL;
    pthread_mutex_lock(&map->lock);
    if (!map->is_closed)
        forget_all(map);
    pthread_mutex_unlock(&map->lock);
    enum muster_status status = muster__loader_load(&map->inner, url, NULL, &script, error);
    if (status == MUSTER_OK)
        status = give(script, ret_loaded, error);
    muster__script_destroy(script);
    return status;
}

enum muster_status muster__script_map_load(const char *url, const char *importer, struct muster_loaded *ret_loaded,
                                           struct muster_error *error, void *user_data)
{
    struct muster__script_map *map = user_data;
    bool may_fetch = false;
    if (map->is_of_imports && importer == NULL)
        return load_own(map, url, ret_loaded, error);
    char *key = key_of(url, importer);
    if (key == NULL)
        return no_memory(error, url);
    fill(map);
    struct muster__script *script = use(map, key, &may_fetch);
    enum muster_status status = MUSTER_OK;
    if (script == NULL && may_fetch) {
        status = fetch(map, key, importer, &script, error);
    } else if (script == NULL) {
        muster_error_set(error, MUSTER_LOAD_FAILED, "cannot load \"%s\": it did not come when the worker was installed",
                         key);
        status = MUSTER_LOAD_FAILED;
    }
    if (status == MUSTER_OK)
        status = give(script, ret_loaded, error);
    muster__script_destroy(script);
    free(key);
    return status;
}
