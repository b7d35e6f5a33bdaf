#include "est/door.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A path that is accepted names an operation and a label of the permitted characters. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char permitted[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";
    char label[EST_LABEL_MAX + 1] = "";
    enum est_op op = EST_OP_COUNT;
    if (!est_path_parse(bytes_of(data, size), &op, label))
        return 0;
    size_t len = strnlen(label, sizeof label);
    if ((unsigned)op >= EST_OP_COUNT || len > EST_LABEL_MAX || strspn(label, permitted) != len ||
        strcmp(label, ".") == 0 || strcmp(label, "..") == 0)
        abort();
    for (unsigned i = 0; i < EST_OP_COUNT; i++)
        if (strcmp(label, est_op_name((enum est_op)i)) == 0)
            abort();
    return 0;
}
