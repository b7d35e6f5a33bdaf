/* Lists whose links lie inside their items. A list is a link of its own, in a ring with the items'.
 */
#ifndef BASE_LINK_H
#define BASE_LINK_H

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev, *next; /* NULL: in no list */
};

void link_init(struct link *list);
bool link_none(const struct link *list);             /* the list is empty */
void link_add(struct link *list, struct link *item); /* at the end; the item is in no list */
void link_drop(struct link *item);                   /* also if it is in no list */
struct link *link_take(struct link *list); /* the first item, dropped; NULL: there is none */

/* The struct that a link lies in. */
#define LINK_OWNER(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#endif
