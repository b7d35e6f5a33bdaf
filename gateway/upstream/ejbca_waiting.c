#include "gateway/upstream/ejbca_waiting.h"

#include <string.h>

#define DIGITS "0123456789"
#define END "/finalize"

static bool word_copy(struct bytes word, const char *alphabet, char *ret, size_t size)
{
    bool ok = word.len && word.len < size;
    for (size_t i = 0; i < word.len && ok; i++)
        ok = word.ptr[i] && strchr(alphabet, word.ptr[i]);
    if (ok) {
        memcpy(ret, word.ptr, word.len);
        ret[word.len] = 0;
    }
    return ok;
}

bool ejbca_waiting_read(struct bytes cookie, struct ejbca_waiting *ret)
{
    struct bytes number, password;
    if (!bytes_starts(cookie, "scepter-") &&
        (!bytes_take_until(&cookie, ' ', &number) || !bytes_take_until(&cookie, ' ', &password) ||
         !word_copy(number, DIGITS, ret->number, sizeof ret->number) ||
         !word_copy(password, DIGITS "abcdef", ret->password, sizeof ret->password)))
        return false;
    ret->username = cookie;
    return bytes_starts(cookie, "scepter-");
}

bool ejbca_number_of(const char *link, char ret[EJBCA_NUMBER_TEXT])
{
    struct bytes rest = bytes_str(link), word;
    if (rest.len <= strlen(END) || strcmp(link + rest.len - strlen(END), END) != 0)
        return false;
    rest.len -= strlen(END);
    while (bytes_take_until(&rest, '/', &word)) {
    }
    return word_copy(word, DIGITS, ret, EJBCA_NUMBER_TEXT);
}
