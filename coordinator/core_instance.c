/* coordinator/core_instance.c - the life of one instance of a worker: a table that decides, and what is
 * done in each of its cells.  Thread: the driver's.
 *
 * Promises: phases go forward only (but for a second placement); each phase that waits has a deadline; an
 * instance stops being its version's current one, and leaves its slot, the moment it begins to die.  So
 * every PLACE is followed by one VACATE or one RETIRED, and then by one FORGET. */
#include "coordinator/core_internal.h"

#define TO(phase, what)                                                                            \
    {                                                                                              \
        MUSTER__GO, MUSTER__PHASE_##phase, MUSTER__ACT_##what                                      \
    }
#define STAY                                                                                       \
    {                                                                                              \
        .verdict = MUSTER__STAY                                                                    \
    }
#define IN(input) [MUSTER__INPUT_##input]

/* A script that was never seen to start is given up after so many processes; with a count of crashes, sooner. */
#define LOSSES_MOST 8

/* What a live instance ignores: it comes twice, or crossed something on its way. */
#define LATE_ANSWERS_ABOUT_THE_START                                                               \
    IN(PLACED) = STAY, IN(REFUSED) = STAY, IN(HOST_REFUSED) = STAY, IN(HOSTS_EXHAUSTED) = STAY,    \
    IN(READY_NEW) = STAY, IN(READY_INSTALLED) = STAY, IN(READY) = STAY, IN(READY_OPEN) = STAY,     \
    IN(NOT_READY) = STAY
#define LATE_ANSWERS_ABOUT_INSTALL IN(INSTALLED) = STAY, IN(NOT_INSTALLED) = STAY
#define LATE_ANSWERS_ABOUT_IDLENESS IN(SAMPLED) = STAY, IN(RETIRED) = STAY, IN(BUSY) = STAY

/* A dying one: whatever it still says, it is dying; a host that refuses it now says that it is gone. */
#define DYING                                                                                      \
    IN(PLACED) = STAY, IN(REFUSED) = STAY, IN(HOST_REFUSED) = TO(GONE, FORGET),                    \
    IN(HOSTS_EXHAUSTED) = TO(GONE, FORGET), IN(READY_NEW) = STAY, IN(READY_INSTALLED) = STAY,      \
    IN(READY) = STAY, IN(READY_OPEN) = STAY, IN(NOT_READY) = STAY, LATE_ANSWERS_ABOUT_INSTALL,     \
    IN(ACTIVATE_ENDED) = STAY, LATE_ANSWERS_ABOUT_IDLENESS, IN(CLOSE_SELF) = STAY,                 \
    IN(GONE) = TO(GONE, FORGET), IN(END) = STAY, IN(FORCE) = STAY, IN(DRAIN) = STAY

/* The whole life.  A cell left out is MUSTER__IS_BUG: only the core itself sends that input, and not
 * then. */
