/* coordinator/registrations_update.c - soft updates: looks for a newer script without a hurry. */
#include "coordinator/registrations_internal.h"

/* After the page was opened that gives the occasion: what it loads comes first. */
#define SOFT_UPDATE_DELAY_US 1000000u

void muster__registrations_soft_update(struct muster *muster, const struct muster__version *version)
{
    struct muster__registrations *registrations = own(muster);
    struct muster__core_scope_view view;
    if (!version->keeps_scripts || atomic_load(&muster->closing) ||
        !muster__core_version_view(muster->core, version->id, &view) || !view.registered)
        return;
    struct muster__registration_record *record = muster__registrations_see_record(muster, &view);
    if (!record || record->soft_update_us)
        return;
    record->soft_update_us = muster__now_us() + SOFT_UPDATE_DELAY_US;
    if (record->soft_update_us < registrations->soft_update_us)
        registrations->soft_update_us = record->soft_update_us;
}

void muster__registrations_check_stale(struct muster *muster, const struct muster__version *version)
{
    if (version->keeps_scripts && muster__core_is_stale(muster->core, version->scope, muster__wall_us()))
        muster__registrations_soft_update(muster, version);
}

uint64_t muster__registrations_deadline(const struct muster *muster)
{
    return own(muster)->soft_update_us;
}

static struct muster__registration_record *next_due(struct muster *muster, uint64_t now_us)
{
    const struct muster__id_map *records = &own(muster)->records;
    struct muster__registration_record *record = record_of(muster__id_map_next(records, NULL));
    while (record && !(record->soft_update_us && record->soft_update_us <= now_us))
        record = record_of(muster__id_map_next(records, &record->node));
    return record;
}

static void find_soft_deadline(struct muster__registrations *registrations)
{
    registrations->soft_update_us = UINT64_MAX;
    for (struct muster__id_node *at = muster__id_map_next(&registrations->records, NULL); at;
         at = muster__id_map_next(&registrations->records, at)) {
        const struct muster__registration_record *record = record_of(at);
        if (record->soft_update_us && record->soft_update_us < registrations->soft_update_us)
            registrations->soft_update_us = record->soft_update_us;
    }
}

void muster__registrations_tick(struct muster *muster, uint64_t now_us)
{
    struct muster__registrations *registrations = own(muster);
    struct muster__registration_record *record;
    if (now_us < registrations->soft_update_us)
        return;
    while (!atomic_load(&muster->closing) && (record = next_due(muster, now_us))) {
        record->soft_update_us = 0;
        muster__coordinator_feed(muster, &(struct muster__core_event){.kind = MUSTER__CORE_UPDATE,
                                                                      .job = muster__coordinator_own_job(muster),
                                                                      .scope = record->scope,
                                                                      .early = true});
    }
    find_soft_deadline(registrations);
}
