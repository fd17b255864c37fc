/* coordinator/registrations_quota.c - how many registrations a storage key may have, and how much of scripts. */
#include "coordinator/registrations_internal.h"

#include "coordinator/script_map.h"
#include "coordinator/stub.h"

#include <string.h>

#define REGISTRATIONS_DEFAULT 1000u

struct tally {
    struct muster *muster;
    const char *storage_key, *scope; /* of this one it may have another version */
    size_t registrations, bytes;
};

static bool counts(const struct tally *tally, const char *scope)
{
    return *scope != '/' && strcmp(scope, tally->scope) != 0 &&
           muster__registrations_is_of_key(scope, tally->storage_key);
}

static void tally_stub(struct muster__stub *stub, void *user_data)
{
    struct tally *tally = user_data;
    if (!counts(tally, muster__stub_scope(stub)))
        return;
    tally->registrations++;
    tally->bytes += muster__stub_script_bytes(stub);
}

static void tally_one(const struct muster__core_scope_view *view, void *user_data)
{
    struct tally *tally = user_data;
    const uint32_t versions[] = {view->installing, view->waiting, view->active};
    if (view->plain || !counts(tally, view->scope))
        return;
    tally->registrations++;
    for (size_t i = 0; i < sizeof(versions) / sizeof(*versions); i++) {
        const struct muster__version *version = muster__coordinator_version(tally->muster, versions[i]);
        tally->bytes += version ? version->stored_bytes : 0;
    }
}

/* Those of jobs that have not begun, too. */
static struct tally tally_of(struct muster *muster, const char *storage_key, const char *scope)
{
    struct tally tally = {.muster = muster, .storage_key = storage_key, .scope = scope};
    muster__stubs_each(muster, tally_stub, &tally);
    muster__core_each_registration(muster->core, tally_one, &tally);
    for (struct muster__id_node *at = muster__id_map_next(&own(muster)->jobs, NULL); at;
         at = muster__id_map_next(&own(muster)->jobs, at)) {
        const struct muster__script_job *job = job_of(at);
        struct muster__core_scope_view view;
        if (job->draft && strcmp(job->draft->scope, scope) != 0 &&
            muster__registrations_is_of_key(job->draft->scope, storage_key) &&
            !muster__core_scope_view(muster->core, job->draft->scope, &view))
            tally.registrations++;
    }
    return tally;
}

/* False: the ask was answered. */
bool muster__registrations_may_register(struct muster__ask *ask, const struct muster__version *draft)
{
    struct muster *muster = ask->context->muster;
    size_t limit = muster->options.registration_limit ? muster->options.registration_limit : REGISTRATIONS_DEFAULT;
    if (tally_of(muster, draft->storage_key, draft->scope).registrations < limit)
        return true;
    muster__ask_fail(ask, "QuotaExceededError", "%s has %zu registrations already, and may have no more",
                     draft->storage_key, limit);
    return false;
}

static void add_bytes(const struct muster__mapped_script *script, void *user_data)
{
    *(size_t *)user_data += script->script->length;
}

void muster__registrations_count_bytes(struct muster__version *version)
{
    version->stored_bytes = 0;
    if (version->keeps_scripts)
        muster__script_map_each(version->map, add_bytes, &version->stored_bytes);
}

/* REFUSED: what came is more than its storage key may keep. */
enum muster_status muster__registrations_check_stored(struct muster *muster, struct muster__version *draft,
                                                      struct muster_error *error)
{
    size_t limit = muster->options.stored_limit;
    muster__registrations_count_bytes(draft);
    if (!limit || !draft->keeps_scripts ||
        tally_of(muster, draft->storage_key, draft->scope).bytes + draft->stored_bytes <= limit)
        return MUSTER_OK;
    muster_error_set(error, MUSTER_REFUSED, "the scripts of %s would take more than the %zu bytes that it may keep",
                     draft->storage_key, limit);
    error->name = muster__strdup("QuotaExceededError");
    return MUSTER_REFUSED;
}
