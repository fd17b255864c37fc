/* runtime/port_account.c - see port_account.h. */
#include "runtime/port_account.h"

#include "runtime/hash.h"

#include <stdlib.h>
#include <string.h>

struct muster__port_account *muster__port_account_acquire(struct muster__port_account *account)
{
    if (account)
        atomic_fetch_add_explicit(&account->references, 1, memory_order_relaxed);
    return account;
}

void muster__port_account_release(struct muster__port_account *account)
{
    if (account && atomic_fetch_sub_explicit(&account->references, 1, memory_order_acq_rel) == 1)
        free(account);
}

void muster__port_account_give_back(struct muster__port_account *account)
{
    atomic_fetch_sub_explicit(&account->open, 1, memory_order_relaxed);
    muster__port_account_release(account);
}

static struct muster__port_account **list_of(struct muster__port_accounts *accounts, const char *name)
{
    return &accounts->lists[muster__hash_text(0, name) % MUSTER__PORT_ACCOUNT_LISTS];
}

static struct muster__port_account *account_new(const char *name, size_t limit)
{
    size_t size = strlen(name) + 1;
    struct muster__port_account *account = calloc(1, sizeof(*account) + size);
    if (!account)
        return NULL;
    atomic_init(&account->references, 1);
    account->limit = limit;
    memcpy(account->name, name, size);
    return account;
}

struct muster__port_account *muster__port_accounts_get(struct muster__port_accounts *accounts, const char *name,
                                                       size_t limit)
{
    struct muster__port_account **at = list_of(accounts, name);
    while (*at && strcmp((*at)->name, name) != 0) {
        struct muster__port_account *other = *at;
        if (atomic_load_explicit(&other->references, memory_order_acquire) > 1) {
            at = &other->next;
        } else {
            *at = other->next;
            muster__port_account_release(other);
        }
    }
    if (!*at)
        *at = account_new(name, limit);
    return muster__port_account_acquire(*at);
}

void muster__port_accounts_clean_up(struct muster__port_accounts *accounts)
{
    for (size_t i = 0; i < MUSTER__PORT_ACCOUNT_LISTS; i++)
        while (accounts->lists[i]) {
            struct muster__port_account *account = accounts->lists[i];
            accounts->lists[i] = account->next;
            muster__port_account_release(account);
        }
}
