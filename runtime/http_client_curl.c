/* runtime/http_client_curl.c - the HTTP client on libcurl: one thread that drives all transfers of the process.
 * The only file that includes <curl/curl.h>; part of muster-http.so.
 *
 * Threads.  Transfers come in through an inbox under the client's lock, and so do notes that one of them wants
 * attention: it was canceled, its stream has room again, there is more of its body to send.  All that touches
 * libcurl happens on the client's thread; so a transfer's fields are that thread's, but for those under the
 * lock.  The listener is called without the lock, while `calling` says so to whoever cancels.
 *
 * The thread ends when nothing has happened for IDLE_MS, and with it the connections that were kept. */
#include "runtime/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/thread.h"

#define IDLE_MS 5000
#define CONNECT_TIMEOUT_US 30000000
#define MOST_CONNECTIONS 512L
#define MOST_REDIRECTS 20
#define MOST_HEAD ((size_t)512 * 1024)
#define MOST_DROPPED ((size_t)64 * 1024) /* of a redirect's body, to keep the connection */
/* More than libcurl gives at once: what it gives is taken as a whole or not at all. */
#define STREAM_CAPACITY ((size_t)256 * 1024)

struct line { /* of the head; offsets, as its text moves while it grows */
    size_t name, name_length, value, value_length;
};

struct head {
    char *text;
    size_t length, capacity;
    struct line *lines;
    size_t count, line_capacity;
    int status;
    size_t reason, reason_length;
};

struct muster__http_transfer {
    struct muster__http_transfer *next;     /* in the inbox */
    struct muster__http_transfer *attended; /* in the list of those that want attention */
    atomic_uint references;                 /* the maker's, the client's */

    const struct muster__http_listener *listener;
    void *user_data;
    char *method, *url;
    struct curl_slist *headers;
    char *body;
    size_t body_length;
    struct muster_stream *body_stream;
    enum muster__http_redirect redirect;
    unsigned redirect_limit;
    bool raw, has_body, gather;
    uint64_t connect_timeout_us, timeout_us, body_limit, started_us;

    /* The client's thread. */
    CURL *easy;
    struct curl_slist *connect_to;
    struct head head;
    bool in_body;    /* the head is complete */
    bool told;       /* the listener heard */
    bool ended;      /* its stream has its end */
    char *next_url;  /* a redirect that will be followed: what comes is dropped */
    struct muster_stream *stream; /* the writer's reference; NULL: before the head, or it is gathered */
    char *gathered;
    size_t gathered_length, gathered_capacity;
    unsigned redirects;
    uint64_t received;
    enum muster__http_problem problem; /* of our own; FINE: libcurl's */
    const char *problem_text;
    char error_text[CURL_ERROR_SIZE];

    /* Under the client's lock. */
    bool live, queued, canceled, noted, calling; /* queued: in the inbox still */
};

struct place { /* where MUSTER_RESOLVE says a host is */
    struct place *next;
    char *host, *address;
};

static struct {
    pthread_mutex_t lock;
    pthread_cond_t quiet; /* a listener returned */
    /* Under the lock. */
    pid_t process;
    CURLM *multi; /* NULL: no thread */
    struct muster__http_transfer *inbox, **inbox_end;
    struct muster__http_transfer *attention;
    size_t live;
    struct place *places; /* read when the thread begins, constant while it lives */
    char *ca_file;
    bool insecure;
} client = {.lock = PTHREAD_MUTEX_INITIALIZER, .quiet = PTHREAD_COND_INITIALIZER};

/* ---- transfers ---- */

static void head_reset(struct head *head)
{
    head->length = head->count = 0;
    head->status = 0;
}

static void transfer_release(struct muster__http_transfer *transfer)
{
    if (atomic_fetch_sub(&transfer->references, 1) != 1)
        return;
    free(transfer->method);
    free(transfer->url);
    free(transfer->next_url);
    free(transfer->body);
    free(transfer->gathered);
    curl_slist_free_all(transfer->headers);
    curl_slist_free_all(transfer->connect_to);
    muster_stream_release(transfer->body_stream);
    muster_stream_release(transfer->stream);
    free(transfer->head.text);
    free(transfer->head.lines);
    free(transfer);
}

static void attend_locked(struct muster__http_transfer *transfer)
{
    if (!transfer->live || transfer->queued || transfer->noted)
        return; /* one that is queued is looked at when it begins */
    transfer->noted = true;
    transfer->attended = client.attention;
    client.attention = transfer;
    (void)curl_multi_wakeup(client.multi);
}

/* From a stream, on the thread of its other end. */
static void attend(void *user_data)
{
    pthread_mutex_lock(&client.lock);
    attend_locked(user_data);
    pthread_mutex_unlock(&client.lock);
}