static const struct muster__phase_step table[MUSTER__PHASE_COUNT][MUSTER__INPUT_COUNT] = {
    [MUSTER__PHASE_PLACING] = {
        IN(PLACED) = TO(STARTING, START),
        IN(REFUSED) = TO(GONE, REFUSE),
        IN(HOST_REFUSED) = STAY, /* twice: it is being placed again */
        IN(HOSTS_EXHAUSTED) = STAY,
        IN(READY_NEW) = STAY, IN(READY_INSTALLED) = STAY, IN(READY) = STAY, IN(READY_OPEN) = STAY,
        IN(NOT_READY) = STAY, LATE_ANSWERS_ABOUT_INSTALL, IN(ACTIVATE_ENDED) = STAY, LATE_ANSWERS_ABOUT_IDLENESS,
        IN(CLOSE_SELF) = STAY, IN(WEDGED) = STAY, IN(GONE) = STAY, /* nothing runs yet */
        IN(DRAIN) = STAY,
        IN(END) = TO(GONE, DROP),
        IN(FORCE) = TO(GONE, DROP),
        IN(TIMER) = TO(GONE, DROP_OVERDUE),
    },
    [MUSTER__PHASE_STARTING] = {
        IN(PLACED) = STAY, IN(REFUSED) = STAY,
        IN(HOST_REFUSED) = TO(PLACING, PLACE_AGAIN),
        IN(HOSTS_EXHAUSTED) = TO(GONE, REFUSE),
        IN(READY_NEW) = TO(INSTALLING, INSTALL),
        IN(READY_INSTALLED) = TO(INSTALLED, WAIT),
        IN(READY) = TO(RUNNING, OPEN),
        IN(READY_OPEN) = TO(RUNNING, NOTE_OPEN),
        IN(NOT_READY) = TO(STOPPING, FAIL_START),
        LATE_ANSWERS_ABOUT_INSTALL, IN(ACTIVATE_ENDED) = STAY, LATE_ANSWERS_ABOUT_IDLENESS,
        IN(CLOSE_SELF) = TO(STOPPING, STOP_EARLY),
        IN(WEDGED) = TO(ABANDONED, ABANDON_WEDGED),
        IN(GONE) = TO(GONE, DIE_EARLY),
        IN(DRAIN) = STAY, /* first it serves what waits */
        IN(END) = TO(STOPPING, STOP),
        IN(FORCE) = TO(CANCELING, FORCE),
        IN(TIMER) = TO(CANCELING, CANCEL_START),
    },
    [MUSTER__PHASE_INSTALLING] = {
        LATE_ANSWERS_ABOUT_THE_START,
        IN(INSTALLED) = TO(INSTALLED, NOTE_INSTALL),
        IN(NOT_INSTALLED) = TO(STOPPING, FAIL_INSTALL),
        IN(ACTIVATE_ENDED) = STAY, LATE_ANSWERS_ABOUT_IDLENESS,
        IN(CLOSE_SELF) = TO(STOPPING, STOP_EARLY),
        IN(WEDGED) = TO(ABANDONED, ABANDON_WEDGED),
        IN(GONE) = TO(GONE, DIE_EARLY),
        IN(DRAIN) = STAY,
        IN(END) = TO(STOPPING, STOP),
        IN(FORCE) = TO(CANCELING, FORCE),
        IN(TIMER) = TO(CANCELING, CANCEL_INSTALL),
    },
    [MUSTER__PHASE_INSTALLED] = {
        LATE_ANSWERS_ABOUT_THE_START, LATE_ANSWERS_ABOUT_INSTALL,
        IN(DUE) = TO(ACTIVATING, ACTIVATE),
        IN(ACTIVATE_ENDED) = STAY,
        IN(SAMPLED) = TO(INSTALLED, WEIGH),
        IN(RETIRED) = STAY, IN(BUSY) = STAY, /* its slot never ran */
        IN(CLOSE_SELF) = TO(STOPPING, STOP),
        IN(WEDGED) = TO(ABANDONED, ABANDON_WEDGED),
        IN(GONE) = TO(GONE, DIE),
        IN(DRAIN) = STAY,
        IN(END) = TO(STOPPING, STOP),
        IN(FORCE) = TO(CANCELING, FORCE),
        IN(TIMER) = TO(INSTALLED, SAMPLE),
    },
    [MUSTER__PHASE_ACTIVATING] = {
        LATE_ANSWERS_ABOUT_THE_START, LATE_ANSWERS_ABOUT_INSTALL,
        IN(ACTIVATE_ENDED) = TO(RUNNING, NOTE_ACTIVATE),
        LATE_ANSWERS_ABOUT_IDLENESS, /* asked while it waited */
        IN(CLOSE_SELF) = TO(STOPPING, STOP),
        IN(WEDGED) = TO(ABANDONED, ABANDON_WEDGED),
        IN(GONE) = TO(GONE, DIE),
        IN(DRAIN) = STAY,
        IN(END) = TO(STOPPING, STOP),
        IN(FORCE) = TO(CANCELING, FORCE),
        IN(TIMER) = TO(CANCELING, CANCEL_ACTIVATE),
    },
    [MUSTER__PHASE_RUNNING] = {
        LATE_ANSWERS_ABOUT_THE_START, LATE_ANSWERS_ABOUT_INSTALL, IN(ACTIVATE_ENDED) = STAY,
        IN(SAMPLED) = TO(RUNNING, WEIGH),
        IN(RETIRED) = TO(STOPPING, STOP_RETIRED),
        IN(BUSY) = TO(RUNNING, AGAIN),
        IN(CLOSE_SELF) = TO(STOPPING, STOP),
        IN(WEDGED) = TO(ABANDONED, ABANDON_WEDGED),
        IN(GONE) = TO(GONE, DIE),
        IN(DRAIN) = TO(RUNNING, SAMPLE),
        IN(END) = TO(STOPPING, STOP),
        IN(FORCE) = TO(CANCELING, FORCE),
        IN(TIMER) = TO(RUNNING, SAMPLE),
    },
    [MUSTER__PHASE_STOPPING] = {
        DYING,
        IN(WEDGED) = TO(ABANDONED, ABANDON),
        IN(TIMER) = TO(CANCELING, CANCEL),
    },
    [MUSTER__PHASE_CANCELING] = {
        DYING,
        IN(WEDGED) = TO(ABANDONED, ABANDON),
        IN(TIMER) = TO(ABANDONED, ABANDON),
    },
    [MUSTER__PHASE_ABANDONED] = { /* GONE may still come, or never */
        DYING,
        IN(WEDGED) = STAY,
    },
    /* GONE: the record is away, and nothing finds it. */
};

