/* A stored handle, or a page of the list of provisioners. */
#include "gateway/upstream/stepca_token.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static EVP_PKEY *key;
    char name[] = "ra";
    struct bytes in = bytes_of(data, size);
    struct stepca_handle handle;
    struct buf kid = {0}, cursor = {0};
    struct json *page;
    struct err err;
    if (!key)
        key = EVP_EC_gen("P-256");
    struct stepca_options options = {.provisioner = name, .x5c = {.key = key}};
    if (stepca_handle_parse(in, &handle) && handle.id[STEPCA_ID_LEN])
        abort();
    if (json_parse(in, &page, &err)) {
        if (stepca_provisioner_find(&options, json_root(page), &kid, &cursor, &err) &&
            kid.len >= STEPCA_KID_MAX)
            abort();
        json_free(page);
    }
    buf_free(&kid);
    buf_free(&cursor);
    return 0;
}