static void forget_attention_locked(struct muster__http_transfer *transfer)
{
    struct muster__http_transfer **at = &client.attention;
    while (*at != NULL && *at != transfer)
        at = &(*at)->attended;
    if (*at != NULL)
        *at = transfer->attended;
    transfer->noted = false;
}

/* False: nobody wants to hear any more. */
static bool begin_call(struct muster__http_transfer *transfer)
{
    pthread_mutex_lock(&client.lock);
    bool wanted = !transfer->canceled;
    transfer->calling = wanted;
    pthread_mutex_unlock(&client.lock);
    transfer->told = true;
    return wanted;
}

static void end_call(struct muster__http_transfer *transfer)
{
    pthread_mutex_lock(&client.lock);
    transfer->calling = false;
    pthread_cond_broadcast(&client.quiet);
    pthread_mutex_unlock(&client.lock);
}

/* ---- the head of an answer ---- */

static bool reserve_head(struct head *head, size_t length)
{
    if (head->length + length > MOST_HEAD)
        return false;
    if (head->length + length > head->capacity) {
        size_t capacity = (head->length + length) * 2;
        char *text = realloc(head->text, capacity);
        if (text == NULL)
            return false;
        head->text = text;
        head->capacity = capacity;
    }
    if (head->count == head->line_capacity) {
        size_t capacity = head->line_capacity == 0 ? 32 : head->line_capacity * 2;
        struct line *lines = realloc(head->lines, capacity * sizeof *lines);
        if (lines == NULL)
            return false;
        head->lines = lines;
        head->line_capacity = capacity;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void trim(const char *text, size_t *start, size_t *end)
{
    while (*start < *end && is_blank(text[*start]))
        (*start)++;
    while (*end > *start && is_blank(text[*end - 1]))
        (*end)--;
}

/* Room was made. What ends a line somewhere else is a blank, as RFC 9110 5.5 has it. */
static void put_text(struct head *head, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        head->text[head->length++] = text[i] == '\r' || text[i] == '\n' || text[i] == '\0' ? ' ' : text[i];
}

static bool is_token(const char *text, size_t length)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_plain && (c == '\0' || strchr(marks, c) == NULL))
            return false;
    }
    return length > 0;
}

/* "HTTP/1.1 200 Fine" */
static void take_status_line(struct head *head, const char *line, size_t length)
{
    size_t at = 0, end = length;
    head_reset(head);
    while (at < length && line[at] != ' ')
        at++;
    while (at < length && line[at] == ' ')
        at++;
    for (; at < length && line[at] >= '0' && line[at] <= '9' && head->status < 1000; at++)
        head->status = head->status * 10 + (line[at] - '0');
    trim(line, &at, &end);
    head->reason = head->length;
    put_text(head, line + at, end - at);
    head->reason_length = head->length - head->reason;
}

static void take_header_line(struct head *head, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if ((line[0] == ' ' || line[0] == '\t') && head->count > 0) { /* folded, as was done once */
        struct line *last = &head->lines[head->count - 1];
        size_t start = 0, end = length;
        trim(line, &start, &end);
        put_text(head, " ", 1);
        put_text(head, line + start, end - start);
        last->value_length = head->length - last->value;
        return;
    }
    if (colon == NULL || !is_token(line, (size_t)(colon - line)))
        return; /* it is none */
    size_t name_length = (size_t)(colon - line), start = name_length + 1, end = length;
    trim(line, &start, &end);
    head->lines[head->count++] =
        (struct line){head->length, name_length, head->length + name_length, end - start};
    put_text(head, line, name_length);
    put_text(head, line + start, end - start);
}

static struct muster_bytes find_header(const struct head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++) {
        const struct line *line = &head->lines[i];
        if (line->name_length == strlen(name) && strncasecmp(head->text + line->name, name, line->name_length) == 0)
            return (struct muster_bytes){head->text + line->value, line->value_length};
    }
    return (struct muster_bytes){NULL, 0};
}

/* The caller frees. */
static char *url_text(CURLU *url)
{
    char *text = NULL, *copy = NULL;
    if (curl_url_get(url, CURLUPART_URL, &text, 0) == CURLUE_OK)
        copy = muster__strdup(text);
    curl_free(text);
    return copy;
}

