#include "scep/answer.h"

void scep_answer_http(struct scep_reply *reply, int status, const char *text)
{
    reply->status = status;
    reply->content_type = "text/plain";
    buf_clear(&reply->body);
    if (!buf_add_str(&reply->body, text))
        buf_clear(&reply->body);
}

void scep_answer_fault(struct scep_reply *reply, const struct err *err)
{
    ra_note_set(&reply->note, "error", err_kind_name(err->kind), "%s", err->text);
    reply->note.fault = true;
    reply->delivers[0] = '\0';
    scep_answer_http(reply, 503, "try again later\n");
}
