# tests of what serving a model needs: balance, caches, ranks, confidence
check_PROGRAMS += tests/test_balance tests/test_cache tests/test_parallel \
	tests/test_segments tests/test_confidence tests/test_compare

tests_test_balance_SOURCES = tests/test_balance.c
tests_test_balance_LDADD = $(ANALYSIS_LIBS)
tests_test_cache_SOURCES = tests/test_cache.c
tests_test_cache_LDADD = $(ANALYSIS_LIBS)
tests_test_parallel_SOURCES = tests/test_parallel.c
tests_test_parallel_LDADD = $(ANALYSIS_LIBS)
tests_test_segments_SOURCES = tests/test_segments.c
tests_test_segments_LDADD = $(ANALYSIS_LIBS)
tests_test_confidence_SOURCES = tests/test_confidence.c
tests_test_confidence_LDADD = $(ANALYSIS_LIBS)
tests_test_compare_SOURCES = tests/test_compare.c
tests_test_compare_LDADD = $(ANALYSIS_LIBS)
