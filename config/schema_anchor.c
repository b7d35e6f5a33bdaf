#include "config/schema.h"

#include "config/config.h"
#include "config/judge.h"
#include "config/read.h"

#include <openssl/err.h>
#include <stddef.h>
#include <string.h>

/* In the order of enum cfg_anchor_class, enum cfg_anchor_names and enum cfg_revocation. */
static const char *const class_words[] = {
    [CFG_ANCHOR_EXPLICIT] = "explicit", [CFG_ANCHOR_IMPLICIT] = "implicit", NULL};
static const char *const names_words[] = {
    [CFG_ANCHOR_SAME] = "same", [CFG_ANCHOR_SERIAL] = "serial", [CFG_ANCHOR_ANY] = "any", NULL};
static const char *const revocation_words[] = {[CFG_REVOCATION_HARD_FAIL] = "hard_fail",
                                               [CFG_REVOCATION_SOFT_FAIL] = "soft_fail",
                                               [CFG_REVOCATION_NONE] = "none",
                                               NULL};

const struct cfg_key cfg_anchor_keys[] = {
    {.name = "certificates",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_anchor, certificates),
     .required = true,
     .min = 1,
     .meaning = "Certificates of the CAs, each an anchor by itself."},
    {.name = "intermediates",
     .type = CFG_CERT_FILES,
     .offset = offsetof(struct cfg_anchor, intermediates),
     .meaning = "CAs between them and devices; those that a device sends along are used as well."},
    {.name = "class",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_anchor, class),
     .required = true,
     .words = class_words,
     .meaning = "explicit: the profile's own CAs, whose certificates renew as those that the "
                "gateway issued. implicit: manufacturers and third parties, whose certificates "
                "authorize an enrollment, never a renewal."},
    {.name = "names",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_anchor, names),
     .words = names_words,
     .def = "same",
     .meaning = "Of class implicit: what a CSR must have from the certificate: the same subject "
                "and SANs; the same one serialNumber in the subject; or anything that the profile "
                "allows."},
    {.name = "revocation",
     .type = CFG_ENUM,
     .offset = offsetof(struct cfg_anchor, revocation),
     .words = revocation_words,
     .def = "hard_fail",
     .meaning = "What becomes of a certificate whose revocation cannot be checked: the device is "
                "told to come again; it is taken as not revoked, which is counted and logged; or "
                "none is checked."},
    {.name = "crl",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_anchor, crl),
     .min = 1,
     .meaning = "Where CRLs of the CAs are, in DER.",
     .form = "an http or https URL",
     .check = cfg_check_web},
    {.name = "crl_under",
     .type = CFG_STRINGS,
     .offset = offsetof(struct cfg_anchor, crl_under),
     .min = 1,
     .meaning = "CRL URLs that stand in the certificates are used if they begin with one of these.",
     .form = "an http or https URL that ends with /",
     .check = cfg_check_web_under},
    {.name = "ocsp",
     .type = CFG_STRING,
     .offset = offsetof(struct cfg_anchor, ocsp),
     .meaning = "The OCSP responder that is asked.",
     .form = "an http or https URL",
     .check = cfg_check_web},
    {.name = "refresh",
     .type = CFG_DURATION,
     .offset = offsetof(struct cfg_anchor, refresh),
     .min = 1,
     .max = INT64_C(30) * 86400,
     .def = "1h",
     .meaning = "How long a CRL or an OCSP answer is used before it is asked for again; never "
                "longer than it says itself."},
    {0},
};

/* What cannot issue, or whose key OpenSSL cannot use, anchors nothing. */
static void judge_certs(const struct cfg_certs *certs, struct cfg_faults *faults,
                        const struct cfg_node *at)
{
    for (size_t i = 0; i < certs->count; i++) {
        const struct cert *cert = certs->items[i];
        X509 *x509 = cert_keyed_get(cert);
        if (!cert_is_ca(cert))
            cfg_fault(faults, at, "holds a certificate that is no CA's (\"%s\"); expected CAs",
                      cert_names_get(cert)->subject_text);
        else if (!x509 || !X509_get0_pubkey(x509))
            cfg_fault(faults, at,
                      "holds a certificate whose key cannot be used (\"%s\"); expected RSA, EC or "
                      "EdDSA keys",
                      cert_names_get(cert)->subject_text);
    }
    ERR_clear_error();
}

static void judge_sources(const struct cfg_anchor *anchor, struct cfg_faults *faults,
                          const struct cfg_node *node)
{
    static const char *const sources[] = {"crl", "crl_under", "ocsp"};
    bool any = false;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        const struct cfg_node *at = cfg_node_get(node, sources[i]);
        any = any || at;
        if (at && anchor->revocation == CFG_REVOCATION_NONE)
            cfg_fault_key(faults, at, NULL,
                          "is not used; expected revocation hard_fail or soft_fail");
    }
    if (!any && anchor->revocation != CFG_REVOCATION_NONE)
        cfg_fault_key(faults, node, "revocation",
                      "has nothing to check by; expected crl, crl_under or ocsp, or revocation "
                      "none");
}

void cfg_judge_anchor(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct cfg_anchor *anchor = field;
    const struct cfg_node *names = cfg_node_get(node, "names");
    judge_certs(&anchor->certificates, faults, cfg_node_get(node, "certificates"));
    judge_certs(&anchor->intermediates, faults, cfg_node_get(node, "intermediates"));
    judge_sources(anchor, faults, node);
    if (names && anchor->class == CFG_ANCHOR_EXPLICIT)
        cfg_fault_key(faults, names, NULL,
                      "is not used, a renewal keeps its names; expected class implicit");
    anchor->trusts = mem_zalloc(anchor->certificates.count * sizeof(struct trust *));
    for (size_t i = 0; i < anchor->certificates.count; i++)
        anchor->trusts[i] = trust_new(&anchor->certificates.items[i], 1);
}
