/* runtime/loader_web.c - the registry of blob URLs, and data: URLs.
 *
 * Any thread; one lock, held for a look-up only.  The registry is the process's, as blob URLs are. */
#include "runtime/loader_web.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "runtime/check.h"
#include "runtime/hash.h"

#define BUCKETS 64

struct entry { /* what is told to others is its first member */
    struct muster__blob blob;
    atomic_uint references;
    struct entry *next;
    char *url, *type, *bytes;
};

static struct {
    pthread_mutex_t lock;
    struct entry *buckets[BUCKETS];
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static size_t length_of(const char *url)
{
    return strcspn(url, "#");
}

static struct entry **bucket_of(const char *url)
{
    return &registry.buckets[muster__hash_bytes(0, url, length_of(url)) % BUCKETS];
}

/* The place that points to it, or to NULL. */
static struct entry **find_locked(const char *url)
{
    struct entry **at = bucket_of(url);
    size_t length = length_of(url);
    while (*at != NULL && (strlen((*at)->url) != length || memcmp((*at)->url, url, length) != 0))
        at = &(*at)->next;
    return at;
}

static void entry_destroy(struct entry *entry)
{
    free(entry->url);
    free(entry->type);
    free(entry->bytes);
    free(entry);
}

/* Takes the bytes. */
static struct entry *entry_new(const char *url, size_t url_length, char *take_bytes, size_t length, const char *type,
                               size_t type_length)
{
    struct entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        free(take_bytes);
        return NULL;
    }
    atomic_init(&entry->references, 1);
    entry->bytes = take_bytes;
    entry->url = muster__strndup(url, url_length);
    entry->type = muster__strndup(type, type_length);
    entry->blob = (struct muster__blob){{entry->bytes, length}, entry->type};
    if (entry->url != NULL && entry->type != NULL && entry->bytes != NULL)
        return entry;
    entry_destroy(entry);
    return NULL;
}

enum muster_status muster__blob_add(const char *url, struct muster_bytes bytes, const char *type)
{
    char *copy = malloc(bytes.length == 0 ? 1 : bytes.length);
    if (copy != NULL && bytes.length > 0)
        memcpy(copy, bytes.data, bytes.length);
    struct entry *entry = entry_new(url, length_of(url), copy, bytes.length, type, strlen(type));
    if (entry == NULL)
        return MUSTER_NO_MEMORY;
    pthread_mutex_lock(&registry.lock);
    struct entry **at = find_locked(url);
    bool exists = *at != NULL;
    if (!exists)
        *at = entry;
    pthread_mutex_unlock(&registry.lock);
    if (exists)
        entry_destroy(entry);
    return exists ? MUSTER_EXISTS : MUSTER_OK;
}

const struct muster__blob *muster__blob_find(const char *url)
{
    pthread_mutex_lock(&registry.lock);
    struct entry *entry = *find_locked(url);
    if (entry != NULL)
        atomic_fetch_add(&entry->references, 1);
    pthread_mutex_unlock(&registry.lock);
    return entry != NULL ? &entry->blob : NULL;
}

void muster__blob_release(const struct muster__blob *blob)
{
    struct entry *entry = (struct entry *)(uintptr_t)blob;
    if (entry != NULL && atomic_fetch_sub(&entry->references, 1) == 1)
        entry_destroy(entry);
}

void muster__blob_remove(const char *url)
{
    pthread_mutex_lock(&registry.lock);
    struct entry **at = find_locked(url), *entry = *at;
    if (entry != NULL)
        *at = entry->next;
    pthread_mutex_unlock(&registry.lock);
    if (entry != NULL)
        muster__blob_release(&entry->blob);
}

