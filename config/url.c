#include "config/read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define LIST_MAX 64

static const char url_form[] = "http[s]://ADDRESS:PORT or http[s]://unix:PATH";
static const char url_tls_form[] = "https://ADDRESS:PORT or https://unix:PATH";
static const char block_form[] = "an address, a network such as 10.0.0.0/8, or unix";

const char *cfg_item_text(const struct cfg_node *node, size_t i, const char *form,
                          struct cfg_faults *faults)
{
    const struct cfg_node *item = node->items[i];
    if (item->kind == CFG_NODE_SCALAR && !cfg_node_is_empty(item))
        return item->text;
    if (item->kind != CFG_NODE_BAD)
        cfg_fault(faults, item, "is no text; expected %s", form);
    return NULL;
}

bool cfg_is_list(const struct cfg_node *node, const char *form, struct cfg_faults *faults)
{
    if (node->kind == CFG_NODE_LIST && node->count && node->count <= LIST_MAX)
        return true;
    if (cfg_node_is_empty(node))
        cfg_fault_key(faults, node, NULL, "is empty; expected a list, each item %s", form);
    else
        cfg_fault(faults, node, "%s; expected a list, each item %s",
                  node->kind != CFG_NODE_LIST ? "is no list"
                  : node->count               ? "holds too much"
                                              : "holds nothing",
                  form);
    return false;
}

bool cfg_number(const char *text, long max, long *ret)
{
    char *end;
    if (text[0] < '0' || text[0] > '9' || strlen(text) > 9)
        return false;
    *ret = strtol(text, &end, 10);
    return !*end && *ret <= max;
}

/* unix:/run/scepter/scep.sock */
static const char *local_parse(const char *path, struct cfg_url *ret)
{
    if (path[0] != '/')
        return "has no absolute path behind unix:";
    if (strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return "has a path that is too long for a unix socket";
    ret->local = true;
    ret->host = mem_strdup(path);
    return NULL;
}

/* 192.0.2.1:8080 or [2001:db8::1]:8080 */
static const char *address_parse(const char *text, struct cfg_url *ret)
{
    struct net_addr address;
    char host[NET_TEXT_MAX] = "";
    long port;
    bool v6 = text[0] == '[';
    const char *start = text + v6, *end = strchr(start, v6 ? ']' : ':');
    const char *colon = end ? end + v6 : NULL;
    if (!colon || *colon != ':' || !cfg_number(colon + 1, 65535, &port) || port == 0)
        return "has no port from 1 to 65535 at its end";
    size_t len = (size_t)(end - start);
    if (len < sizeof host)
        memcpy(host, start, len);
    if (len >= sizeof host || !net_addr_parse(host, &address))
        return "holds no IP address, and names are not supported";
    ret->host = mem_strdup(host);
    ret->port = (uint16_t)port;
    return NULL;
}

/* scheme://address:port, nothing else. What is wrong, or NULL. */
static const char *url_parse(const char *text, bool tls_only, struct cfg_url *ret)
{
    bool tls = strncmp(text, "https://", 8) == 0;
    if (!tls && strncmp(text, "http://", 7) != 0)
        return "is no URL of a listener";
    if (!tls && tls_only)
        return "is not https";
    const char *rest = text + (tls ? 8 : 7);
    const char *wrong =
        strncmp(rest, "unix:", 5) == 0 ? local_parse(rest + 5, ret) : address_parse(rest, ret);
    ret->tls = tls;
    return wrong;
}

static bool urls_read(const struct cfg_node *node, bool tls_only, struct cfg_urls *urls,
                      struct cfg_faults *faults)
{
    const char *form = tls_only ? url_tls_form : url_form;
    bool ok = true;
    if (!cfg_is_list(node, form, faults))
        return false;
    /* A faulty item keeps its place, so that items and nodes go together. */
    urls->items = mem_zalloc(node->count * sizeof *urls->items);
    urls->count = node->count;
    for (size_t i = 0; i < node->count; i++) {
        const char *text = cfg_item_text(node, i, form, faults);
        const char *wrong = text ? url_parse(text, tls_only, &urls->items[i]) : NULL;
        if (wrong)
            cfg_fault_value(faults, node->items[i], wrong, form);
        ok = ok && text && !wrong;
    }
    return ok;
}

bool cfg_read_urls(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    return urls_read(node, false, field, faults);
}

bool cfg_read_urls_tls(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    return urls_read(node, true, field, faults);
}

void cfg_read_urls_clear(void *field)
{
    struct cfg_urls *urls = field;
    for (size_t i = 0; i < urls->count; i++)
        free(urls->items[i].host);
    free(urls->items);
    *urls = (struct cfg_urls){0};
}

bool cfg_read_blocks(const struct cfg_node *node, void *field, struct cfg_faults *faults)
{
    struct net_blocks *blocks = field;
    bool ok = true;
    if (!cfg_is_list(node, block_form, faults))
        return false;
    blocks->items = mem_zalloc(node->count * sizeof *blocks->items);
    for (size_t i = 0; i < node->count; i++) {
        struct net_block block;
        const char *text = cfg_item_text(node, i, block_form, faults);
        const char *wrong = text ? net_block_parse(text, &block) : NULL;
        if (wrong)
            cfg_fault_value(faults, node->items[i], wrong, block_form);
        else if (text)
            blocks->items[blocks->count++] = block;
        ok = ok && text && !wrong;
    }
    return ok;
}

void cfg_read_blocks_clear(void *field)
{
    struct net_blocks *blocks = field;
    free(blocks->items);
    *blocks = (struct net_blocks){0};
}

void cfg_url_text(const struct cfg_url *url, struct buf *out)
{
    bool v6 = !url->local && strchr(url->host, ':');
    bool ok = url->local ? buf_add_fmt(out, "http%s://unix:%s", url->tls ? "s" : "", url->host)
                         : buf_add_fmt(out, "http%s://%s%s%s:%u", url->tls ? "s" : "",
                                       v6 ? "[" : "", url->host, v6 ? "]" : "", url->port);
    if (!ok)
        buf_clear(out);
}
