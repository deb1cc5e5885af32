# tests of tokenizer
check_PROGRAMS += tests/test_tokenizer
tests_test_tokenizer_SOURCES = tests/test_tokenizer.c tests/allocations.c tests/allocations.h tests/spm_toy.c tests/spm_toy.h
tests_test_tokenizer_LDADD = libengine.a $(TEST_LIBS)
tests_test_tokenizer_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)
GOLDEN_TESTS += tests/golden_tokenizer
check_PROGRAMS += tests/golden_tokenizer
tests_golden_tokenizer_SOURCES = tests/golden_tokenizer.c tests/spm_toy.c tests/spm_toy.h
tests_golden_tokenizer_LDADD = libengine.a $(TEST_LIBS)
EXTRA_DIST += tests/golden/tokenizer/README.md \
	tests/golden/tokenizer/demo/encode.jsonl tests/golden/tokenizer/demo/decode.jsonl \
	tests/golden/tokenizer/gguf/encode.jsonl tests/golden/tokenizer/gguf/decode.jsonl \
	tests/golden/tokenizer/gguf/vocabulary.gguf
dist_check_SCRIPTS += tests/cli/tokenize.sh
TESTS += tests/cli/tokenize.sh