static bool speaks_http(CURLU *url)
{
    char *scheme = NULL;
    bool yes = curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
               (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    curl_free(scheme);
    return yes;
}

static char *resolve(const char *base, const char *reference)
{
    CURLU *url = curl_url();
    char *text = NULL;
    if (url != NULL && curl_url_set(url, CURLUPART_URL, base, CURLU_URLENCODE) == CURLUE_OK &&
        curl_url_set(url, CURLUPART_URL, reference, CURLU_URLENCODE) == CURLUE_OK && speaks_http(url))
        text = url_text(url);
    curl_url_cleanup(url);
    return text;
}

static bool is_redirect(int status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static bool fail(struct muster__http_transfer *transfer, enum muster__http_problem problem, const char *text)
{
    transfer->problem = problem;
    transfer->problem_text = text;
    return false;
}

static size_t origin_length(const char *url)
{
    size_t scheme = strcspn(url, ":");
    return url[scheme] == '\0' ? scheme : scheme + 3 + strcspn(url + scheme + 3, "/?#");
}

/* Both are absolute URLs of http or https. */
static bool is_within(const char *url, const char *next)
{
    size_t length = origin_length(url);
    return length == origin_length(next) && strncasecmp(url, next, length) == 0;
}

static bool plan_redirect(struct muster__http_transfer *transfer, struct muster_bytes location)
{
    if (transfer->redirect == MUSTER__HTTP_ERROR)
        return fail(transfer, MUSTER__HTTP_REDIRECTS, "it was redirected, which is not allowed here");
    if (transfer->redirects++ >= transfer->redirect_limit)
        return fail(transfer, MUSTER__HTTP_REDIRECTS, "it was redirected too often");
    char *reference = muster__strndup(location.data, location.length);
    transfer->next_url = reference == NULL ? NULL : resolve(transfer->url, reference);
    free(reference);
    if (transfer->next_url != NULL && transfer->redirect == MUSTER__HTTP_FOLLOW_WITHIN &&
        !is_within(transfer->url, transfer->next_url)) {
        free(transfer->next_url);
        transfer->next_url = NULL;
        return fail(transfer, MUSTER__HTTP_REDIRECTS, "it was redirected to another origin");
    }
    return transfer->next_url != NULL ||
           fail(transfer, MUSTER__HTTP_REDIRECTS, "it was redirected to something that is no URL of http");
}

static bool tell_head(struct muster__http_transfer *transfer)
{
    const struct head *head = &transfer->head;
    struct muster_header *headers = calloc(head->count + 1, sizeof *headers);
    if (headers == NULL ||
        (!transfer->gather && muster_stream_new(STREAM_CAPACITY, &transfer->stream) != MUSTER_OK)) {
        free(headers);
        return fail(transfer, MUSTER__HTTP_NO_MEMORY, "out of memory");
    }
    for (size_t i = 0; i < head->count; i++) {
        const struct line *line = &head->lines[i];
        headers[i].name = (struct muster_bytes){head->text + line->name, line->name_length};
        headers[i].value = (struct muster_bytes){head->text + line->value, line->value_length};
    }
    const struct muster__http_head told = {
        .status = head->status,
        .status_text = {head->text + head->reason, head->reason_length},
        .headers = headers, .header_count = head->count,
        .url = transfer->url, .redirects = transfer->redirects, .body = transfer->stream,
        .bytes = {transfer->gathered, transfer->gathered_length},
    };
    if (transfer->stream != NULL)
        muster_stream_on_writable(transfer->stream, attend, transfer);
    if (begin_call(transfer))
        transfer->listener->head(transfer->user_data, &told);
    else
        muster_stream_release(transfer->stream); /* the reader's; NULL is fine */
    end_call(transfer);
    free(headers);
    return true;
}

/* No body follows a 204, whatever it says of one; a server that sends it all the same would have it read as the head of
 * the next answer. */
static bool may_be_followed(const struct head *head)
{
    const struct muster_bytes length = find_header(head, "content-length");
    return head->status == 204 && ((length.data && !(length.length == 1 && length.data[0] == '0')) ||
                                   find_header(head, "transfer-encoding").data);
}

/* False: the transfer ends here. */
static bool end_head(struct muster__http_transfer *transfer)
{
    const struct head *head = &transfer->head;
    if (head->status < 200) { /* there is another to come */
        head_reset(&transfer->head);
        return true;
    }
    if (may_be_followed(head))
        curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 1L);
    struct muster_bytes location = find_header(head, "location");
    if (transfer->redirect != MUSTER__HTTP_MANUAL && is_redirect(head->status) && location.data != NULL)
        return plan_redirect(transfer, location);
    transfer->in_body = true;
    return transfer->gather || tell_head(transfer);
}

static size_t on_header(char *data, size_t size, size_t count, void *user_data)
{
    struct muster__http_transfer *transfer = user_data;
    size_t length = size * count, start = 0, end = length;
    trim(data, &start, &end);
    if (transfer->in_body || transfer->next_url != NULL)
        return length; /* a trailer */
    if (start == end)
        return end_head(transfer) ? length : 0;
    if (!reserve_head(&transfer->head, length + 1)) {
        (void)fail(transfer, MUSTER__HTTP_TOO_LARGE, "the head of the answer is too large");
        return 0;
    }
    if (length >= 5 && memcmp(data, "HTTP/", 5) == 0)
        take_status_line(&transfer->head, data, length);
    else
        take_header_line(&transfer->head, data, length);
    return length;
}

/* ---- bodies ---- */

/* Whether all of it fits now.  Only this thread writes, so room does not go away. */
static bool has_room(const struct muster__http_transfer *transfer, size_t length)
{
    return STREAM_CAPACITY - muster_stream_buffered(transfer->stream) >= length;
}

static bool gather(struct muster__http_transfer *transfer, const char *data, size_t length)
{
    size_t needed = transfer->gathered_length + length;
    if (needed > transfer->gathered_capacity) {
        size_t capacity = needed > 2 * transfer->gathered_capacity ? needed : 2 * transfer->gathered_capacity;
        char *grown = realloc(transfer->gathered, capacity);
        if (grown == NULL)
            return fail(transfer, MUSTER__HTTP_NO_MEMORY, "out of memory");
        transfer->gathered = grown;
        transfer->gathered_capacity = capacity;
    }
    memcpy(transfer->gathered + transfer->gathered_length, data, length);
    transfer->gathered_length = needed;
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *user_data)
{
    struct muster__http_transfer *transfer = user_data;
    size_t length = size * count, written = 0;
    if (transfer->next_url != NULL) {
        transfer->received += length;
        return transfer->received > MOST_DROPPED ? 0 : length;
    }
    if (!transfer->in_body)
        return 0;
    if (transfer->stream != NULL && !has_room(transfer, length)) {
        muster_stream_on_writable(transfer->stream, attend, transfer); /* from now on room is news */
        if (!has_room(transfer, length))
            return CURL_WRITEFUNC_PAUSE;
    }
    transfer->received += length;
    if (transfer->body_limit != 0 && transfer->received > transfer->body_limit) {
        (void)fail(transfer, MUSTER__HTTP_TOO_LARGE, "the answer is larger than allowed");
        return 0;
    }
    if (transfer->gather)
        return gather(transfer, data, length) ? length : 0;
    if (muster_stream_write(transfer->stream, data, length, &written) == MUSTER_OK && written < length)
        (void)fail(transfer, MUSTER__HTTP_NO_MEMORY, "out of memory");
    return written; /* less when the reader is gone */
}

static size_t on_upload(char *data, size_t size, size_t count, void *user_data)
{
    struct muster__http_transfer *transfer = user_data;
    size_t length = 0;
    enum muster_status status = muster_stream_read(transfer->body_stream, data, size * count, &length);
    if (status == MUSTER_PENDING)
        return CURL_READFUNC_PAUSE;
    if (status == MUSTER_OK)
        return length;
    (void)fail(transfer, MUSTER__HTTP_BROKEN, "the body of the request was aborted");
    return CURL_READFUNC_ABORT;
}

/* ---- setting one up; the client's thread ---- */

static bool matches(const char *pattern, const char *host)
{
    if (pattern[0] != '*' || pattern[1] != '.')
        return strcasecmp(pattern, host) == 0;
    size_t length = strlen(host), tail = strlen(pattern + 1);
    return length > tail && strcasecmp(host + length - tail, pattern + 1) == 0;
}

/* As MUSTER_RESOLVE says; NULL: nothing of that host. */
static const char *address_of(const char *text)
{
    const char *address = NULL;
    CURLU *url = curl_url();
    char *host = NULL;
    if (url != NULL && curl_url_set(url, CURLUPART_URL, text, 0) == CURLUE_OK)
        (void)curl_url_get(url, CURLUPART_HOST, &host, 0);
    for (const struct place *at = client.places; host != NULL && at != NULL && address == NULL; at = at->next)
        if (matches(at->host, host))
            address = at->address;
    curl_free(host);
    curl_url_cleanup(url);
    return address;
}

static bool set_place(struct muster__http_transfer *transfer)
{
    const char *address = address_of(transfer->url);
    curl_slist_free_all(transfer->connect_to);
    transfer->connect_to = NULL;
    if (address == NULL)
        return true;
    bool bare = strchr(address, ':') != NULL && address[0] != '[';
    char *rule = muster__format(bare ? "::[%s]:" : "::%s:", address);
    transfer->connect_to = rule == NULL ? NULL : curl_slist_append(NULL, rule);
    free(rule);
    return transfer->connect_to != NULL &&
           curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_TO, transfer->connect_to) == CURLE_OK &&
           curl_easy_setopt(transfer->easy, CURLOPT_PROXY, "") == CURLE_OK;
}