struct muster__phase_step muster__phase_step(enum muster__phase phase, enum muster__input input)
{
    MUSTER_CHECK((size_t)phase < MUSTER__PHASE_COUNT);
    MUSTER_CHECK((size_t)input < MUSTER__INPUT_COUNT);
#if MUSTER_PLANT_FAULT == 4
    if (phase == MUSTER__PHASE_STOPPING && input == MUSTER__INPUT_READY) {
        phase = MUSTER__PHASE_STARTING;
    }
#endif
    return table[phase][input];
}

const char *muster__phase_name(enum muster__phase phase)
{
    static const char *const names[] = {
#define MUSTER__CORE_SYMBOL(name, word) word,
        MUSTER__PHASE_LIST(MUSTER__CORE_SYMBOL)
#undef MUSTER__CORE_SYMBOL
    };
    MUSTER_CHECK((size_t)phase < MUSTER__PHASE_COUNT);
    return names[phase];
}

/* ---- what an act needs to know ---- */

struct cause {
    enum muster__stop_reason reason;
    enum muster_status status;
};

/* How often to look at what is held, at most, and an eighth of the grace time. */
#define HELD_INTERVAL_US 100000
#define DRAIN_INTERVAL_US 20000

typedef void act_fn(struct muster__core *core, struct muster__core_instance *instance,
                    const struct cause *cause);

static uint64_t at_least_a_millisecond(uint64_t us)
{
    return us > 1000 ? us : 1000;
}

static uint64_t interval(uint64_t grace_us, uint64_t most_us)
{
    return at_least_a_millisecond(grace_us / 8 < most_us ? grace_us / 8 : most_us);
}

uint64_t muster__core_instance_drain_interval(const struct muster__core *core)
{
    return interval(core->options.grace_us, DRAIN_INTERVAL_US);
}

static bool is_draining(const struct muster__core_instance *instance)
{
    return instance->version->role == MUSTER__ROLE_REDUNDANT;
}

static uint64_t idle_us(const struct muster__core *core, const struct muster__core_instance *instance)
{
    return instance->version->idle_us != 0 ? instance->version->idle_us : core->options.idle_us;
}

static void set_timer(struct muster__core *core, struct muster__core_instance *instance,
                      uint64_t delay_us)
{
    muster__core_timer_set(core, &instance->timer, muster__core_timer_after(core, delay_us));
}

static void tell(struct muster__core *core, const struct muster__core_instance *instance,
                 enum muster__core_action_kind kind)
{
    muster__core_emit(core, (struct muster__core_action){ .kind = kind,
                                                          .instance = instance->id,
                                                          .version = instance->version->id,
                                                          .host = instance->host,
                                                          .reason = instance->reason });
}

/* No longer the current one; the slot is told unless it is vacant already. */
static void resign(struct muster__core *core, struct muster__core_instance *instance)
{
    if (instance->version->current == instance) {
        instance->version->current = NULL;
        muster__core_version_vacant(core, instance->version);
    }
}

static void vacate(struct muster__core *core, struct muster__core_instance *instance,
                   enum muster__stop_reason reason)
{
    instance->reason = reason;
    tell(core, instance, MUSTER__DO_VACATE);
    resign(core, instance);
}

/* The STOP job, if one waits for it, need not any more. */
static void excuse(struct muster__core_instance *instance, enum muster_status status)
{
    struct muster__core_scope *scope = instance->version->scope;
    if (instance->awaited) {
        instance->awaited = false;
        scope->awaited--;
        scope->stop_status = status != MUSTER_OK ? status : scope->stop_status;
    }
}

static void unlink_instance(struct muster__core_instance *instance)
{
    if (instance->previous != NULL) {
        instance->previous->next = instance->next;
    } else {
        instance->version->instances = instance->next;
    }
    if (instance->next != NULL) {
        instance->next->previous = instance->previous;
    }
    instance->version->count--;
}

