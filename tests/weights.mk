# tests of weights
check_PROGRAMS += tests/test_tensor tests/test_weights tests/test_gguf \
	tests/test_model tests/test_reader
tests_test_tensor_SOURCES = tests/test_tensor.c
tests_test_tensor_LDADD = libengine.a $(TEST_LIBS)
tests_test_weights_SOURCES = tests/test_weights.c
tests_test_weights_LDADD = libengine.a $(TEST_LIBS)
tests_test_reader_SOURCES = tests/test_reader.c
tests_test_reader_LDADD = libengine.a $(TEST_LIBS)
tests_test_gguf_SOURCES = tests/test_gguf.c tests/gguf_put.h
tests_test_gguf_LDADD = libengine.a $(TEST_LIBS)

BLOCK_TYPES = F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K \
	IQ4_NL IQ4_XS
EXTRA_DIST += tests/golden/blocks/README.md \
	$(BLOCK_TYPES:%=tests/golden/blocks/%.bin) \
	$(BLOCK_TYPES:%=tests/golden/blocks/%.f32)

# Models with random weights, of any size.
check_LIBRARIES += tests/libtiny.a
tests_libtiny_a_SOURCES = tests/gguf_put.h tests/tiny.h tests/tiny_fill.c tests/tiny_fill.h \
	tests/tiny_plan.c tests/tiny_write.c tests/spm_toy.c tests/spm_toy.h
noinst_PROGRAMS += tests/tiny
tests_tiny_SOURCES = tests/tiny.c
tests_tiny_LDADD = tests/libtiny.a libengine.a $(TEST_LIBS)
tests_test_model_SOURCES = tests/test_model.c tests/allocations.c tests/allocations.h
tests_test_model_LDADD = tests/libtiny.a libengine.a $(TEST_LIBS)
tests_test_model_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)

dist_check_SCRIPTS += tests/cli/inspect.sh
TESTS += tests/cli/inspect.sh