static bool needs_length(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0;
}

/* A method of any name may have a body of any kind, or none. */
static bool set_method(struct muster__http_transfer *transfer)
{
    CURL *easy = transfer->easy;
    CURLcode code = CURLE_OK;
    if (transfer->body_stream != NULL) {
        code = curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_upload);
        curl_easy_setopt(easy, CURLOPT_READDATA, transfer);
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L); /* it could not be sent a second time */
        muster_stream_on_readable(transfer->body_stream, attend, transfer);
    } else if (transfer->has_body || needs_length(transfer->method)) {
        code = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body_length);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->body != NULL ? transfer->body : "");
    } else if (strcmp(transfer->method, "HEAD") == 0) {
        return curl_easy_setopt(easy, CURLOPT_NOBODY, 1L) == CURLE_OK;
    } else if (strcmp(transfer->method, "GET") == 0) {
        return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    }
    return code == CURLE_OK && curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, transfer->method) == CURLE_OK;
}

static long milliseconds(uint64_t us)
{
    uint64_t ms = (us + 999) / 1000;
    return ms > 0x7fffffff ? 0x7fffffff : (long)ms;
}

static bool set_time(struct muster__http_transfer *transfer)
{
    curl_easy_setopt(transfer->easy, CURLOPT_CONNECTTIMEOUT_MS, milliseconds(transfer->connect_timeout_us));
    if (transfer->timeout_us == 0)
        return true;
    uint64_t gone = muster__now_us() - transfer->started_us;
    if (gone >= transfer->timeout_us)
        return fail(transfer, MUSTER__HTTP_TIMED_OUT, "it took too long");
    curl_easy_setopt(transfer->easy, CURLOPT_TIMEOUT_MS, milliseconds(transfer->timeout_us - gone));
    return true;
}

