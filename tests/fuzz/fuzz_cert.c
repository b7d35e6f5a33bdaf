#include "base/cert.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Parses anything as a certificate; what is one is kept as it came, is trusted by nobody, and its
 * names as text hold no control character. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct cert *cert;
    struct err err;
    if (!cert_parse(in, &cert, &err))
        return 0;
    const struct names *names = cert_names_get(cert);
    if (!bytes_equal(cert_der_get(cert), in) ||
        strlen(cert_serial_get(cert)) >= CERT_SERIAL_TEXT_MAX)
        abort();
    for (const char *p = names->subject_text; *p; p++)
        if ((uint8_t)*p < 0x20 || *p == 0x7f)
            abort();
    for (size_t i = 0; i < names->san_count; i++)
        for (const char *p = names->sans[i].text; *p; p++)
            if ((uint8_t)*p < 0x20 || (uint8_t)*p >= 0x7f)
                abort();
    struct buf text = BUF_INIT(1u << 16);
    if (!names_san_text(names, &text))
        buf_clear(&text);
    (void)cert_is_self_signed(cert);
    struct trust *trust = trust_new(NULL, 0);
    struct trust_terms terms = {&cert, 1, cert_not_before_get(cert), true, false};
    if (trust_check(trust, cert, &terms, &err))
        abort();
    trust_free(trust);
    buf_free(&text);
    cert_free(cert);
    return 0;
}
