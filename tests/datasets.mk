# tests of datasets
check_PROGRAMS += tests/test_corpus
tests_test_corpus_SOURCES = tests/test_corpus.c tests/allocations.c tests/allocations.h
tests_test_corpus_LDADD = libdatasets.a libengine.a $(DATASET_LIBS) $(TEST_LIBS)
tests_test_corpus_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)