static void set_trust(CURL *easy)
{
    if (client.ca_file != NULL) {
        curl_easy_setopt(easy, CURLOPT_CAINFO, client.ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
    }
    if (client.insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static bool set_up(struct muster__http_transfer *transfer)
{
    CURL *easy = transfer->easy = curl_easy_init();
    if (easy == NULL)
        return fail(transfer, MUSTER__HTTP_NO_MEMORY, "out of memory");
    transfer->error_text[0] = '\0';
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->error_text);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    set_trust(easy);
    if (curl_easy_setopt(easy, CURLOPT_URL, transfer->url) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers) != CURLE_OK ||
        (!transfer->raw && curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "") != CURLE_OK) ||
        !set_method(transfer) || !set_place(transfer))
        return fail(transfer, MUSTER__HTTP_NO_MEMORY, "out of memory");
    return set_time(transfer);
}

/* ---- ends ---- */

static enum muster__http_problem problem_of(CURL *easy, CURLcode code)
{
    long problem = 0;
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return MUSTER__HTTP_NO_HOST;
    case CURLE_COULDNT_CONNECT:
        (void)curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &problem);
        return problem == EPERM || problem == EACCES ? MUSTER__HTTP_UNAVAILABLE : MUSTER__HTTP_NO_CONNECTION;
    case CURLE_OPERATION_TIMEDOUT:
        return MUSTER__HTTP_TIMED_OUT;
    case CURLE_OUT_OF_MEMORY:
        return MUSTER__HTTP_NO_MEMORY;
    case CURLE_URL_MALFORMAT:
        return MUSTER__HTTP_BAD_REQUEST;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_USE_SSL_FAILED:
        return MUSTER__HTTP_TLS;
    default:
        return MUSTER__HTTP_BROKEN;
    }
}

static enum muster_status status_of(enum muster__http_problem problem)
{
    return problem == MUSTER__HTTP_TIMED_OUT   ? MUSTER_TIMED_OUT
           : problem == MUSTER__HTTP_NO_MEMORY ? MUSTER_NO_MEMORY
                                               : MUSTER_SYSTEM;
}

static void tell_failure(struct muster__http_transfer *transfer, CURLcode code)
{
    enum muster__http_problem problem =
        transfer->problem != MUSTER__HTTP_FINE ? transfer->problem : problem_of(transfer->easy, code);
    const char *text = transfer->problem_text != NULL     ? transfer->problem_text
                       : transfer->error_text[0] != '\0' ? transfer->error_text
                       : code == CURLE_OK                ? "there was no answer"
                                                         : curl_easy_strerror(code);
    char *message = muster__format("cannot fetch %s: %s", transfer->url, text);
    text = message != NULL ? message : text;
    if (transfer->stream != NULL) {
        muster_stream_abort(transfer->stream, status_of(problem), text);
        transfer->ended = true;
    } else if (!transfer->told) {
        if (begin_call(transfer))
            transfer->listener->failed(transfer->user_data, problem, text);
        end_call(transfer);
    }
    free(message);
}

