check_PROGRAMS += tests/test_base tests/test_available tests/test_map
tests_test_base_SOURCES = tests/test_base.c
tests_test_base_LDADD = libengine.a $(TEST_LIBS)
tests_test_available_SOURCES = tests/test_available.c
tests_test_available_LDADD = libengine.a $(TEST_LIBS)
tests_test_map_SOURCES = tests/test_map.c
tests_test_map_LDADD = libengine.a $(TEST_LIBS)
