#include "gateway/upstream/acme_ari.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever a CA answers, a window that is taken ends after its start and names an https URL or
 * none. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct up_window window;
    struct json *json = NULL;
    struct err err;
    if (json_parse(bytes_of(data, size), &json, &err) && acme_window_read(json, &window, &err) &&
        (window.end <= window.start || (window.why[0] && !acme_url_fits(window.why))))
        abort();
    json_free(json);
    return 0;
}