static void take_down(struct muster__http_transfer *transfer)
{
    if (transfer->easy == NULL)
        return;
    (void)curl_multi_remove_handle(client.multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
}

/* It is nothing of the client's any more. */
static void drop(struct muster__http_transfer *transfer)
{
    take_down(transfer);
    if (transfer->stream != NULL) {
        muster_stream_on_writable(transfer->stream, NULL, NULL);
        if (!transfer->ended) /* what waits in it is still to be read */
            muster_stream_abort(transfer->stream, MUSTER_CANCELED, "the fetch was canceled");
    }
    if (transfer->body_stream != NULL) {
        muster_stream_on_readable(transfer->body_stream, NULL, NULL);
        muster_stream_abort(transfer->body_stream, MUSTER_CANCELED, "nobody reads it any more");
    }
    pthread_mutex_lock(&client.lock);
    forget_attention_locked(transfer);
    transfer->live = false;
    client.live--;
    pthread_mutex_unlock(&client.lock);
    transfer_release(transfer);
}

static bool is_canceled(struct muster__http_transfer *transfer)
{
    pthread_mutex_lock(&client.lock);
    bool canceled = transfer->canceled;
    pthread_mutex_unlock(&client.lock);
    return canceled;
}

static void begin(struct muster__http_transfer *transfer)
{
    if (is_canceled(transfer)) {
        drop(transfer);
        return;
    }
    if (set_up(transfer) && curl_multi_add_handle(client.multi, transfer->easy) == CURLM_OK)
        return;
    tell_failure(transfer, CURLE_OUT_OF_MEMORY);
    drop(transfer);
}

static void follow(struct muster__http_transfer *transfer)
{
    take_down(transfer);
    free(transfer->url);
    transfer->url = transfer->next_url;
    transfer->next_url = NULL;
    transfer->received = 0;
    head_reset(&transfer->head);
    begin(transfer);
}

static void end(struct muster__http_transfer *transfer, CURLcode code)
{
    if (transfer->next_url != NULL) {
        follow(transfer);
        return;
    }
    transfer->ended = code == CURLE_OK && transfer->in_body;
    if (transfer->ended && transfer->stream != NULL)
        muster_stream_close(transfer->stream);
    else if (!transfer->ended || !tell_head(transfer))
        tell_failure(transfer, code);
    drop(transfer);
}

/* ---- the thread ---- */

static void look_after(struct muster__http_transfer *transfer)
{
    size_t written = 0;
    bool unwanted = transfer->stream != NULL &&
                    muster_stream_write(transfer->stream, "", 0, &written) == MUSTER_CLOSED;
    if (unwanted || is_canceled(transfer))
        drop(transfer);
    else if (transfer->easy != NULL)
        (void)curl_easy_pause(transfer->easy, CURLPAUSE_CONT); /* an error of it comes as the transfer's end */
}

static struct muster__http_transfer *take_new(void)
{
    pthread_mutex_lock(&client.lock);
    struct muster__http_transfer *first = client.inbox;
    if (first != NULL) {
        client.inbox = first->next;
        first->queued = false;
    }
    if (client.inbox == NULL)
        client.inbox_end = &client.inbox;
    pthread_mutex_unlock(&client.lock);
    return first;
}

static struct muster__http_transfer *take_attention(void)
{
    pthread_mutex_lock(&client.lock);
    struct muster__http_transfer *first = client.attention;
    if (first != NULL) {
        client.attention = first->attended;
        first->noted = false;
    }
    pthread_mutex_unlock(&client.lock);
    return first;
}

static void take_ends(void)
{
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(client.multi, &left)) != NULL;) {
        struct muster__http_transfer *transfer = NULL;
        CURLcode code = message->data.result; /* the message dies with the handle */
        if (message->msg == CURLMSG_DONE &&
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer) == CURLE_OK)
            end(transfer, code);
    }
}

static void free_settings_locked(void)
{
    while (client.places != NULL) {
        struct place *place = client.places;
        client.places = place->next;
        free(place->host);
        free(place->address);
        free(place);
    }
    free(client.ca_file);
    client.ca_file = NULL;
}

/* True: the thread has nothing left, and ends. */
static bool retire(void)
{
    CURLM *multi = NULL;
    pthread_mutex_lock(&client.lock);
    if (client.live == 0) {
        multi = client.multi;
        client.multi = NULL;
        free_settings_locked();
    }
    pthread_mutex_unlock(&client.lock);
    if (multi != NULL)
        (void)curl_multi_cleanup(multi);
    return multi != NULL;
}

static void *run(void *unused)
{
    uint64_t busy_us = muster__now_us();
    int running = 0;
    (void)unused;
    for (;;) {
        for (struct muster__http_transfer *transfer; (transfer = take_new()) != NULL;)
            begin(transfer);
        for (struct muster__http_transfer *transfer; (transfer = take_attention()) != NULL;)
            look_after(transfer);
        (void)curl_multi_perform(client.multi, &running);
        take_ends();
        uint64_t now_us = muster__now_us();
        if (running > 0)
            busy_us = now_us;
        else if (now_us - busy_us >= IDLE_MS * 1000 && retire())
            return NULL;
        (void)curl_multi_poll(client.multi, NULL, 0, IDLE_MS, NULL);
    }
}

