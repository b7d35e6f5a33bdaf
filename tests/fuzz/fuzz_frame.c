#include "gateway/frame.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reading in pieces comes to the same as reading at once; what was rewritten is read again, and is
 * its own rewriting. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct frame_rules rules = {1000, size % 2}, lenient = {1000, false};
    struct frame whole = {0}, pieces = {0}, again = {0};
    struct buf once = {0}, twice = {0};
    enum frame_result result = frame_scan(&whole, &rules, bytes_of(data, size));
    enum frame_result piece = FRAME_MORE;
    for (size_t len = 1; len <= size && piece == FRAME_MORE; len += 1 + len / 8)
        piece = frame_scan(&pieces, &rules, bytes_of(data, len));
    if (piece == FRAME_MORE)
        piece = frame_scan(&pieces, &rules, bytes_of(data, size));
    if (piece != result || pieces.status != whole.status || pieces.total != whole.total)
        abort();
    if (result == FRAME_DONE) {
        if (!frame_rewrite(&whole, bytes_of(data, size), false, &once) ||
            frame_scan(&again, &lenient, buf_bytes(&once)) != FRAME_DONE ||
            again.total != once.len || again.length != whole.length ||
            !frame_rewrite(&again, buf_bytes(&once), false, &twice) ||
            !bytes_equal(buf_bytes(&once), buf_bytes(&twice)))
            abort();
    }
    buf_free(&once);
    buf_free(&twice);
    return 0;
}
