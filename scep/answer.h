/* Answers outside the protocol. Internal to scep/. */
#ifndef SCEP_ANSWER_H
#define SCEP_ANSWER_H

#include "scep/door.h"

/* Nothing that a signed answer could be addressed to was read. text is static. */
void scep_answer_http(struct scep_reply *reply, int status, const char *text);
/* Could not decide: 503, and err for the operator. */
void scep_answer_fault(struct scep_reply *reply, const struct err *err);

#endif
