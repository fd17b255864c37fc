/* runtime/engine_lua.c - Lua 5.4 behind the engine table: VM, realm, entries and limits.
 *
 * One lua_State is a VM; a realm is an environment table in it.  Everything runs on the worker's thread
 * of the moment; only vm_interrupt comes from others, and sets one atomic flag.
 *
 * Limits.  A hook looks every thousand VM instructions at that flag and now and then at the thread's CPU
 * clock; the allocator keeps count of the bytes.  Whoever finds a limit passed writes `cut`, once and for
 * good.  From then on the hook raises at every instruction, and what catches errors (pcall, resume, close)
 * raises again, so no script outlives its limit by catching.  Nothing of the script runs after a cut.
 * What the hook cannot stop is a long loop inside one C function of Lua's libraries: a pattern that
 * backtracks without end, or table.move and table.concat over a table whose metamethods are C functions.
 */
#include "runtime/engine_lua_internal.h"

#include <stdlib.h>
#include <string.h>

#define HOOK_INSTRUCTIONS 1000
#define TICKS_PER_LOOK 8 /* hook calls for one look at the CPU clock, which is a system call */
/* Lua frees what has a finalizer one cycle later, and meanwhile counts it as in use: with the default of 200
 * a script that drops host objects all the time would start each cycle later than the last. */
#define GC_PAUSE_PERCENT 150
#define CUT_SLACK ((size_t)128 * 1024) /* so that unwinding can allocate */

/* ---- memory ---- */

static bool over_limit(const struct muster__vm *vm, size_t more)
{
    if (vm->memory_limit == 0)
        return false;
    size_t limit = vm->memory_limit + (vm->cut != MUSTER_OK ? CUT_SLACK : 0);
    return vm->memory > limit || more > limit - vm->memory;
}

/* Lua collects everything after a first refusal and asks again; a second one in a row is final. */
static void *refuse(struct muster__vm *vm)
{
    if (++vm->refusals >= 2 && vm->cut == MUSTER_OK)
        vm->cut = MUSTER_MEMORY_LIMIT;
    return NULL;
}

static void *allocate(void *user_data, void *pointer, size_t old_size, size_t new_size)
{
    struct muster__vm *vm = user_data;
    if (pointer == NULL)
        old_size = 0; /* then it tells the kind of object */
    if (new_size == 0) {
        free(pointer);
        vm->memory -= old_size;
        return NULL;
    }
    if (new_size > old_size && over_limit(vm, new_size - old_size))
        return refuse(vm);
    void *result = realloc(pointer, new_size);
    if (result == NULL && new_size > old_size)
        return refuse(vm);
    if (result == NULL)
        result = pointer; /* a block that cannot shrink stays as it is, and Lua counts it as smaller */
    vm->memory += new_size;
    vm->memory -= old_size;
    if (new_size > old_size)
        vm->refusals = 0;
    return result;
}

/* ---- time ---- */

static enum muster_status look_at_limits(struct muster__vm *vm)
{
    if (atomic_load_explicit(&vm->interrupted, memory_order_relaxed))
        return MUSTER_TERMINATED;
    if (vm->turn_limit_us == 0 || vm->ticks++ % TICKS_PER_LOOK != 0)
        return MUSTER_OK;
    uint64_t now = muster__thread_cpu_us();
    if (vm->turn_started_us == 0)
        vm->turn_started_us = now;
    return now - vm->turn_started_us > vm->turn_limit_us ? MUSTER_TURN_LIMIT : MUSTER_OK;
}

static void on_count(lua_State *L, lua_Debug *debug)
{
    (void)debug;
    struct muster__vm *vm = muster__lua_vm(L);
    if (vm->cut == MUSTER_OK)
        vm->cut = look_at_limits(vm);
    if (vm->cut == MUSTER_OK)
        return;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    lua_pushlightuserdata(L, vm); /* no string: there may be no memory */
    lua_error(L);
}

void muster__lua_check_cut(lua_State *L, int status)
{
    struct muster__vm *vm = muster__lua_vm(L);
    if (status == LUA_ERRMEM && vm->cut == MUSTER_OK)
        vm->cut = MUSTER_MEMORY_LIMIT;
    if (vm->cut == MUSTER_OK)
        return;
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
    lua_settop(L, 0);
    lua_pushlightuserdata(L, vm);
    lua_error(L);
}

/* ---- entries ---- */

