/* Published vocabularies against SentencePiece: needs the folder GOLDEN. */
#include "config.h"

#include "tests/cmocka.h"
#include "tests/spm_toy.h"

#include <stdio.h>
#include <stdlib.h>

static void the_mistral_vocabulary_gives_the_ids_of_sentencepiece(void **state)
{
    char *model = toy_path("GOLDEN", "tokenizers/mistral-v1/tokenizer.model");
    char *folder = toy_path("GOLDEN", "tokenizers/mistral-v1");

    (void)state;
    toy_golden(model, folder, 133, 40);
    free(model);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mistral_vocabulary_gives_the_ids_of_sentencepiece),
    };

    if (!getenv("GOLDEN") || !*getenv("GOLDEN")) {
        puts("1..0 # SKIP make check-golden GOLDEN=DIR runs this");
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
