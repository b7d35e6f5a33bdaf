#include "base/der.h"
#include "base/text.h"
#include "scep/msg.h"

#include <openssl/x509.h>

#define SERIAL_OCTETS_MAX ((CERT_SERIAL_TEXT_MAX - 2) / 2)
#define ELEMENTS_MAX 2000

bool scep_wanted_decode(struct bytes der, struct bytes *issuer, char *serial, struct err *err)
{
    struct der outer, name, number;
    if (!der_check(der, SCEP_DEPTH_MAX, ELEMENTS_MAX) ||
        !der_take_tag(&der, DER_SEQUENCE, &outer) ||
        !der_take_tag(&outer.content, DER_SEQUENCE, &name) ||
        !der_take_tag(&outer.content, DER_INTEGER, &number) || outer.content.len || der.len)
        return err_set(err, ERR_PEER, "not an issuer and a serial number");
    struct bytes octets = number.content;
    if (octets.len > 1 && octets.ptr[0] == 0)
        octets = bytes_of(octets.ptr + 1, octets.len - 1); /* the sign octet of DER */
    else if (octets.len && octets.ptr[0] & 0x80)
        return err_set(err, ERR_PEER, "a negative serial number");
    if (!octets.len || octets.len > SERIAL_OCTETS_MAX)
        return err_set(err, ERR_PEER, "a serial number of %zu octets", octets.len);
    text_hex(octets, serial);
    *issuer = name.whole;
    return true;
}

bool scep_wanted_encode(const struct cert *cert, struct buf *der)
{
    unsigned char *serial = NULL;
    int len = i2d_ASN1_INTEGER(X509_get0_serialNumber(cert_x509_get(cert)), &serial);
    bool ok = len > 0 && buf_set(der, cert_issuer_get(cert)) &&
              buf_add(der, bytes_of(serial, (size_t)len)) && der_wrap(der, 0, DER_SEQUENCE);
    OPENSSL_free(serial);
    return ok;
}
