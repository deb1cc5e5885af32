# tests of analysis: each links without the engine's matrix products
ANALYSIS_TESTS = tests/test_table tests/test_glyph tests/test_sets
check_PROGRAMS += $(ANALYSIS_TESTS)
ANALYSIS_LIBS = libanalysis.a libprobes.a libengine.a $(SQLITE_LIBS) $(TEST_LIBS)

tests_test_table_SOURCES = tests/test_table.c
tests_test_table_LDADD = $(ANALYSIS_LIBS)
tests_test_glyph_SOURCES = tests/test_glyph.c
tests_test_glyph_LDADD = $(ANALYSIS_LIBS)
tests_test_sets_SOURCES = tests/test_sets.c
tests_test_sets_LDADD = $(ANALYSIS_LIBS)