static void forget(struct muster__core *core, struct muster__core_instance *instance,
                   const struct cause *cause)
{
    (void)cause;
    tell(core, instance, MUSTER__DO_FORGET);
    excuse(instance, MUSTER_OK);
    muster__core_timer_clear(core, &instance->timer);
    muster__core_map_remove(&core->instances, instance->id);
    unlink_instance(instance);
    instance->next = core->spares;
    core->spares = instance;
    core->spare_count++;
}

/* ---- acts ---- */

/* The deadline runs since the first PLACE.  A version that was activated before needs nothing of the
 * coordinator between its script and its requests; should the instance be ended in the meantime, VACATE
 * takes it off its slot, whether that was opened or not. */
static void act_start(struct muster__core *core, struct muster__core_instance *instance,
                      const struct cause *cause)
{
    (void)cause;
    muster__core_emit(core, (struct muster__core_action){
                                .kind = MUSTER__DO_START,
                                .instance = instance->id,
                                .version = instance->version->id,
                                .host = instance->host,
                                .may_open = instance->version->state == MUSTER__VERSION_ACTIVATED });
}

static void act_refuse(struct muster__core *core, struct muster__core_instance *instance,
                       const struct cause *cause)
{
    muster__core_version_fail(core, instance->version, cause->status);
    vacate(core, instance, MUSTER__STOP_START_FAILED);
    forget(core, instance, cause);
}

static void act_place_again(struct muster__core *core, struct muster__core_instance *instance,
                            const struct cause *cause)
{
    (void)cause;
    instance->attempts++;
    instance->host = 0;
    tell(core, instance, MUSTER__DO_PLACE);
}

static void act_install(struct muster__core *core, struct muster__core_instance *instance,
                        const struct cause *cause)
{
    (void)cause;
    set_timer(core, instance, core->options.lifecycle_us);
    muster__core_version_installing(core, instance->version);
    tell(core, instance, MUSTER__DO_INSTALL);
}

static void act_wait(struct muster__core *core, struct muster__core_instance *instance,
                     const struct cause *cause)
{
    (void)cause; /* the scope's advance activates it if it may */
    instance->asked = MUSTER__ASKED_NOTHING;
    if (instance->version->plain) { /* its holders say when it ends */
        instance->alive_until_us = UINT64_MAX;
        muster__core_timer_clear(core, &instance->timer);
        return;
    }
    instance->alive_until_us = muster__core_timer_after(core, idle_us(core, instance));
    muster__core_timer_set(core, &instance->timer, instance->alive_until_us);
}

static void act_note_install(struct muster__core *core, struct muster__core_instance *instance,
                             const struct cause *cause)
{
    instance->version->losses = 0;
    muster__core_version_installed(core, instance->version);
    act_wait(core, instance, cause);
}

static void act_activate(struct muster__core *core, struct muster__core_instance *instance,
                         const struct cause *cause)
{
    (void)cause;
    instance->version->state = MUSTER__VERSION_ACTIVATING;
    instance->version->activation_due = false;
    set_timer(core, instance, core->options.lifecycle_us);
    tell(core, instance, MUSTER__DO_ACTIVATE);
}

static void act_sample(struct muster__core *core, struct muster__core_instance *instance,
                       const struct cause *cause)
{
    (void)cause;
    if (instance->phase == MUSTER__PHASE_INSTALLED && instance->version->published) {
        /* Requests wait for it already; what it waits for has a bound of its own. */
        set_timer(core, instance, at_least_a_millisecond(idle_us(core, instance)));
        return;
    }
    instance->asked = MUSTER__ASKED_SAMPLE;
    tell(core, instance, MUSTER__DO_SAMPLE);
    set_timer(core, instance,
              interval(core->options.grace_us,
                       is_draining(instance) ? DRAIN_INTERVAL_US : HELD_INTERVAL_US));
}

static void act_note_open(struct muster__core *core, struct muster__core_instance *instance,
                          const struct cause *cause)
{
    instance->version->losses = 0;
    instance->version->opened = true;
#if MUSTER_PLANT_FAULT == 7
    tell(core, instance, MUSTER__DO_OPEN);
#endif
    act_wait(core, instance, cause);
    if (is_draining(instance)) {
        act_sample(core, instance, cause);
    }
}

static void act_open(struct muster__core *core, struct muster__core_instance *instance,
                     const struct cause *cause)
{
    instance->version->losses = 0;
    tell(core, instance, MUSTER__DO_OPEN);
    act_note_open(core, instance, cause);
}

