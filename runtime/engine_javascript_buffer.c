/* runtime/engine_javascript_buffer.c - the memory of ArrayBuffers that move between workers, not copied.
 *
 * A *block* is memory with a count: each message that carries it has one reference, and each ArrayBuffer
 * that was made of it.  A table of the process finds the block by its address, so that a buffer which
 * came from elsewhere goes on as what it is, however often.
 *
 * Memory that C allocated is freed by whoever lets go last.  Memory that the engine allocated cannot be
 * taken from it: it is *lent*.  The VM keeps the ArrayBuffer, which no script sees any more (the encoder
 * has moved the content out of the script's, and that is detached), and the last reference gives it
 * back: by a note, for only the VM's own thread may let go of an object of it.  When the VM's workers
 * have ended before that, the VM itself is kept, without a realm that could run, and released once the
 * last of its blocks is back: at the next start or end of a VM, never inside of a collection, in which
 * most references go.  What such a VM had of others is given back when it ends, though its ArrayBuffers are
 * still there: nobody can look into them any more.  (Else two that lent to each other would stay for ever.)
 *
 * Thread: the VM's; but references go on any thread, also on the engine's collector's. */
#include "runtime/engine_javascript.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LEND_FROM (32u * 1024u) /* bytes; to copy fewer is cheaper */
#define PLACES 1024u            /* of the table; a power of two */
#define BALLAST_FROM (256u * 1024u)
#define BALLAST (16u << 20)

struct block {
    struct block *next; /* in its place of the table; later among those that came back */
    atomic_uint references;
    struct muster_clone_buffer memory; /* of a block that is lent, only data and length */
    struct muster__js_lender *lender;  /* NULL: the memory is C's */
    JSObjectRef object;                /* protected, in the lender's VM */
};

/* An ArrayBuffer over a block. */
struct loan {
    struct loan *next, *previous;   /* of the VM */
    struct muster__js_lender *home; /* of the VM that has the ArrayBuffer */
    struct block *block;            /* NULL: given back already */
};

/* What a VM has to do with blocks, of its own and of others.  Lives as long as the group. */
struct muster__js_lender {
    struct muster__js_lender *next; /* among those whose VM can go */
    pthread_mutex_t lock;           /* over all of the rest */
    struct loan *loans;
    unsigned lent;
    struct block *returned;
    struct muster__note note;
    struct muster__realm *realm; /* whose worker hears of it; NULL: none */
    bool is_gone;                /* the VM's owner is done with it, and */
    JSContextGroupRef group;     /* this is what is left */
};

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *table[PLACES];

static char ballast[BALLAST]; /* never touched, so it is no memory */

static pthread_mutex_t dead_lock = PTHREAD_MUTEX_INITIALIZER;
static struct muster__js_lender *dead; /* nothing of them is lent any more */

/* ---- the table ---- */

static struct block **place_of(const void *data)
{
    uint64_t hash = ((uint64_t)(uintptr_t)data >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return &table[hash >> 32 & (PLACES - 1)];
}

static void enter(struct block *block)
{
    struct block **place = place_of(block->memory.data);
    pthread_mutex_lock(&table_lock);
    block->next = *place;
    *place = block;
    pthread_mutex_unlock(&table_lock);
}

static void leave(struct block *block)
{
    pthread_mutex_lock(&table_lock);
    struct block **at = place_of(block->memory.data);
    while (*at != block)
        at = &(*at)->next;
    *at = block->next;
    pthread_mutex_unlock(&table_lock);
}

/* One more reference.  The caller's ArrayBuffer has one, so what is found is alive. */
static struct block *find(const void *data, size_t length)
{
    pthread_mutex_lock(&table_lock);
    struct block *block = *place_of(data);
    while (block != NULL && (block->memory.data != data || block->memory.length != length))
        block = block->next;
    if (block != NULL)
        atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&table_lock);
    return block;
}

/* ---- lenders ---- */

static void bury(struct muster__js_lender *lender)
{
    pthread_mutex_lock(&dead_lock);
    lender->next = dead;
    dead = lender;
    pthread_mutex_unlock(&dead_lock);
}

void muster__js_release_dead_vms(void)
{
    pthread_mutex_lock(&dead_lock);
    struct muster__js_lender *lender = dead;
    dead = NULL;
    pthread_mutex_unlock(&dead_lock);
    while (lender != NULL) {
        struct muster__js_lender *next = lender->next;
        JSContextGroupRelease(lender->group); /* its own collection may end blocks of others */
        pthread_mutex_destroy(&lender->lock);
        free(lender);
        lender = next;
    }
}

