/* A configuration as text: the tree, the tables and the cross checks. Nothing it names exists. */
#include "config/config.h"
#include "config/table.h"

#include <stddef.h>
#include <stdlib.h>

struct options {
    struct cfg_certs certificate;
    EVP_PKEY *key;
    int64_t validity;
};

static const struct cfg_key keys[] = {
    {.name = "certificate",
     .type = CFG_CERT_FILE,
     .offset = offsetof(struct options, certificate),
     .required = true},
    {.name = "key", .type = CFG_KEY_FILE, .offset = offsetof(struct options, key)},
    {.name = "validity",
     .type = CFG_DURATION,
     .offset = offsetof(struct options, validity),
     .def = "90d"},
    {0},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct cfg_kind kind = {
        .type = "local", .keys = keys, .options_size = sizeof(struct options)};
    const struct cfg_kind *only = &kind;
    const struct cfg_kinds kinds = {&only, 1};
    struct cfg *cfg = NULL;
    struct buf faults = {0};
    /* Loaded without a fault there is a snapshot, and otherwise there is none and faults are. */
    bool ok = cfg_load_text(bytes_of(data, size), "/nonexistent/fuzz.yaml", &kinds, &cfg, &faults);
    if (ok != (cfg != NULL) || ok == (faults.len != 0))
        abort();
    cfg_free(cfg);
    buf_free(&faults);
    return 0;
}
