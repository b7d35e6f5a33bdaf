#include "scep/query.h"

#include "scep/scep.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every query has an operation with a name, and a message is never longer than its text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes query = bytes_of(data, size);
    enum scep_operation operation = scep_query_operation(query);
    if ((unsigned)operation > SCEP_OP_UNKNOWN || !scep_operation_name(operation))
        abort();
    struct buf der = BUF_INIT(SCEP_MSG_MAX);
    struct err err = {0};
    if (scep_query_message(query, &der, &err)) {
        if (der.len > size || der.len > SCEP_MSG_MAX || !memmem(data, size, "message=", 8))
            abort();
    } else if (err.kind != ERR_PEER || !err.text[0]) {
        abort();
    }
    buf_free(&der);
    return 0;
}
