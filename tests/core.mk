# tests of core
check_PROGRAMS += tests/test_router tests/test_ops tests/test_backend
tests_test_router_SOURCES = tests/test_router.c
tests_test_router_LDADD = libengine.a $(TEST_LIBS)
tests_test_ops_SOURCES = tests/test_ops.c
tests_test_ops_LDADD = libengine.a $(TEST_LIBS)
tests_test_backend_SOURCES = tests/test_backend.c
tests_test_backend_LDADD = libengine.a $(TEST_LIBS)
check_PROGRAMS += tests/test_sampling tests/test_generate
tests_test_sampling_SOURCES = tests/test_sampling.c
tests_test_sampling_LDADD = libengine.a $(TEST_LIBS)
tests_test_generate_SOURCES = tests/test_generate.c tests/run.c tests/run.h \
	tests/allocations.c tests/allocations.h
tests_test_generate_LDADD = libengine.a $(TEST_LIBS)
tests_test_generate_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)
check_PROGRAMS += tests/test_cached tests/test_forward tests/test_layer
tests_test_cached_SOURCES = tests/test_cached.c tests/run.c tests/run.h \
	tests/spm_toy.c tests/spm_toy.h
tests_test_cached_LDADD = libengine.a $(TEST_LIBS)
tests_test_forward_SOURCES = tests/test_forward.c tests/run.c tests/run.h
tests_test_forward_LDADD = libengine.a $(TEST_LIBS)
tests_test_layer_SOURCES = tests/test_layer.c tests/run.c tests/run.h
tests_test_layer_LDADD = libengine.a $(TEST_LIBS)

noinst_PROGRAMS += tests/compare_dumps tests/no_amx tests/peak
tests_no_amx_SOURCES = tests/no_amx.c
tests_peak_SOURCES = tests/peak.c
tests_compare_dumps_SOURCES = tests/compare_dumps.c
tests_compare_dumps_LDADD = libengine.a $(ENGINE_LIBS)

GOLDEN_TESTS += tests/cli/golden.sh
dist_check_SCRIPTS += tests/cli/bench.sh tests/cli/cut.sh tests/cli/dump.sh tests/cli/golden.sh \
	tests/cli/memory.sh tests/cli/no_amx.sh tests/cli/verify.sh
TESTS += tests/cli/bench.sh tests/cli/cut.sh tests/cli/dump.sh tests/cli/memory.sh \
	tests/cli/no_amx.sh tests/cli/verify.sh

EXTRA_DIST += tests/golden/README.md \
	tests/golden/mixtral-docs-bf16/golden.safetensors \
	tests/golden/mixtral-docs-bf16/tokens.txt \
	tests/golden/mixtral-docs-bf16/model/config.json \
	tests/golden/mixtral-docs-bf16/model/model.safetensors \
	tests/golden/mixtral-long-window64-f32/golden.safetensors \
	tests/golden/mixtral-long-window64-f32/tokens.txt \
	tests/golden/mixtral-long-window64-f32/model/config.json \
	tests/golden/mixtral-long-window64-f32/model/model.safetensors \
	tests/golden/mixtral-version2-f16/golden.safetensors \
	tests/golden/mixtral-version2-f16/tokens.txt \
	tests/golden/mixtral-version2-f16/model.gguf
