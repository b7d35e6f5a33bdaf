#include "scep/check.h"

#include "base/text.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>

#define HEX_OCTETS 40

static void hex_cut(struct bytes octets, char out[2 * HEX_OCTETS + 1])
{
    text_hex(bytes_of(octets.ptr, octets.len < HEX_OCTETS ? octets.len : HEX_OCTETS), out);
}

/* A Name that we would not take in a certificate has no text. */
static bool name_read(struct bytes der, struct names *names)
{
    const unsigned char *p = der.ptr;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)der.len);
    struct err ignored;
    bool ok = name && names_parse(name, NULL, names, &ignored);
    X509_NAME_free(name);
    ERR_clear_error();
    return ok;
}

void scep_recipient_text(const struct cms_id *id, char out[SCEP_RECIPIENT_TEXT_MAX])
{
    char hex[2 * HEX_OCTETS + 1];
    struct names names = {0};
    if (id->ski.len) {
        hex_cut(id->ski, hex);
        snprintf(out, SCEP_RECIPIENT_TEXT_MAX, "key identifier %s", hex);
    } else {
        hex_cut(id->serial, hex);
        bool read = name_read(id->issuer, &names);
        snprintf(out, SCEP_RECIPIENT_TEXT_MAX, "serial %s, issuer %.120s", hex,
                 read ? names.subject_text : "with an odd name");
        names_clear(&names);
    }
}