struct muster__realm *muster__lua_realm(lua_State *L)
{
    return muster__lua_vm(L)->realm;
}

static void run_protected(struct muster__vm *vm, lua_CFunction body, void *data)
{
    lua_State *L = vm->state;
    lua_pushcfunction(L, body);
    lua_pushlightuserdata(L, data);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        /* Script errors end inside their task; what comes up to here is memory, or the cut itself. */
        if (vm->cut == MUSTER_OK)
            vm->cut = MUSTER_MEMORY_LIMIT;
        lua_settop(L, 0);
    }
}

static void free_garbage(struct muster__realm *realm)
{
    while (realm->garbage != NULL) {
        struct muster_host_call *call = realm->garbage;
        realm->garbage = call->next;
        muster__host_call_destroy(call);
    }
}

enum muster_status muster__lua_enter(struct muster__realm *realm, lua_CFunction body, void *data)
{
    struct muster__vm *vm = realm->vm;
    MUSTER_CHECK(vm->realm == NULL); /* turns never nest */
    if (vm->cut == MUSTER_OK && atomic_load_explicit(&vm->interrupted, memory_order_relaxed))
        vm->cut = MUSTER_TERMINATED;
    if (vm->cut != MUSTER_OK)
        return vm->cut;
    vm->realm = realm;
    vm->turn_started_us = 0;
    vm->ticks = 0;
    vm->blocked = 0;
    run_protected(vm, body, data);
    while (realm->has_lost_holds && vm->cut == MUSTER_OK)
        run_protected(vm, muster__lua_drop_lost_holds, realm);
    vm->realm = NULL;
    vm->task = NULL;
    free_garbage(realm);
    return vm->cut;
}

/* ---- VM ---- */

static int open_vm(lua_State *L)
{
    muster__lua_library_open_vm(L);
    muster__lua_open_value(L);
    muster__lua_open_error(L);
    muster__lua_open_event(L);
    muster__lua_open_hold(L);
    return 0;
}

static int on_panic(lua_State *L)
{
    (void)L;
    MUSTER_CHECK(!"an error of Lua's came up where nothing was protected");
    return 0;
}

static void vm_limit(struct muster__vm *vm, const struct muster__vm_options *options)
{
    vm->turn_limit_us = options->turn_limit_us;
    vm->memory_limit = options->memory_limit;
}

static void vm_destroy(struct muster__vm *vm)
{
    if (vm == NULL)
        return;
    if (vm->state != NULL)
        lua_close(vm->state);
    MUSTER_CHECK(vm->memory == 0);
    free(vm);
}

static enum muster_status vm_new(const struct muster__vm_options *options,
                                 struct muster__vm **ret_vm)
{
    struct muster__vm *vm = calloc(1, sizeof *vm);
    if (vm == NULL)
        return MUSTER_NO_MEMORY;
    vm_limit(vm, options);
    vm->state = lua_newstate(allocate, vm);
    if (vm->state == NULL)
        goto fail;
    lua_atpanic(vm->state, on_panic);
    lua_gc(vm->state, LUA_GCINC, GC_PAUSE_PERCENT, 0, 0);
    *(struct muster__vm **)lua_getextraspace(vm->state) = vm;
    lua_pushcfunction(vm->state, open_vm);
    if (lua_pcall(vm->state, 0, 0, 0) != LUA_OK)
        goto fail;
    /* Coroutines inherit the hook from the one that makes them. */
    lua_sethook(vm->state, on_count, LUA_MASKCOUNT, HOOK_INSTRUCTIONS);
    *ret_vm = vm;
    return MUSTER_OK;
fail:
    vm_destroy(vm);
    return MUSTER_NO_MEMORY;
}

static void vm_interrupt(struct muster__vm *vm)
{
    atomic_store_explicit(&vm->interrupted, true, memory_order_relaxed);
}

static size_t vm_memory(struct muster__vm *vm)
{
    return vm->memory;
}

static void vm_trim(struct muster__vm *vm)
{
    if (vm->cut == MUSTER_OK)
        lua_gc(vm->state, LUA_GCCOLLECT);
}

/* ---- realm ---- */

void muster__lua_realm_release(struct muster__realm *realm)
{
    if (--realm->references > 0)
        return;
    muster_bindings_release(realm->bindings);
    free(realm);
}

static int open_realm(lua_State *L)
{
    struct muster__realm *realm = lua_touserdata(L, 1);
    lua_newtable(L);
    realm->environment = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    realm->listeners = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_newtable(L);
    realm->timers = luaL_ref(L, LUA_REGISTRYINDEX);
    muster__lua_library_open_realm(L, realm);
    return 0;
}

