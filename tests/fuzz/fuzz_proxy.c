#include "gateway/proxy.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is done is done at its own length, and not before. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct net_addr address = {.family = NET_UNIX}, ignored;
    char text[NET_TEXT_MAX];
    size_t len = 0, again = 0;
    if (proxy_parse(bytes_of(data, size), &len, &address) != PROXY_DONE)
        return 0;
    net_addr_text(&address, text);
    if (len > size || len > PROXY_MAX ||
        proxy_parse(bytes_of(data, len), &again, &ignored) != PROXY_DONE || again != len ||
        proxy_parse(bytes_of(data, len - 1), &again, &ignored) != PROXY_MORE)
        abort();
    return 0;
}
