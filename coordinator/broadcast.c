/* coordinator/broadcast.c - see broadcast.h. */
#include "coordinator/broadcast.h"

#include <stdlib.h>
#include <string.h>

/* How many channels a context may have open. */
#define CHANNELS_MAX 10000

struct group {
    struct muster__named named;
    struct muster__link channels;
    char *key;
};

struct channel {
    struct muster__link link;    /* of its group's, in order of making */
    struct muster__link context_link;
    struct muster__context *context;
    struct group *group;
    uint64_t id;
    struct muster_value *head; /* what it is told with every message: ["tell", "broadcast", id] */
};

static struct channel *find(const struct muster__context *context, uint64_t id)
{
    for (struct muster__link *at = context->channels.next; at != &context->channels; at = at->next) {
        struct channel *channel = MUSTER_CONTAINER_OF(at, struct channel, context_link);
        if (channel->id == id)
            return channel;
    }
    return NULL;
}

static struct group *group_of(struct muster__worlds *worlds, const char *storage_key, const char *name)
{
    char *key = muster__format("%zu:%s %s", strlen(storage_key), storage_key, name);
    struct muster__named *named = key ? muster__name_map_find(worlds, &worlds->channels, key) : NULL;
    if (named) {
        free(key);
        return MUSTER_CONTAINER_OF(named, struct group, named);
    }
    struct group *group = key ? calloc(1, sizeof(*group)) : NULL;
    if (!group) {
        free(key);
        return NULL;
    }
    group->key = key;
    group->named.name = key;
    muster__link_init(&group->channels);
    muster__name_map_add(worlds, &worlds->channels, &group->named);
    return group;
}

static void leave_group(struct muster__worlds *worlds, struct group *group)
{
    if (!muster__link_is_empty(&group->channels))
        return;
    muster__name_map_remove(&worlds->channels, &group->named);
    free(group->key);
    free(group);
}

static void close_channel(struct channel *channel)
{
    struct muster__worlds *worlds = channel->context->muster->worlds;
    muster__link_remove(&channel->context_link);
    muster__link_remove(&channel->link);
    leave_group(worlds, channel->group);
    muster_value_release(channel->head);
    free(channel);
}

void muster__broadcast_let_go(struct muster__context *context)
{
    while (!muster__link_is_empty(&context->channels))
        close_channel(MUSTER_CONTAINER_OF(context->channels.next, struct channel, context_link));
}

static bool may_open(const struct muster__context *context)
{
    size_t count = 0;
    for (const struct muster__link *at = context->channels.next; at != &context->channels; at = at->next)
        count++;
    return count < CHANNELS_MAX;
}

static struct channel *new_channel(struct muster__context *context, const char *name)
{
    struct muster__worlds *worlds = context->muster->worlds;
    struct channel *channel = calloc(1, sizeof(*channel));
    if (!channel)
        return NULL;
    channel->id = ++worlds->next_id;
    channel->context = context;
    channel->head = MUSTER__ARRAY(muster__tree_text("tell"), muster__tree_text("broadcast"),
                                  muster_value_new_number((double)channel->id));
    channel->group = channel->head ? group_of(worlds, context->storage_key, name) : NULL;
    if (!channel->group) {
        muster_value_release(channel->head);
        free(channel);
        return NULL;
    }
    muster__link_append(&channel->group->channels, &channel->link);
    muster__link_append(&context->channels, &channel->context_link);
    return channel;
}

void muster__op_broadcast_open(struct muster__ask *ask)
{
    const char *name = muster__ask_text(ask, 0);
    if (!name || !ask->is_ask) {
        muster__ask_fail(ask, "TypeError", "a channel's name is a text of at most 64 KB");
        return;
    }
    if (!may_open(ask->context)) {
        muster__ask_fail(ask, "QuotaExceededError", "%d channels are open already", CHANNELS_MAX);
        return;
    }
    struct channel *channel = new_channel(ask->context, name);
    if (channel)
        muster__ask_answer(ask, muster_value_new_number((double)channel->id));
    else
        muster__ask_fail(ask, "OperationError", "%s", muster_status_sentence(MUSTER_NO_MEMORY));
}

void muster__op_broadcast_post(struct muster__ask *ask)
{
    struct channel *from = find(ask->context, muster__ask_number(ask, 0));
    struct muster_value *data = ask->message->data;
    struct muster__link *list = from ? &from->group->channels : NULL;
    for (struct muster__link *at = list ? list->next : NULL; at != list; at = at->next) {
        const struct channel *to = MUSTER_CONTAINER_OF(at, struct channel, link);
        if (to != from)
            muster__context_tell(to->context, muster_value_acquire(to->head),
                                 data ? muster_value_acquire(data) : NULL);
    }
    muster__ask_answer(ask, NULL);
}

void muster__op_broadcast_close(struct muster__ask *ask)
{
    struct channel *channel = find(ask->context, muster__ask_number(ask, 0));
    if (channel)
        close_channel(channel);
    muster__ask_answer(ask, NULL);
}