static void let_go(struct muster__js_lender *lender, JSContextRef context)
{
    pthread_mutex_lock(&lender->lock);
    struct block *block = lender->returned;
    lender->returned = NULL;
    pthread_mutex_unlock(&lender->lock);
    while (block != NULL) {
        struct block *next = block->next;
        JSValueUnprotect(context, block->object);
        free(block);
        block = next;
    }
}

static void release_block(struct block *block);

static void run_note(struct muster__note *note, struct muster__realm *realm)
{
    let_go(MUSTER_CONTAINER_OF(note, struct muster__js_lender, note), realm->context);
}

static void give_back(struct block *block)
{
    struct muster__js_lender *lender = block->lender;
    pthread_mutex_lock(&lender->lock);
    bool is_last = --lender->lent == 0 && lender->is_gone;
    if (lender->is_gone) {
        free(block); /* its object goes with the VM */
    } else {
        block->next = lender->returned;
        lender->returned = block;
        if (block->next == NULL && lender->realm != NULL)
            lender->realm->host->note_post(lender->realm->worker, &lender->note);
    }
    pthread_mutex_unlock(&lender->lock);
    if (is_last)
        bury(lender);
}

static struct muster__js_lender *lender_of(struct muster__realm *realm)
{
    struct muster__vm *vm = realm->vm;
    if (vm->lender == NULL) {
        vm->lender = calloc(1, sizeof *vm->lender);
        if (vm->lender == NULL)
            return NULL;
        pthread_mutex_init(&vm->lender->lock, NULL);
        vm->lender->note.run = run_note;
    }
    pthread_mutex_lock(&vm->lender->lock);
    if (vm->lender->realm == NULL && realm->worker != NULL)
        vm->lender->realm = realm;
    pthread_mutex_unlock(&vm->lender->lock);
    return vm->lender;
}

void muster__js_stop_lending(struct muster__realm *realm)
{
    struct muster__js_lender *lender = realm->vm->lender;
    muster__js_drop_ballast(realm);
    if (lender == NULL)
        return;
    pthread_mutex_lock(&lender->lock);
    bool was_told = lender->realm == realm;
    if (was_told)
        lender->realm = NULL;
    pthread_mutex_unlock(&lender->lock);
    if (was_told)
        realm->host->note_cancel(realm->worker, &lender->note);
    let_go(lender, realm->context);
}

/* Of all that the VM has of others; its ArrayBuffers find out later. */
static void give_all_back(struct muster__js_lender *lender)
{
    pthread_mutex_lock(&lender->lock);
    struct loan *loan = lender->loans;
    while (loan != NULL) {
        struct block *block = loan->block;
        lender->loans = loan->next;
        if (loan->next != NULL)
            loan->next->previous = NULL;
        loan->next = NULL;
        loan->block = NULL;
        pthread_mutex_unlock(&lender->lock); /* the block may be this VM's own */
        release_block(block);
        pthread_mutex_lock(&lender->lock);
        loan = lender->loans;
    }
    pthread_mutex_unlock(&lender->lock);
}

void muster__js_release_vm(struct muster__vm *vm)
{
    struct muster__js_lender *lender = vm->lender;
    bool is_free = true;
    if (lender != NULL) {
        give_all_back(lender);
        pthread_mutex_lock(&lender->lock);
        for (struct block *block = lender->returned, *next; block != NULL; block = next) {
            next = block->next;
            free(block);
        }
        is_free = lender->lent == 0;
        lender->is_gone = true;
        lender->group = vm->group;
        pthread_mutex_unlock(&lender->lock); /* it may be gone from here on, unless it is free */
    }
    if (is_free) {
        JSContextGroupRelease(vm->group);
        if (lender != NULL)
            pthread_mutex_destroy(&lender->lock);
        free(lender);
    }
    muster__js_release_dead_vms();
}

/* ---- blocks ---- */

static void release_block(struct block *block)
{
    if (atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel) != 1)
        return;
    leave(block);
    if (block->lender != NULL) {
        give_back(block);
    } else {
        muster_clone_buffer_clean_up(&block->memory);
        free(block);
    }
}

/* As a message's buffer is freed. */
static void free_block(void *data, void *user_data)
{
    (void)data;
    release_block(user_data);
}

/* As an ArrayBuffer's bytes are. */
static void end_loan(void *data, void *user_data)
{
    struct loan *loan = user_data;
    struct muster__js_lender *home = loan->home;
    (void)data;
    pthread_mutex_lock(&home->lock);
    struct block *block = loan->block;
    if (block != NULL) {
        *(loan->previous != NULL ? &loan->previous->next : &home->loans) = loan->next;
        if (loan->next != NULL)
            loan->next->previous = loan->previous;
    }
    pthread_mutex_unlock(&home->lock);
    free(loan);
    if (block != NULL)
        release_block(block);
}

