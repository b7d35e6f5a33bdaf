#include "base/change.h"

#include "base/der.h"

#define CHANGE_DEPTH 8
#define CHANGE_ELEMENTS 2048

#define TAGGED DER_CONTEXT_CONSTRUCTED(1)

/* In RFC 6402 both are a SEQUENCE without a tag of its own: of sets in a Name, of context tags in
 * GeneralNames. An empty one is an empty Name, since GeneralNames has at least one. Its erratum
 * 3943 has [1] before the GeneralNames. */
static bool is_name(const struct der *element)
{
    return element->tag == DER_SEQUENCE &&
           (element->content.len == 0 || der_next_is(element->content, DER_SET));
}

static bool take_field(struct bytes *cur, struct der *ret)
{
    return der_next_is(*cur, TAGGED) ? der_take_tag(cur, TAGGED, ret)
                                     : der_take_tag(cur, DER_SEQUENCE, ret);
}

static X509_NAME *name_read(const struct der *element)
{
    const unsigned char *p = element->whole.ptr;
    X509_NAME *name = d2i_X509_NAME(NULL, &p, (long)element->whole.len);
    if (name && p == element->whole.ptr + element->whole.len)
        return name;
    X509_NAME_free(name);
    return NULL;
}

static GENERAL_NAMES *sans_read(const struct der *element)
{
    struct buf der = {0};
    GENERAL_NAMES *sans = NULL;
    if (buf_add(&der, element->content) && der_wrap(&der, 0, DER_SEQUENCE)) {
        const unsigned char *p = der.ptr;
        sans = d2i_GENERAL_NAMES(NULL, &p, (long)der.len);
        if (sans && (p != der.ptr + der.len || sk_GENERAL_NAME_num(sans) == 0)) {
            GENERAL_NAMES_free(sans);
            sans = NULL;
        }
    }
    buf_free(&der);
    return sans;
}

bool change_parse(struct bytes der, struct names *ret, struct err *err)
{
    struct der outer, first, second = {0};
    X509_NAME *subject = NULL;
    GENERAL_NAMES *sans = NULL;
    bool ok = der_check(der, CHANGE_DEPTH, CHANGE_ELEMENTS) &&
              der_take_tag(&der, DER_SEQUENCE, &outer) && take_field(&outer.content, &first);
    if (ok && is_name(&first)) {
        subject = name_read(&first);
        ok = subject && (!outer.content.len || take_field(&outer.content, &second));
        first = second;
    } else if (ok) {
        subject = X509_NAME_new();
        if (!subject)
            err_no_memory();
    }
    if (ok && first.whole.len) {
        sans = is_name(&first) ? NULL : sans_read(&first);
        ok = sans;
    }
    ok = ok && !outer.content.len;
    ok = ok ? names_parse(subject, sans, ret, err)
            : err_openssl(err, ERR_PEER, "a malformed ChangeSubjectName");
    X509_NAME_free(subject);
    GENERAL_NAMES_free(sans);
    return ok;
}