static void unref_all(struct muster__realm *realm)
{
    lua_State *L = realm->vm->state;
    int references[] = {realm->environment, realm->listeners, realm->timers, realm->loaded,
                        realm->spare};
    for (size_t i = 0; i < sizeof references / sizeof references[0]; i++)
        luaL_unref(L, LUA_REGISTRYINDEX, references[i]);
}

static void realm_destroy(struct muster__realm *realm)
{
    if (realm == NULL)
        return;
    realm->dead = true;
    muster__lua_flights_forget(realm);
    muster__lua_tasks_forget(realm);
    while (realm->outgoing != NULL)
        muster__outgoing_done(&realm->outgoing, realm->outgoing);
    unref_all(realm);
    muster__lua_realm_release(realm);
}

static enum muster_status realm_new(struct muster__vm *vm,
                                    const struct muster__realm_options *options,
                                    struct muster__realm **ret_realm)
{
    if (vm->cut != MUSTER_OK)
        return vm->cut;
    struct muster__realm *realm = calloc(1, sizeof *realm);
    if (realm == NULL)
        return MUSTER_NO_MEMORY;
    realm->vm = vm;
    realm->host = options->host;
    realm->worker = options->worker;
    realm->references = 1;
    realm->environment = realm->listeners = realm->timers = LUA_NOREF;
    realm->loaded = realm->spare = LUA_NOREF;
    if (muster__lua_enter(realm, open_realm, realm) != MUSTER_OK) {
        realm_destroy(realm);
        return vm->cut;
    }
    *ret_realm = realm;
    return MUSTER_OK;
}

/* ---- evaluate ---- */

static void main_ended(lua_State *L, struct muster__lua_task *task, int results)
{
    struct muster__realm *realm = task->realm;
    struct muster_error error = {0};
    enum muster_status status = results < 0 ? MUSTER_SCRIPT_ERROR : MUSTER_OK;
    if (status != MUSTER_OK)
        muster__lua_take_error(L, task->thread, status, &error);
    if (realm->start != NULL) {
        realm->start->status = status;
        *realm->start->error = error;
        return;
    }
    if (realm->evaluated != NULL)
        realm->evaluated(realm->worker, status, status == MUSTER_OK ? NULL : &error);
    muster_error_clean_up(&error);
}

static int identify(lua_State *L)
{
    struct muster__realm *realm = lua_touserdata(L, 1);
    muster__lua_library_identify(L, realm, realm->start->identity);
    return 0;
}

static int evaluate_entry(lua_State *L)
{
    struct muster__realm *realm = lua_touserdata(L, 1);
    struct muster__lua_start *start = realm->start;
    lua_pushcfunction(L, identify);
    lua_pushlightuserdata(L, realm);
    int status = lua_pcall(L, 1, 0, 0);
    if (status == LUA_OK) {
        bool binary = start->identity->trust == MUSTER__TRUST_FULL;
        status = muster__lua_load_script(L, realm, start->script, binary);
    }
    muster__lua_check_cut(L, status == LUA_ERRMEM ? status : LUA_OK);
    if (status != LUA_OK) {
        start->status = status == LUA_ERRSYNTAX ? MUSTER_SYNTAX_ERROR : MUSTER_SCRIPT_ERROR;
        muster__lua_take_error(L, L, start->status, start->error);
        return 0;
    }
    start->status = MUSTER_PENDING; /* until the main chunk has ended */
    muster__lua_task_start(L, realm, 0, main_ended, NULL, 0);
    return 0;
}

static void identify_realm(struct muster__realm *realm,
                           const struct muster__realm_identity *identity)
{
    realm->worker = identity->worker;
    if (identity->bindings != NULL && realm->bindings == NULL)
        realm->bindings = muster_bindings_acquire((struct muster_bindings *)identity->bindings);
}