static void read_places_locked(const char *text)
{
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ","), host = strcspn(text, "=,");
        struct place *place = host < length && host > 0 ? calloc(1, sizeof *place) : NULL;
        if (place != NULL) {
            place->host = muster__strndup(text, host);
            place->address = muster__strndup(text + host + 1, length - host - 1);
            place->next = client.places;
            client.places = place;
        }
        if (place != NULL && (place->host == NULL || place->address == NULL)) {
            client.places = place->next;
            free(place->host);
            free(place->address);
            free(place);
        }
        text += length + (text[length] == ',');
    }
}

static void read_settings_locked(void)
{
    const char *insecure = secure_getenv("MUSTER_TLS_INSECURE");
    client.ca_file = muster__strdup(secure_getenv("MUSTER_CA_FILE"));
    client.insecure = insecure != NULL && strcmp(insecure, "1") == 0;
    read_places_locked(secure_getenv("MUSTER_RESOLVE"));
}

static bool spawn_locked(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    if (pthread_attr_init(&attributes) != 0)
        return false;
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool done = muster__thread_start(&thread, &attributes, run, NULL) == 0;
    pthread_attr_destroy(&attributes);
    if (done)
        (void)pthread_setname_np(thread, "muster-http");
    return done;
}

static void lock_client(void)
{
    pthread_mutex_lock(&client.lock);
}

static void unlock_client(void)
{
    pthread_mutex_unlock(&client.lock);
}

/* A child that is forked while another thread holds the lock would never get it, and could not be refused. */
static void initialize(void)
{
    MUSTER_CHECK(pthread_atfork(lock_client, unlock_client, unlock_client) == 0);
    MUSTER_CHECK(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
}

static void prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, initialize);
}

static bool ensure_thread_locked(void)
{
    if (client.multi != NULL)
        return true;
    client.multi = curl_multi_init();
    if (client.multi == NULL)
        return false;
    (void)curl_multi_setopt(client.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, MOST_CONNECTIONS);
    client.inbox_end = &client.inbox;
    client.process = getpid();
    read_settings_locked();
    if (spawn_locked())
        return true;
    free_settings_locked();
    (void)curl_multi_cleanup(client.multi);
    client.multi = NULL;
    return false;
}

/* ---- the driver ---- */

static bool is_plain(struct muster_bytes value)
{
    for (size_t i = 0; i < value.length; i++)
        if (value.data[i] == '\r' || value.data[i] == '\n' || value.data[i] == '\0')
            return false;
    return true;
}

static bool add_line(struct curl_slist **list, char *take_line)
{
    struct curl_slist *grown = take_line == NULL ? NULL : curl_slist_append(*list, take_line);
    free(take_line);
    if (grown != NULL)
        *list = grown;
    return grown != NULL;
}

/* INVALID_ARGUMENT: it would not be one header. */
static enum muster_status add_header(struct curl_slist **list, const struct muster_header *header)
{
    char *name = muster__strndup(header->name.data, header->name.length);
    if (name == NULL)
        return MUSTER_NO_MEMORY;
    bool fine = strlen(name) == header->name.length && is_token(name, strlen(name)) && is_plain(header->value);
    char *line = !fine                       ? NULL
                 : header->value.length == 0 ? muster__format("%s;", name)
                                             : muster__format("%s: %.*s", name, (int)header->value.length,
                                                              header->value.data);
    free(name);
    if (!fine)
        return MUSTER_INVALID_ARGUMENT;
    return add_line(list, line) ? MUSTER_OK : MUSTER_NO_MEMORY;
}

static bool is_http(const char *text)
{
    CURLU *url = curl_url();
    bool yes = url != NULL && curl_url_set(url, CURLUPART_URL, text, CURLU_URLENCODE) == CURLUE_OK && speaks_http(url);
    curl_url_cleanup(url);
    return yes;
}

static bool has_header(const struct muster__http_options *options, const char *name)
{
    for (size_t i = 0; i < options->header_count; i++)
        if (options->headers[i].name.length == strlen(name) &&
            strncasecmp(options->headers[i].name.data, name, strlen(name)) == 0)
            return true;
    return false;
}

