/* coordinator/context_list.h - lists whose links lie in what they list.  Internal.  Thread: one at a time. */
#ifndef MUSTER_CONTEXT_LIST_H
#define MUSTER_CONTEXT_LIST_H

#include <stdbool.h>

/* Embedded; the head of a list is one as well. */
struct muster__link {
    struct muster__link *next, *previous;
};

static inline void muster__link_init(struct muster__link *link)
{
    link->next = link->previous = link;
}

/* Behind the last of that list. */
static inline void muster__link_append(struct muster__link *list, struct muster__link *link)
{
    link->next = list;
    link->previous = list->previous;
    list->previous->next = link;
    list->previous = link;
}

/* Twice is fine. */
static inline void muster__link_remove(struct muster__link *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    muster__link_init(link);
}

/* Of a list: nothing is in it.  Of what may be in one: it is not. */
static inline bool muster__link_is_empty(const struct muster__link *link)
{
    return link->next == link;
}

#endif
