#include "est/renewal.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An identifier that is accepted has a key and a serial number in lower-case hex, within bounds. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf key_id = BUF_INIT(64);
    char serial[CERT_SERIAL_TEXT_MAX];
    if (est_renewal_id(bytes_of(data, size), &key_id, serial)) {
        size_t len = strnlen(serial, sizeof serial);
        if (!key_id.len || !len || len > 42 || strspn(serial, "0123456789abcdef") != len)
            abort();
    }
    buf_free(&key_id);
    return 0;
}
