# tests of datasets
check_PROGRAMS += tests/test_corpus
tests_test_corpus_SOURCES = tests/test_corpus.c
tests_test_corpus_LDADD = libdatasets.a libengine.a $(DATASET_LIBS) $(TEST_LIBS)
# Each allocation of the archives can be made to fail.
tests_test_corpus_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=moe_calloc,--wrap=moe_reallocarray
