# tests of what serving a model needs: balance, caches, ranks, confidence
check_PROGRAMS += tests/test_balance

tests_test_balance_SOURCES = tests/test_balance.c
tests_test_balance_LDADD = $(ANALYSIS_LIBS)
