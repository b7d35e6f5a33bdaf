#include "base/der.h"

#include <stdint.h>
#include <stdlib.h>

/* Takes elements, and those inside them, as long as there are any. */
static void walk(struct bytes cur, unsigned depth)
{
    struct der element;
    for (unsigned n = 0; n < 100 && depth < 8 && der_take(&cur, &element); n++) {
        if (element.content.len > element.whole.len)
            abort();
        walk(element.content, depth + 1);
    }
}

/* What passes der_check as a whole can be taken as one element. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of(data, size);
    struct der element;
    bool fine = der_check(in, 16, 1000);
    walk(in, 0);
    if (fine && (!der_take(&in, &element) || in.len))
        abort();
    return 0;
}