/* What libcurl would add by itself is left out. */
static enum muster_status copy_headers(const struct muster__http_options *options, struct curl_slist **list)
{
    static const char *const unasked[] = {"Accept", "Content-Type", "Expect", "User-Agent"};
    enum muster_status status = MUSTER_OK;
    for (size_t i = 0; i < options->header_count && status == MUSTER_OK; i++)
        status = add_header(list, &options->headers[i]);
    for (size_t i = 0; i < sizeof unasked / sizeof *unasked && status == MUSTER_OK; i++)
        if (!has_header(options, unasked[i]) && !add_line(list, muster__format("%s:", unasked[i])))
            status = MUSTER_NO_MEMORY;
    return status;
}

static bool copy_body(struct muster__http_transfer *transfer, struct muster_bytes body)
{
    transfer->has_body = body.data != NULL;
    transfer->body_length = body.data != NULL ? body.length : 0;
    if (transfer->body_length == 0)
        return true;
    transfer->body = malloc(body.length);
    if (transfer->body != NULL)
        memcpy(transfer->body, body.data, body.length);
    return transfer->body != NULL;
}

static enum muster_status transfer_new(const struct muster__http_options *options,
                                       struct muster__http_transfer **ret_transfer)
{
    struct muster__http_transfer *transfer = calloc(1, sizeof *transfer);
    if (transfer == NULL)
        return MUSTER_NO_MEMORY;
    atomic_init(&transfer->references, 1);
    transfer->listener = options->listener;
    transfer->user_data = options->user_data;
    transfer->redirect = options->redirect;
    transfer->redirect_limit = options->redirect_limit != 0 ? options->redirect_limit : MOST_REDIRECTS;
    transfer->raw = options->raw;
    transfer->gather = options->gather;
    transfer->connect_timeout_us =
        options->connect_timeout_us != 0 ? options->connect_timeout_us : CONNECT_TIMEOUT_US;
    transfer->timeout_us = options->timeout_us;
    transfer->body_limit = options->body_limit;
    transfer->started_us = muster__now_us();
    transfer->method = muster__strdup(options->method);
    transfer->url = muster__strdup(options->url);
    enum muster_status status = transfer->method != NULL && transfer->url != NULL && copy_body(transfer, options->body)
                                    ? copy_headers(options, &transfer->headers)
                                    : MUSTER_NO_MEMORY;
    if (status == MUSTER_OK && (!is_token(options->method, strlen(options->method)) || !is_http(options->url)))
        status = MUSTER_INVALID_ARGUMENT;
    if (status != MUSTER_OK) {
        transfer_release(transfer);
        return status;
    }
    transfer->body_stream = muster_stream_acquire(options->body_stream);
    *ret_transfer = transfer;
    return MUSTER_OK;
}

static enum muster_status enqueue(struct muster__http_transfer *transfer)
{
    enum muster_status status = MUSTER_OK;
    prepare();
    pthread_mutex_lock(&client.lock);
    if (client.multi != NULL && client.process != getpid())
        status = MUSTER_FORKED;
    else if (!ensure_thread_locked())
        status = MUSTER_SYSTEM;
    if (status == MUSTER_OK) {
        transfer->live = transfer->queued = true;
        client.live++;
        *client.inbox_end = transfer;
        client.inbox_end = &transfer->next;
        (void)curl_multi_wakeup(client.multi);
    }
    pthread_mutex_unlock(&client.lock);
    return status;
}

static enum muster_status start(const struct muster__http_options *options,
                                struct muster__http_transfer **ret_transfer, struct muster_error *error)
{
    struct muster__http_transfer *transfer = NULL;
    MUSTER_CHECK(options->method != NULL && options->url != NULL && options->listener != NULL);
    MUSTER_CHECK((options->redirect != MUSTER__HTTP_FOLLOW && options->redirect != MUSTER__HTTP_FOLLOW_WITHIN) ||
                 (!options->body.data && !options->body_stream));
    enum muster_status status = transfer_new(options, &transfer);
    if (status == MUSTER_OK) {
        atomic_fetch_add(&transfer->references, 1); /* the client's */
        *ret_transfer = transfer; /* before a listener can hear */
        status = enqueue(transfer);
        if (status != MUSTER_OK) {
            atomic_fetch_sub(&transfer->references, 1);
            transfer_release(transfer);
        }
    }
    if (status != MUSTER_OK)
        muster_error_set(error, status, "cannot fetch %s: %s", options->url, muster_status_sentence(status));
    return status;
}

static void cancel(struct muster__http_transfer *take_transfer)
{
    pthread_mutex_lock(&client.lock);
    take_transfer->canceled = true;
    while (take_transfer->calling)
        pthread_cond_wait(&client.quiet, &client.lock);
    attend_locked(take_transfer);
    pthread_mutex_unlock(&client.lock);
    transfer_release(take_transfer);
}

MUSTER_API const struct muster__http_driver muster__http_driver = {
    .prepare = prepare,
    .start = start,
    .cancel = cancel,
    .release = transfer_release,
    .resolve = resolve,
    .digest = muster__http_driver_digest,
};