static void act_note_activate(struct muster__core *core, struct muster__core_instance *instance,
                              const struct cause *cause)
{
    muster__core_version_activated(core, instance->version);
    act_open(core, instance, cause);
}

static void act_stop(struct muster__core *core, struct muster__core_instance *instance,
                     const struct cause *cause)
{
    vacate(core, instance, cause->reason);
    set_timer(core, instance, core->options.stop_us);
    tell(core, instance, MUSTER__DO_STOP);
}

static void act_force(struct muster__core *core, struct muster__core_instance *instance,
                      const struct cause *cause)
{
    act_stop(core, instance, cause);
    set_timer(core, instance, core->options.cancel_us);
    tell(core, instance, MUSTER__DO_CANCEL);
}

static void act_drop(struct muster__core *core, struct muster__core_instance *instance,
                     const struct cause *cause)
{
    vacate(core, instance, cause->reason);
    forget(core, instance, cause);
}

static void act_drop_overdue(struct muster__core *core, struct muster__core_instance *instance,
                             const struct cause *cause)
{
    muster__core_version_fail(core, instance->version, MUSTER_START_TIMED_OUT);
    vacate(core, instance, MUSTER__STOP_START_OVERDUE);
    forget(core, instance, cause);
}

/* It had its time: straight to the interrupt. */
static void cancel_overdue(struct muster__core *core, struct muster__core_instance *instance,
                           enum muster__stop_reason reason)
{
    vacate(core, instance, reason);
    set_timer(core, instance, core->options.cancel_us);
    tell(core, instance, MUSTER__DO_CANCEL);
}

static void act_cancel_start(struct muster__core *core, struct muster__core_instance *instance,
                             const struct cause *cause)
{
    (void)cause;
    muster__core_version_fail(core, instance->version, MUSTER_START_TIMED_OUT);
    cancel_overdue(core, instance, MUSTER__STOP_START_OVERDUE);
}

static void act_cancel_install(struct muster__core *core, struct muster__core_instance *instance,
                               const struct cause *cause)
{
    (void)cause;
    muster__core_version_fail(core, instance->version, MUSTER_TIMED_OUT);
    cancel_overdue(core, instance, MUSTER__STOP_LIFECYCLE_OVERDUE);
}

static void act_cancel_activate(struct muster__core *core, struct muster__core_instance *instance,
                                const struct cause *cause)
{
    (void)cause; /* a failed activate is ignored: the next instance serves what waits */
    cancel_overdue(core, instance, MUSTER__STOP_LIFECYCLE_OVERDUE);
}

static void act_fail_start(struct muster__core *core, struct muster__core_instance *instance,
                           const struct cause *cause)
{
    struct cause failed = { MUSTER__STOP_START_FAILED, cause->status };
    muster__core_version_fail(core, instance->version, cause->status);
    act_stop(core, instance, &failed);
}

static void act_fail_install(struct muster__core *core, struct muster__core_instance *instance,
                             const struct cause *cause)
{
    struct cause failed = { MUSTER__STOP_INSTALL_FAILED, cause->status };
    muster__core_version_fail(core, instance->version, cause->status);
    act_stop(core, instance, &failed);
}

static void act_stop_early(struct muster__core *core, struct muster__core_instance *instance,
                           const struct cause *cause)
{
    muster__core_version_fail(core, instance->version, MUSTER_TERMINATED);
    act_stop(core, instance, cause);
}

static void act_stop_retired(struct muster__core *core, struct muster__core_instance *instance,
                             const struct cause *cause)
{
    (void)cause;
    instance->reason = is_draining(instance) ? instance->version->reason : MUSTER__STOP_IDLE;
#if MUSTER_PLANT_FAULT != 1
    resign(core, instance);
#endif
    set_timer(core, instance, core->options.stop_us);
#if MUSTER_PLANT_FAULT != 2
    tell(core, instance, MUSTER__DO_STOP);
#endif
    if (instance->wanted) {
        muster__core_version_want(core, instance->version);
    }
}

static void act_cancel(struct muster__core *core, struct muster__core_instance *instance,
                       const struct cause *cause)
{
    (void)cause;
    set_timer(core, instance, core->options.cancel_us);
    tell(core, instance, MUSTER__DO_CANCEL);
}

