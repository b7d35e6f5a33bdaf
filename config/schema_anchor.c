#include "config/schema_checking.h"

#include "config/config.h"
#include "config/judge.h"
#include "config/read.h"

#include <openssl/err.h>
#include <stddef.h>
#include <string.h>

/* In the order of enum cfg_anchor_class and enum cfg_anchor_names. */
static const char *const class_words[] = {
    [CFG_ANCHOR_EXPLICIT] = "explicit", [CFG_ANCHOR_IMPLICIT] = "implicit", NULL};
static const char *const names_words[] = {
    [CFG_ANCHOR_SAME] = "same", [CFG_ANCHOR_SERIAL] = "serial", [CFG_ANCHOR_ANY] = "any", NULL};

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
    CFG_CHECKING_KEYS,
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

void cfg_judge_anchor(void *field, struct cfg_faults *faults, const struct cfg_node *node)
{
    struct cfg_anchor *anchor = field;
    const struct cfg_node *names = cfg_node_get(node, "names");
    judge_certs(&anchor->certificates, faults, cfg_node_get(node, "certificates"));
    judge_certs(&anchor->intermediates, faults, cfg_node_get(node, "intermediates"));
    cfg_judge_checking(&anchor->checking, faults, node, true);
    if (names && anchor->class == CFG_ANCHOR_EXPLICIT)
        cfg_fault_key(faults, names, NULL,
                      "is not used, a renewal keeps its names; expected class implicit");
    anchor->trusts = mem_zalloc(anchor->certificates.count * sizeof(struct trust *));
    for (size_t i = 0; i < anchor->certificates.count; i++)
        anchor->trusts[i] = trust_new(&anchor->certificates.items[i], 1);
}