/* ---- data: URLs ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* In place; what ends the text is no digit. */
static size_t percent_decode(char *text, size_t length)
{
    size_t size = 0;
    for (size_t i = 0; i < length; i++) {
        int high = text[i] == '%' && i + 2 < length ? hex_digit(text[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        text[size++] = low >= 0 ? (char)(high * 16 + low) : text[i];
        i += low >= 0 ? 2 : 0;
    }
    return size;
}

static int base64_digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\f' || c == '\r';
}

/* In place, as the standard's forgiving-base64 decode.  False: it is none. */
static bool base64_decode(char *text, size_t length, size_t *ret_length)
{
    size_t kept = 0, size = 0;
    for (size_t i = 0; i < length; i++)
        if (!is_space(text[i]))
            text[kept++] = text[i];
    for (int i = 0; i < 2 && kept % 4 == (size_t)(i == 0 ? 0 : 3) && kept > 0 && text[kept - 1] == '='; i++)
        kept--;
    if (kept % 4 == 1)
        return false;
    uint32_t bits = 0;
    for (size_t i = 0; i < kept; i++) {
        int digit = base64_digit(text[i]);
        if (digit < 0)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        if (i % 4 != 0)
            text[size++] = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    *ret_length = size;
    return true;
}

/* Whether the type ends with ";base64"; *length is what stands before it then. */
static bool is_base64(const char *type, size_t *length)
{
    size_t end = *length;
    if (end < 6 || strncasecmp(type + end - 6, "base64", 6) != 0)
        return false;
    end -= 6;
    while (end > 0 && type[end - 1] == ' ')
        end--;
    if (end == 0 || type[end - 1] != ';')
        return false;
    *length = end - 1;
    return true;
}

const struct muster__blob *muster__data_url_read(const char *url, enum muster_status *ret_status)
{
    size_t length = length_of(url), size = 0;
    const char *comma = memchr(url, ',', length);
    *ret_status = MUSTER_INVALID_ARGUMENT;
    if (strncasecmp(url, "data:", 5) != 0 || comma == NULL)
        return NULL;
    const char *type = url + 5;
    size_t type_length = (size_t)(comma - type);
    while (type_length > 0 && is_space(*type))
        type++, type_length--;
    while (type_length > 0 && is_space(type[type_length - 1]))
        type_length--;
    bool encoded = is_base64(type, &type_length);
    char *bytes = muster__strndup(comma + 1, length - (size_t)(comma + 1 - url));
    if (bytes != NULL) {
        size = percent_decode(bytes, length - (size_t)(comma + 1 - url));
        if (encoded && !base64_decode(bytes, size, &size)) {
            free(bytes);
            return NULL;
        }
    }
    struct entry *entry = entry_new("", 0, bytes, size, type, type_length);
    *ret_status = entry != NULL ? MUSTER_OK : MUSTER_NO_MEMORY;
    return entry != NULL ? &entry->blob : NULL;
}

/* ---- types ---- */

bool muster__is_javascript_type(const char *type)
{
    static const char *const types[] = {
        "application/ecmascript", "application/javascript", "application/x-ecmascript", "application/x-javascript",
        "text/ecmascript", "text/javascript", "text/javascript1.0", "text/javascript1.1", "text/javascript1.2",
        "text/javascript1.3", "text/javascript1.4", "text/javascript1.5", "text/jscript", "text/livescript",
        "text/x-ecmascript", "text/x-javascript",
    };
    while (is_space(*type))
        type++;
    size_t length = strcspn(type, ";");
    while (length > 0 && is_space(type[length - 1]))
        length--;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strlen(types[i]) == length && strncasecmp(types[i], type, length) == 0)
            return true;
    return false;
}

const struct muster__web muster__web = {
    .http_start = muster__http_start,
    .http_cancel = muster__http_cancel,
    .http_release = muster__http_release,
    .digest = muster__http_digest,
    .blob_add = muster__blob_add,
    .blob_find = muster__blob_find,
    .blob_release = muster__blob_release,
    .blob_remove = muster__blob_remove,
    .data_url_read = muster__data_url_read,
};
