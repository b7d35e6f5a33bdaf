#include "scep/msg.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is decoded lies inside the input, and its serial number is hex of whole octets. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char serial[CERT_SERIAL_TEXT_MAX];
    struct bytes issuer;
    struct err err = {0};
    if (scep_wanted_decode(bytes_of(data, size), &issuer, serial, &err)) {
        size_t len = strnlen(serial, sizeof serial);
        if (issuer.ptr < data || issuer.ptr + issuer.len > data + size)
            abort();
        if (len == 0 || len % 2 || len >= sizeof serial ||
            strspn(serial, "0123456789abcdef") != len)
            abort();
    } else if (err.kind != ERR_PEER || !err.text[0]) {
        abort();
    }
    return 0;
}
