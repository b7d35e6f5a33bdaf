/* The word that was probably meant. */
#ifndef CONFIG_WORD_H
#define CONFIG_WORD_H

#include <stddef.h>

/* The one of words that differs least, if it differs little; else NULL. */
const char *cfg_word_near(const char *word, const char *const *words, size_t count);

#endif
