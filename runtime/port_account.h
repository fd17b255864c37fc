/* runtime/port_account.h - how many channels the scripts of one tenant may have open at a time.  Internal.
 *
 * A channel that a script makes counts on its maker's account until one of its ends is closed, wherever the ends have gone
 * meanwhile; so what somebody is sent costs nothing of his own.  An account is one process's: a tenant whose workers live
 * in several has one in each.
 *
 * Thread: any for accounts, which are counted; a table of them is its owner's, who sees to its lock.
 */
#ifndef MUSTER_PORT_ACCOUNT_H
#define MUSTER_PORT_ACCOUNT_H

#include "runtime/port.h"

#include <stdatomic.h>

struct muster__port_account {
    struct muster__port_account *next; /* the table's */
    atomic_uint references;            /* the table's, those of workers, and of open channels */
    atomic_size_t open;
    size_t limit;
    char name[];
};

struct muster__port_account *muster__port_account_acquire(struct muster__port_account *account); /* NULL: NULL */
void muster__port_account_release(struct muster__port_account *account); /* NULL: no-op */

/* As muster__port_pair().  QUEUE_FULL: so many are open already.  NULL: nobody counts. */
MUSTER_MUST_CHECK enum muster_status muster__port_pair_on(struct muster__port_account *account,
                                                          struct muster__port *ret_ends[2]);
/* One that was open is not any more. */
void muster__port_account_give_back(struct muster__port_account *account);

#define MUSTER__PORT_ACCOUNT_LISTS 64u
struct muster__port_accounts {
    struct muster__port_account *lists[MUSTER__PORT_ACCOUNT_LISTS];
};
/* A reference to the account of that name, a new one if nobody has it; those that nobody has go by and by.  NULL: out of
 * memory. */
struct muster__port_account *muster__port_accounts_get(struct muster__port_accounts *accounts, const char *name,
                                                       size_t limit);
void muster__port_accounts_clean_up(struct muster__port_accounts *accounts);

#endif
