#include "base/change.h"

#include "base/der.h"

#define CHANGE_DEPTH 8
#define CHANGE_ELEMENTS 2048

/* Both are a SEQUENCE without a tag of its own: of sets in a Name, of context tags in
 * GeneralNames. An empty one is an empty Name, since GeneralNames has at least one. */
static bool is_name(const struct der *element)
{
    return element->content.len == 0 || der_next_is(element->content, DER_SET);
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
    const unsigned char *p = element->whole.ptr;
    GENERAL_NAMES *sans = d2i_GENERAL_NAMES(NULL, &p, (long)element->whole.len);
    if (sans && p == element->whole.ptr + element->whole.len)
        return sans;
    GENERAL_NAMES_free(sans);
    return NULL;
}

bool change_parse(struct bytes der, struct names *ret, struct err *err)
{
    struct der outer, first, second = {0};
    X509_NAME *subject = NULL;
    GENERAL_NAMES *sans = NULL;
    bool ok = der_check(der, CHANGE_DEPTH, CHANGE_ELEMENTS) &&
              der_take_tag(&der, DER_SEQUENCE, &outer) &&
              der_take_tag(&outer.content, DER_SEQUENCE, &first);
    if (ok && is_name(&first)) {
        subject = name_read(&first);
        ok = subject && (!outer.content.len || der_take_tag(&outer.content, DER_SEQUENCE, &second));
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