static void act_abandon(struct muster__core *core, struct muster__core_instance *instance,
                        const struct cause *cause)
{
    (void)cause;
    instance->version->abandoned++;
    core->live--;
    muster__core_timer_clear(core, &instance->timer);
    tell(core, instance, MUSTER__DO_ABANDON);
    excuse(instance, MUSTER_WEDGED);
}

static void act_abandon_wedged(struct muster__core *core, struct muster__core_instance *instance,
                               const struct cause *cause)
{
    vacate(core, instance, MUSTER__STOP_WEDGED);
    act_abandon(core, instance, cause);
    muster__core_version_fail(core, instance->version, MUSTER_WEDGED);
}

/* What waits has not begun: it waits for the next one.  VACATE asks for that where requests wait; a job's and an
 * activation's is asked for here. */
static void lose(struct muster__core *core, struct muster__core_instance *instance, const struct cause *cause)
{
    struct muster__core_version *version = instance->version;
    bool due = version->state != MUSTER__VERSION_ACTIVATED || version->activation_due;
    version->losses++;
    vacate(core, instance, MUSTER__STOP_DIED);
    forget(core, instance, cause);
    if (due && version->current == NULL)
        muster__core_version_want(core, version);
}

static bool is_lost_with_its_host(const struct muster__core *core, const struct muster__core_version *version,
                                  enum muster_status status)
{
    return (status == MUSTER_CRASHED || status == MUSTER_RETRY) && version->losses < LOSSES_MOST &&
           !core->closing && !version->closing && !version->plain;
}

static void act_die_early(struct muster__core *core, struct muster__core_instance *instance,
                          const struct cause *cause)
{
    if (is_lost_with_its_host(core, instance->version, cause->status)) {
        lose(core, instance, cause);
        return;
    }
    muster__core_version_fail(core, instance->version,
                              cause->status != MUSTER_OK ? cause->status : MUSTER_TERMINATED);
    vacate(core, instance, MUSTER__STOP_DIED);
    forget(core, instance, cause);
}

static void act_die(struct muster__core *core, struct muster__core_instance *instance,
                    const struct cause *cause)
{
    vacate(core, instance, MUSTER__STOP_DIED);
    forget(core, instance, cause);
}

/* ---- idle, in two stages; and drain ---- */

static void again(struct muster__core *core, struct muster__core_instance *instance,
                  const struct cause *cause)
{
    (void)cause;
    instance->asked = MUSTER__ASKED_NOTHING;
    set_timer(core, instance, 1000);
}

static void retire(struct muster__core *core, struct muster__core_instance *instance)
{
    if (instance->phase == MUSTER__PHASE_INSTALLED) {
        /* Its slot never ran, so nothing can be in flight to it. */
        muster__core_instance_feed(core, instance, MUSTER__INPUT_END, MUSTER__STOP_IDLE, MUSTER_OK);
        return;
    }
    instance->asked = MUSTER__ASKED_RETIRE;
    instance->retiring = true;
    tell(core, instance, MUSTER__DO_TRY_RETIRE);
    set_timer(core, instance, 1000);
}

/* Something holds it past its idle time: looks again, until the grace time is over. */
static void weigh_held(struct muster__core *core, struct muster__core_instance *instance,
                       uint64_t most_us)
{
    uint64_t grace_us = core->options.grace_us;
    uint64_t deadline_us = grace_us > UINT64_MAX - instance->alive_until_us
                               ? UINT64_MAX
                               : instance->alive_until_us + grace_us;
    if (core->now_us >= deadline_us) {
        muster__core_instance_feed(core, instance, MUSTER__INPUT_FORCE, MUSTER__STOP_GRACE, MUSTER_OK);
        return;
    }
    uint64_t next_us = muster__core_timer_after(core, interval(grace_us, most_us));
    muster__core_timer_set(core, &instance->timer, next_us < deadline_us ? next_us : deadline_us);
}

static void act_weigh(struct muster__core *core, struct muster__core_instance *instance,
                      const struct cause *cause)
{
    (void)cause;
    instance->asked = MUSTER__ASKED_NOTHING;
    if (is_draining(instance)) {
        /* A drain that began in the grace time does not make that longer. */
        if (instance->holds == 0) {
            retire(core, instance);
        } else {
            weigh_held(core, instance, DRAIN_INTERVAL_US);
        }
    } else if (instance->alive_until_us > core->now_us) {
#if MUSTER_PLANT_FAULT == 3
        muster__core_timer_clear(core, &instance->timer);
        return;
#endif
        muster__core_timer_set(core, &instance->timer, instance->alive_until_us);
    } else if (instance->holds == 0) {
        retire(core, instance);
    } else {
        weigh_held(core, instance, HELD_INTERVAL_US);
    }
}

