/* remote/wire_http.c - see wire_http.h. */
#include "remote/wire_http.h"

#include <string.h>

void muster__wire_put_request(struct muster__wire_message *message, const struct muster_http_request *http)
{
    message->request.method = http->method;
    message->request.url = http->url;
    message->request.client_id = http->client_id;
    message->request.headers = http->headers;
    message->request.header_count = http->header_count;
    if (http->body_stream) {
        message->request.body = MUSTER__WIRE_BODY_STREAM;
    } else if (http->body.data) {
        message->request.body = MUSTER__WIRE_BODY_WHOLE;
        message->value = (struct muster__wire_value){.present = true, .bytes = http->body};
    }
}

void muster__wire_put_response(struct muster__wire_message *message, const struct muster_http_response *response)
{
    message->result.is_response = true;
    message->result.status_code = (uint16_t)response->status_code;
    message->result.reason = response->status_text;
    message->result.headers = response->headers;
    message->result.header_count = response->header_count;
    if (response->body_stream) {
        message->result.body = MUSTER__WIRE_BODY_STREAM;
    } else if (response->body.data) {
        message->result.body = MUSTER__WIRE_BODY_WHOLE;
        message->value = (struct muster__wire_value){.present = true, .bytes = response->body};
    }
}

static struct muster_bytes text_of(const char *text)
{
    return (struct muster_bytes){text, text ? strlen(text) : 0};
}

bool muster__wire_copy_request(const struct muster__wire_message *message, struct muster__request *request,
                               struct muster_header **ret_memory)
{
    const bool is_whole = message->request.body == MUSTER__WIRE_BODY_WHOLE;
    const struct muster_bytes body = message->value.bytes;
    const struct muster_http_request lent = {.method = message->request.method,
                                             .url = message->request.url,
                                             .headers = message->request.headers,
                                             .header_count = message->request.header_count,
                                             .body = {is_whole && !body.data ? "" : is_whole ? body.data : NULL,
                                                      is_whole ? body.length : 0},
                                             .client_id = message->request.client_id};
    struct muster_header *headers =
        muster__request_copy_http(&lent, text_of(message->request.name), &request->http, &request->name);
    if (headers)
        *ret_memory = headers;
    return headers != NULL;
}
