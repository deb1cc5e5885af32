# tests of datasets
check_PROGRAMS += tests/test_corpus tests/test_sample
tests_test_corpus_SOURCES = tests/test_corpus.c tests/allocations.c tests/allocations.h
tests_test_corpus_LDADD = libdatasets.a libengine.a $(DATASET_LIBS) $(TEST_LIBS)
tests_test_corpus_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)
tests_test_sample_SOURCES = tests/test_sample.c tests/allocations.c
tests_test_sample_LDADD = $(tests_test_corpus_LDADD)
tests_test_sample_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)