/* Takes the reference.  NULL: out of memory, and it is not taken. */
static struct loan *loan_new(struct muster__js_lender *home, struct block *block)
{
    struct loan *loan = home != NULL ? calloc(1, sizeof *loan) : NULL;
    if (loan == NULL)
        return NULL;
    loan->home = home;
    loan->block = block;
    pthread_mutex_lock(&home->lock);
    loan->next = home->loans;
    if (home->loans != NULL)
        home->loans->previous = loan;
    home->loans = loan;
    pthread_mutex_unlock(&home->lock);
    return loan;
}

static struct muster_clone_buffer as_buffer(struct block *block)
{
    return (struct muster_clone_buffer){block->memory.data, block->memory.length, free_block, block};
}

static bool lend(struct muster__realm *realm, JSContextRef context, JSObjectRef buffer, void *data,
                 size_t length, struct muster_clone_buffer *ret_buffer)
{
    struct muster__js_lender *lender = lender_of(realm);
    struct block *block = lender != NULL ? calloc(1, sizeof *block) : NULL;
    if (block == NULL)
        return false;
    atomic_init(&block->references, 1);
    block->memory = (struct muster_clone_buffer){.data = data, .length = length};
    block->lender = lender;
    block->object = buffer;
    JSValueProtect(context, buffer);
    pthread_mutex_lock(&lender->lock);
    lender->lent++;
    pthread_mutex_unlock(&lender->lock);
    enter(block);
    *ret_buffer = as_buffer(block);
    return true;
}

bool muster__js_buffer_take(struct muster__realm *realm, JSContextRef context, JSObjectRef buffer,
                            struct muster_clone_buffer *ret_buffer)
{
    size_t length = JSObjectGetArrayBufferByteLength(context, buffer, NULL);
    void *data = length != 0 ? JSObjectGetArrayBufferBytesPtr(context, buffer, NULL) : NULL;
    if (length != 0 && data == NULL)
        return false;
    if (length < LEND_FROM)
        return muster_clone_buffer_copy(data, length, ret_buffer) == MUSTER_OK;
    struct block *block = find(data, length);
    if (block == NULL)
        return lend(realm, context, buffer, data, length, ret_buffer);
    *ret_buffer = as_buffer(block);
    return true;
}

/* The engine counts a megabyte that only passes through as a megabyte of garbage, and would collect for each
 * or every other one.  It lets as much garbage pass as there is in use: so it is told that there is more. */
static void take_ballast(struct muster__realm *realm, JSContextRef context)
{
    struct muster__vm *vm = realm->vm;
    if (vm->ballast != NULL)
        return;
    vm->ballast = JSObjectMakeArrayBufferWithBytesNoCopy(context, ballast, BALLAST, NULL, NULL, NULL);
    if (vm->ballast == NULL)
        return;
    vm->ballast_realm = realm;
    JSValueProtect(context, vm->ballast);
}

void muster__js_drop_ballast(struct muster__realm *realm)
{
    struct muster__vm *vm = realm->vm;
    if (vm->ballast == NULL || vm->ballast_realm != realm)
        return;
    JSValueUnprotect(realm->context, vm->ballast);
    vm->ballast = NULL;
}

struct muster_clone_buffer muster__js_buffer_kept(double id)
{
    return as_buffer((struct block *)(uintptr_t)id);
}

void muster__js_buffer_keep(double id, bool keep)
{
    struct block *block = (struct block *)(uintptr_t)id;
    if (keep)
        atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    else
        release_block(block);
}

/* Takes the buffer, on success only. */
static struct block *block_of(struct muster_clone_buffer *take_buffer)
{
    struct block *block = take_buffer->user_data;
    if (take_buffer->free != free_block) {
        block = calloc(1, sizeof *block);
        if (block == NULL)
            return NULL;
        atomic_init(&block->references, 1);
        block->memory = *take_buffer;
        enter(block);
    }
    memset(take_buffer, 0, sizeof *take_buffer);
    return block;
}

JSObjectRef muster__js_buffer_make(struct muster__realm *realm, JSContextRef context,
                                   struct muster_clone_buffer *take_buffer, double *ret_id,
                                   JSValueRef *exception)
{
    struct block *block = block_of(take_buffer);
    struct loan *loan = block != NULL ? loan_new(lender_of(realm), block) : NULL;
    if (loan == NULL) {
        if (block != NULL)
            release_block(block);
        muster__js_out_of_memory(context, exception);
        return NULL;
    }
    if (block->memory.length >= BALLAST_FROM)
        take_ballast(realm, context);
    *ret_id = (double)(uintptr_t)block; /* below 2^53, as all addresses are */
    return JSObjectMakeArrayBufferWithBytesNoCopy(context, block->memory.data, block->memory.length,
                                                  end_loan, loan, exception);
}
