/* cli/control_client.c - see control_client.h. */
#include "cli/control_client.h"

#include "cli/control_folder.h"
#include "cli/control_request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MOST ((size_t)64 << 20) /* of an answer: a list of all workers is long */
#define READ_SIZE ((size_t)64 << 10)

enum muster_status muster__control_client_open(const char *state, struct muster__control_client *ret_client,
                                               struct muster_error *error)
{
    struct muster__control_client client = {.is_open = true};
    enum muster_status status = muster__control_folder_connect(state, &client.fd, error);
    if (status == MUSTER_OK)
        *ret_client = client;
    return status;
}

void muster__control_client_close(struct muster__control_client *client)
{
    if (client->is_open)
        close(client->fd);
    free(client->in);
    *client = (struct muster__control_client){0};
}

static enum muster_status fail(struct muster_error *error, enum muster_status status, const char *sentence)
{
    muster_error_set(error, status, "%s", sentence);
    return status;
}

enum muster_status muster__control_client_send(struct muster__control_client *client, struct muster_value *take_request,
                                               struct muster_error *error)
{
    size_t length = 0, sent = 0;
    char *line = muster__control_line(take_request, &length);
    if (!line)
        return fail(error, MUSTER_NO_MEMORY, "out of memory for the request");
    while (sent < length) {
        ssize_t written = send(client->fd, line + sent, length - sent, MSG_NOSIGNAL);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            break; /* it has closed: perhaps it said why */
        sent += (size_t)written;
    }
    free(line);
    return MUSTER_OK;
}

/* OK: there is more than before.  CLOSED: it has ended. */
static enum muster_status read_more(struct muster__control_client *client, struct muster_error *error)
{
    if (client->length > LINE_MOST)
        return fail(error, MUSTER_INVALID_ARGUMENT, "the server's answer is too long");
    if (client->room - client->length < READ_SIZE) {
        size_t room = 2 * client->room + READ_SIZE;
        char *in = realloc(client->in, room);
        if (!in)
            return fail(error, MUSTER_NO_MEMORY, "out of memory for the server's answer");
        client->in = in;
        client->room = room;
    }
    ssize_t length;
    do
        length = recv(client->fd, client->in + client->length, client->room - client->length, 0);
    while (length < 0 && errno == EINTR);
    if (length <= 0)
        return fail(error, MUSTER_CLOSED, "the server has ended without an answer");
    client->length += (size_t)length;
    return MUSTER_OK;
}

enum muster_status muster__control_client_read(struct muster__control_client *client, struct muster_value **ret_value,
                                               const char **ret_line, struct muster_error *error)
{
    enum muster_status status = MUSTER_OK;
    client->length -= client->taken;
    if (client->taken)
        memmove(client->in, client->in + client->taken, client->length);
    client->taken = 0;
    char *end = NULL;
    for (size_t seen = 0; status == MUSTER_OK; seen = client->length, status = read_more(client, error)) {
        end = client->length > seen ? memchr(client->in + seen, '\n', client->length - seen) : NULL;
        if (end)
            break;
    }
    if (status != MUSTER_OK)
        return status;
    *end = 0;
    client->taken = (size_t)(end - client->in) + 1;
    if (ret_line)
        *ret_line = client->in;
    struct muster_error why = {0};
    status = muster_value_from_json(client->in, client->taken - 1, ret_value, &why);
    if (status != MUSTER_OK)
        muster_error_set(error, status, "the server's answer is no JSON: %s", why.message ? why.message : "");
    muster_error_clean_up(&why);
    return status;
}