/* ---- the one way in ---- */

static act_fn *const acts[MUSTER__ACT_COUNT] = {
    [MUSTER__ACT_START] = act_start,
    [MUSTER__ACT_REFUSE] = act_refuse,
    [MUSTER__ACT_PLACE_AGAIN] = act_place_again,
    [MUSTER__ACT_INSTALL] = act_install,
    [MUSTER__ACT_WAIT] = act_wait,
    [MUSTER__ACT_OPEN] = act_open,
    [MUSTER__ACT_NOTE_OPEN] = act_note_open,
    [MUSTER__ACT_FAIL_START] = act_fail_start,
    [MUSTER__ACT_NOTE_INSTALL] = act_note_install,
    [MUSTER__ACT_FAIL_INSTALL] = act_fail_install,
    [MUSTER__ACT_ACTIVATE] = act_activate,
    [MUSTER__ACT_NOTE_ACTIVATE] = act_note_activate,
    [MUSTER__ACT_SAMPLE] = act_sample,
    [MUSTER__ACT_WEIGH] = act_weigh,
    [MUSTER__ACT_AGAIN] = again,
    [MUSTER__ACT_STOP_RETIRED] = act_stop_retired,
    [MUSTER__ACT_STOP_EARLY] = act_stop_early,
    [MUSTER__ACT_STOP] = act_stop,
    [MUSTER__ACT_DROP] = act_drop,
    [MUSTER__ACT_FORCE] = act_force,
    [MUSTER__ACT_DROP_OVERDUE] = act_drop_overdue,
    [MUSTER__ACT_CANCEL_START] = act_cancel_start,
    [MUSTER__ACT_CANCEL_INSTALL] = act_cancel_install,
    [MUSTER__ACT_CANCEL_ACTIVATE] = act_cancel_activate,
    [MUSTER__ACT_CANCEL] = act_cancel,
    [MUSTER__ACT_ABANDON] = act_abandon,
    [MUSTER__ACT_ABANDON_WEDGED] = act_abandon_wedged,
    [MUSTER__ACT_DIE_EARLY] = act_die_early,
    [MUSTER__ACT_DIE] = act_die,
    [MUSTER__ACT_FORGET] = forget,
};

/* The only place that writes the phase, and keeps the counts that follow from it. */
static void enter(struct muster__core *core, struct muster__core_instance *instance,
                  enum muster__phase phase)
{
    if (phase == MUSTER__PHASE_GONE) {
        if (instance->phase == MUSTER__PHASE_ABANDONED) {
            instance->version->abandoned--;
        } else {
            core->live--;
        }
    }
    instance->phase = phase;
}

void muster__core_instance_feed(struct muster__core *core, struct muster__core_instance *instance,
                                enum muster__input input, enum muster__stop_reason reason,
                                enum muster_status status)
{
    struct muster__phase_step step = muster__phase_step(instance->phase, input);
    MUSTER_CHECK(step.verdict != MUSTER__IS_BUG);
    if (step.verdict == MUSTER__GO) {
        struct cause cause = { reason, status };
        enter(core, instance, step.next);
        acts[step.act](core, instance, &cause);
    }
}

void muster__core_instance_launch(struct muster__core *core, struct muster__core_version *version)
{
#if MUSTER_PLANT_FAULT != 5
    MUSTER_CHECK(version->current == NULL && version->abandoned == 0);
#endif
    struct muster__core_instance *instance = core->spares;
    MUSTER_CHECK(instance != NULL);
    core->spares = instance->next;
    core->spare_count--;
    *instance = (struct muster__core_instance){ .id = ++core->last_instance,
                                                .version = version,
                                                .phase = MUSTER__PHASE_PLACING,
                                                .attempts = 1,
                                                .next = version->instances };
    if (version->instances != NULL) {
        version->instances->previous = instance;
    }
    version->instances = instance;
    version->current = instance;
    version->count++;
    core->live++;
    muster__core_map_put(&core->instances, instance->id, instance);
    set_timer(core, instance, core->options.start_us);
    tell(core, instance, MUSTER__DO_PLACE);
}

/* ---- the driver's events, translated ---- */