static enum muster_status
evaluate(struct muster__realm *realm, const struct muster__realm_identity *identity,
         const struct muster__script *script,
         void (*evaluated)(struct muster__worker *worker, enum muster_status status,
                           const struct muster_error *error),
         struct muster_error *error)
{
    if (script->text == NULL) {
        muster_error_set(error, MUSTER_UNSUPPORTED, "%s is no Lua text",
                         script->url != NULL ? script->url : "the script");
        return MUSTER_UNSUPPORTED;
    }
    identify_realm(realm, identity);
    struct muster_error local = {0};
    struct muster__lua_start start = {identity, script, MUSTER_OK, &local};
    realm->evaluated = evaluated;
    realm->start = &start;
    enum muster_status cut = muster__lua_enter(realm, evaluate_entry, realm);
    realm->start = NULL;
    if (cut != MUSTER_OK) {
        start.status = cut;
        muster_error_set(&local, cut, "%s", muster_status_sentence(cut));
    }
    if (error != NULL) {
        muster_error_clean_up(error);
        *error = local;
    } else {
        muster_error_clean_up(&local);
    }
    return start.status;
}

/* ---- the rest of the table ---- */

struct question {
    struct muster__realm *realm;
    const char *name;
    bool answer;
};

static int handles_entry(lua_State *L)
{
    struct question *question = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, question->realm->listeners);
    lua_pushstring(L, question->name);
    question->answer = lua_rawget(L, -2) == LUA_TTABLE ||
                       muster__lua_push_function(L, question->realm, question->name);
    return 0;
}

static bool handles(struct muster__realm *realm, const char *type)
{
    struct question question = {realm, type, false};
    return muster__lua_enter(realm, handles_entry, &question) == MUSTER_OK && question.answer;
}

static enum muster_status deliver(struct muster__realm *realm, struct muster__request *request)
{
    return muster__lua_enter(realm, muster__lua_deliver, request);
}

static void timer_ended(lua_State *L, struct muster__lua_task *task, int results)
{
    if (results >= 0)
        return;
    struct muster_error error = {0};
    muster__lua_take_error(L, task->thread, MUSTER_SCRIPT_ERROR, &error);
    task->realm->host->report(task->realm->worker, &error);
    muster_error_clean_up(&error);
}

static int timer_entry(lua_State *L)
{
    struct muster__realm *realm = muster__lua_realm(L);
    lua_Integer id = *(const uint32_t *)lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, realm->timers);
    int type = lua_rawgeti(L, -1, id);
    if (type == LUA_TNIL) {
        if (lua_rawgeti(L, -2, -id) == LUA_TFUNCTION)
            muster__lua_task_start(L, realm, 0, timer_ended, NULL, 0);
        return 0; /* cleared meanwhile */
    }
    lua_pushnil(L);
    lua_rawseti(L, -3, id);
    if (type == LUA_TFUNCTION)
        muster__lua_task_start(L, realm, 0, timer_ended, NULL, 0);
    else
        muster__lua_task_wake(L, lua_touserdata(L, -1), 0);
    return 0;
}

static enum muster_status timer_fired(struct muster__realm *realm, uint32_t id)
{
    return muster__lua_enter(realm, timer_entry, &id);
}

static int host_call_entry(lua_State *L)
{
    struct muster_host_call *call = lua_touserdata(L, 1);
    struct muster__lua_task *task = call->engine_data;
    if (task == NULL)
        return 0; /* its caller could not wait, and has its error */
    call->engine_data = NULL;
    lua_pushboolean(L, call->error.message == NULL);
    if (call->error.message == NULL)
        muster__lua_push_value(L, call->result);
    else
        muster__lua_push_error(L, &call->error);
    muster__lua_task_wake(L, task, 2);
    return 0;
}

static enum muster_status host_call_ended(struct muster__realm *realm,
                                          struct muster_host_call *call)
{
    return muster__lua_enter(realm, host_call_entry, call);
}

static enum muster_status cancel(struct muster__realm *realm, struct muster__request *request)
{
    muster__lua_cancel(realm, request);
    return realm->vm->cut;
}

/* What ran as a note could not say that it was cut; here it is said. */
static enum muster_status turn_end(struct muster__realm *realm)
{
    return realm->vm->cut;
}

const struct muster__engine muster__engine_lua = {
    .name = "lua",
    .file_endings = ".lua",
    .vm_new = vm_new,
    .vm_destroy = vm_destroy,
    .vm_limit = vm_limit,
    .vm_interrupt = vm_interrupt,
    .vm_memory = vm_memory,
    .vm_trim = vm_trim,
    .realm_new = realm_new,
    .realm_destroy = realm_destroy,
    .evaluate = evaluate,
    .handles = handles,
    .deliver = deliver,
    .timer_fired = timer_fired,
    .host_call_ended = host_call_ended,
    .cancel = cancel,
    .turn_end = turn_end,
};
