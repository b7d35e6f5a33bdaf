#include "base/link.h"

void link_init(struct link *list)
{
    list->prev = list->next = list;
}

bool link_none(const struct link *list)
{
    return list->next == list;
}

void link_add(struct link *list, struct link *item)
{
    item->prev = list->prev;
    item->next = list;
    list->prev->next = item;
    list->prev = item;
}

void link_drop(struct link *item)
{
    if (!item->next)
        return;
    item->prev->next = item->next;
    item->next->prev = item->prev;
    item->prev = item->next = NULL;
}

struct link *link_take(struct link *list)
{
    struct link *item = list->next;
    if (item == list)
        return NULL;
    link_drop(item);
    return item;
}