static enum muster__input started(const struct muster__core_instance *instance,
                                  const struct muster__core_event *event)
{
    if (event->status != MUSTER_OK) {
        return MUSTER__INPUT_NOT_READY;
    }
    switch (instance->version->state) {
    case MUSTER__VERSION_PARSED:
    case MUSTER__VERSION_INSTALLING: /* twice */
        return MUSTER__INPUT_READY_NEW;
    case MUSTER__VERSION_INSTALLED:
    case MUSTER__VERSION_ACTIVATING: /* twice */
        return MUSTER__INPUT_READY_INSTALLED;
    default:
        return event->ok ? MUSTER__INPUT_READY_OPEN : MUSTER__INPUT_READY;
    }
}

static void event_sampled(struct muster__core *core, struct muster__core_instance *instance,
                          const struct muster__core_event *event)
{
    if (instance->asked != MUSTER__ASKED_SAMPLE) {
        return;
    }
    instance->holds = event->holds;
    if (event->alive_until_us > instance->alive_until_us) {
        instance->alive_until_us = event->alive_until_us; /* deadlines only move on */
    }
    muster__core_instance_feed(core, instance, MUSTER__INPUT_SAMPLED, MUSTER__STOP_NONE, MUSTER_OK);
}

static void event_retired(struct muster__core *core, struct muster__core_instance *instance, bool ok)
{
    if (!ok && instance->asked != MUSTER__ASKED_RETIRE) {
        return;
    }
    muster__core_instance_feed(core, instance, ok ? MUSTER__INPUT_RETIRED : MUSTER__INPUT_BUSY,
                               MUSTER__STOP_NONE, MUSTER_OK);
}

static void event_placed(struct muster__core *core, struct muster__core_instance *instance,
                         const struct muster__core_event *event)
{
    if (event->status == MUSTER_OK && instance->phase == MUSTER__PHASE_PLACING) {
        instance->host = event->host;
    }
    muster__core_instance_feed(
        core, instance, event->status == MUSTER_OK ? MUSTER__INPUT_PLACED : MUSTER__INPUT_REFUSED,
        MUSTER__STOP_NONE, event->status);
}

void muster__core_instance_event(struct muster__core *core, struct muster__core_instance *instance,
                                 const struct muster__core_event *event)
{
    enum muster__input input;
    enum muster__stop_reason reason = MUSTER__STOP_NONE;
    enum muster_status status = event->status;

    switch (event->kind) {
    case MUSTER__CORE_PLACED:
        event_placed(core, instance, event);
        return;
    case MUSTER__CORE_SAMPLED:
        event_sampled(core, instance, event);
        return;
    case MUSTER__CORE_RETIRED:
        event_retired(core, instance, event->ok);
        return;
    case MUSTER__CORE_SKIP_WAITING:
        if (instance->version->current == instance) {
            instance->version->skip_waiting = true; /* SW-SKIP-1: also while it installs */
        }
        return;
    case MUSTER__CORE_HOST_REFUSED:
        if (event->host != 0 && event->host != instance->host) {
            return; /* an earlier one, twice */
        }
        input = instance->attempts < core->options.place_attempts ? MUSTER__INPUT_HOST_REFUSED
                                                                   : MUSTER__INPUT_HOSTS_EXHAUSTED;
        status = MUSTER_REFUSED;
        break;
    case MUSTER__CORE_STARTED:
        input = started(instance, event);
        break;
    case MUSTER__CORE_INSTALL_ENDED:
        input = event->status == MUSTER_OK ? MUSTER__INPUT_INSTALLED : MUSTER__INPUT_NOT_INSTALLED;
        break;
    case MUSTER__CORE_ACTIVATE_ENDED:
        input = MUSTER__INPUT_ACTIVATE_ENDED;
        break;
    case MUSTER__CORE_CLOSE_SELF:
        input = MUSTER__INPUT_CLOSE_SELF;
        reason = MUSTER__STOP_CLOSED_SELF;
        break;
    case MUSTER__CORE_WEDGED:
        input = MUSTER__INPUT_WEDGED;
        break;
    case MUSTER__CORE_MOVE:
        if (instance->phase != MUSTER__PHASE_RUNNING || instance->version->plain) {
            return; /* asked again when it runs; a plain one has nobody to come after it */
        }
        input = MUSTER__INPUT_CLOSE_SELF;
        reason = MUSTER__STOP_MOVED;
        break;
    default:
        MUSTER_CHECK(event->kind == MUSTER__CORE_GONE);
        input = MUSTER__INPUT_GONE;
        break;
    }
    muster__core_instance_feed(core, instance, input, reason, status);
}
