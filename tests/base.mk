check_PROGRAMS += tests/test_base
tests_test_base_SOURCES = tests/test_base.c
tests_test_base_LDADD = libengine.a $(TEST_LIBS)
