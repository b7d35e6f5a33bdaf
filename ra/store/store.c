#include "ra/store/store.h"

#include <string.h>

extern const struct store_vt store_sqlite;

static const struct store_vt *const kinds[] = {&store_sqlite};

bool store_open(const char *url, bool serve, struct store **ret, struct err *err)
{
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t len = strlen(kinds[i]->scheme);
        if (strncmp(url, kinds[i]->scheme, len) == 0 && url[len] == ':')
            return kinds[i]->open(url + len + 1, serve, ret, err);
    }
    return err_set(err, ERR_CONFIG, "no kind of store takes \"%s\"; known: %s", url, store_kinds());
}

void store_close(struct store *store)
{
    if (store)
        store->vt->close(store);
}

void store_request_clear(struct store_request *request)
{
    buf_free(&request->txn);
    buf_free(&request->csr);
    buf_free(&request->handle);
    buf_free(&request->cookie);
    buf_free(&request->cert);
    *request = (struct store_request){0};
}

void store_cert_clear(struct store_cert *cert)
{
    buf_free(&cert->der);
    *cert = (struct store_cert){0};
}

const char *store_kinds(void)
{
    return "sqlite";
}
