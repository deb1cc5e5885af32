check_LIBRARIES += tests/libplanted.a
tests_libplanted_a_SOURCES = tests/planted.c tests/planted.h

check_PROGRAMS += tests/test_trace tests/test_trace_hostile
tests_test_trace_SOURCES = tests/test_trace.c
tests_test_trace_LDADD = tests/libplanted.a libprobes.a libengine.a \
	$(SQLITE_LIBS) $(TEST_LIBS)
tests_test_trace_hostile_SOURCES = tests/test_trace_hostile.c
tests_test_trace_hostile_LDADD = tests/libplanted.a libprobes.a libengine.a \
	$(SQLITE_LIBS) $(TEST_LIBS)

dist_check_SCRIPTS += tests/cli/generate.sh
TESTS += tests/cli/generate.sh
