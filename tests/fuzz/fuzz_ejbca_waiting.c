#include "gateway/upstream/ejbca_waiting.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is read is a number that can stand in a URL, and a username of ours. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ejbca_waiting was = {0};
    struct buf text = {0};
    char number[EJBCA_NUMBER_TEXT] = "";
    if (ejbca_waiting_read(bytes_of(data, size), &was) &&
        (was.number[strspn(was.number, "0123456789")] || !bytes_starts(was.username, "scepter-")))
        abort();
    if (buf_set(&text, bytes_of(data, size)) && ejbca_number_of(buf_str(&text), number) &&
        (!number[0] || number[strspn(number, "0123456789")]))
        abort();
    buf_free(&text);
    return 0;
}
