/* cli/http_parser.c - llhttp behind muster's own words.
 *
 * The owner's thread.  The promise: whatever the bytes are, execute returns with one of its answers; after
 * anything but MORE the owner begins anew with init. */
#include "cli/http_parser.h"

#include <llhttp.h>
#include <string.h>

#include "runtime/check.h"

_Static_assert(sizeof(llhttp_t) <= sizeof(((struct muster__http_parser *)0)->state),
               "the parser's state has room for llhttp's");
_Static_assert(_Alignof(llhttp_t) <= _Alignof(uint64_t), "and is aligned for it");

static struct muster__http_parser *of(llhttp_t *llhttp)
{
    return llhttp->data;
}

/* Trailers and extensions carry nothing that we pass on, so their only effect could be to cost. */
static int count_overhead(llhttp_t *llhttp, const char *data, size_t length)
{
    (void)data;
    struct muster__http_parser *parser = of(llhttp);
    parser->overhead += length + 1;
    parser->too_large = parser->overhead > parser->overhead_limit;
    return parser->too_large ? HPE_USER : 0;
}

static int on_header_field(llhttp_t *llhttp, const char *data, size_t length)
{
    struct muster__http_parser *parser = of(llhttp);
    if (parser->head_ended)
        return count_overhead(llhttp, data, length);
    return parser->events->on_header_name(parser->user_data, data, length) ? 0 : HPE_USER;
}

static int on_header_value(llhttp_t *llhttp, const char *data, size_t length)
{
    struct muster__http_parser *parser = of(llhttp);
    if (parser->head_ended)
        return count_overhead(llhttp, data, length);
    return parser->events->on_header_value(parser->user_data, data, length) ? 0 : HPE_USER;
}

static int on_headers_complete(llhttp_t *llhttp)
{
    struct muster__http_parser *parser = of(llhttp);
    struct muster__http_framing framing = {
        .keep_alive = llhttp_should_keep_alive(llhttp),
        .is_chunked = (llhttp->flags & F_CHUNKED) != 0,
        .has_content_length = (llhttp->flags & F_CONTENT_LENGTH) != 0,
        .content_length = llhttp->content_length,
    };
    parser->head_ended = true;
    return parser->events->on_head_end(parser->user_data, &framing) ? 0 : -1;
}

static int on_body(llhttp_t *llhttp, const char *data, size_t length)
{
    struct muster__http_parser *parser = of(llhttp);
    return parser->events->on_body(parser->user_data, data, length) ? 0 : HPE_USER;
}

/* Pausing comes before llhttp would leave HTTP for an upgrade, which nobody here accepts. */
static int on_message_complete(llhttp_t *llhttp)
{
    of(llhttp)->message_ended = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_extension_name = count_overhead,
    .on_chunk_extension_value = count_overhead,
    .on_message_complete = on_message_complete,
};

void muster__http_parser_init(struct muster__http_parser *parser,
                              const struct muster__http_parser_events *events, void *user_data,
                              size_t overhead_limit)
{
    llhttp_t *llhttp = (llhttp_t *)(void *)parser->state;
    *parser = (struct muster__http_parser){
        .events = events, .user_data = user_data, .overhead_limit = overhead_limit};
    llhttp_init(llhttp, HTTP_REQUEST, &settings);
    llhttp->data = parser;
}

static enum muster__http_parse name_of_error(const struct muster__http_parser *parser,
                                             llhttp_errno_t error)
{
    if (parser->too_large)
        return MUSTER__HTTP_PARSE_TOO_LARGE;
    switch (error) {
    case HPE_USER:
    case HPE_CB_HEADERS_COMPLETE:
        return MUSTER__HTTP_PARSE_REFUSED;
    case HPE_INVALID_METHOD:
        return MUSTER__HTTP_PARSE_UNKNOWN_METHOD;
    default:
        return MUSTER__HTTP_PARSE_BAD;
    }
}

enum muster__http_parse muster__http_parser_execute(struct muster__http_parser *parser,
                                                    const char *data, size_t length,
                                                    size_t *ret_used)
{
    llhttp_t *llhttp = (llhttp_t *)(void *)parser->state;
    MUSTER_CHECK(!parser->message_ended);
    /* The owner may have moved with its parser inside. */
    llhttp->data = parser;
    llhttp_errno_t error = llhttp_execute(llhttp, data, length);
    *ret_used = length;
    if (error == HPE_OK)
        return MUSTER__HTTP_PARSE_MORE;
    const char *at = llhttp_get_error_pos(llhttp);
    *ret_used = at >= data && at <= data + length ? (size_t)(at - data) : length;
    if (error == HPE_PAUSED && parser->message_ended)
        return MUSTER__HTTP_PARSE_MESSAGE_END;
    return name_of_error(parser, error);
}
