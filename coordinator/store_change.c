/* coordinator/store_change.c - see store_change.h.  Any thread.  The copy is made twice: first without memory, which
 * tells how much it needs. */
#include "coordinator/store_change.h"

#include <stdlib.h>
#include <string.h>

struct packer {
    char *at; /* NULL: only measures */
    size_t used;
};

static const char *pack(struct packer *packer, const char *data, size_t length)
{
    char *to = packer->at ? packer->at + packer->used : NULL;
    if (!data)
        return NULL;
    packer->used += length + 1;
    if (to) {
        memcpy(to, data, length);
        to[length] = '\0';
    }
    return to;
}

static const char *pack_text(struct packer *packer, const char *text)
{
    return text ? pack(packer, text, strlen(text)) : NULL;
}

static void pack_script(struct packer *packer, const struct muster__stored_script *from, struct muster__stored_script *to)
{
    struct muster__stored_script copy = *from;
    copy.url = pack_text(packer, from->url);
    copy.content_type = pack_text(packer, from->content_type);
    copy.source_map = pack_text(packer, from->source_map);
    copy.text.data = pack(packer, from->text.data ? from->text.data : "", from->text.length);
    if (packer->at)
        *to = copy;
}

static void pack_registration(struct packer *packer, const struct muster__stored_registration *from,
                              struct muster__stored_registration *to)
{
    struct muster__stored_script *scripts = packer->at ? (struct muster__stored_script *)packer->at : NULL;
    packer->used += from->script_count * sizeof(*scripts); /* first, where it is aligned */
    for (size_t i = 0; i < from->script_count; i++)
        pack_script(packer, &from->scripts[i], scripts ? &scripts[i] : NULL);
    struct muster__stored_registration copy = *from;
    copy.storage_key = pack_text(packer, from->storage_key);
    copy.scope = pack_text(packer, from->scope);
    copy.script_url = pack_text(packer, from->script_url);
    copy.settings = pack_text(packer, from->settings);
    copy.routes = pack_text(packer, from->routes);
    copy.event_types = pack_text(packer, from->event_types);
    copy.preload = pack_text(packer, from->preload);
    copy.scripts = scripts;
    if (packer->at)
        *to = copy;
}

static void pack_sync(struct packer *packer, const struct muster__stored_sync *from, struct muster__stored_sync *to)
{
    struct muster__stored_sync copy = *from;
    copy.storage_key = pack_text(packer, from->storage_key);
    copy.scope = pack_text(packer, from->scope);
    copy.tag = pack_text(packer, from->tag);
    if (packer->at)
        *to = copy;
}

static void pack_change(struct packer *packer, const struct muster__stored_registration *registration,
                        const struct muster__stored_sync *sync, struct muster__store_change *to)
{
    if (registration)
        pack_registration(packer, registration, &to->registration);
    else
        pack_sync(packer, sync, &to->sync);
}

struct muster__store_change *muster__store_change_new(enum muster__store_change_kind kind,
                                                      const struct muster__stored_registration *registration,
                                                      const struct muster__stored_sync *sync)
{
    struct packer packer = {0};
    struct muster__store_change measured, *change;
    pack_change(&packer, registration, sync, &measured);
    change = calloc(1, sizeof(*change) + packer.used);
    if (!change)
        return NULL;
    packer = (struct packer){.at = (char *)(change + 1)};
    pack_change(&packer, registration, sync, change);
    change->kind = kind;
    return change;
}
