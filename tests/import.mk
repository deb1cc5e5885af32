# tests of import, export and merge
check_PROGRAMS += tests/test_import tests/test_import_formats \
	tests/test_export tests/test_merge tests/test_npy
tests_test_import_SOURCES = tests/test_import.c
tests_test_import_LDADD = tests/libplanted.a libprobes.a libdatasets.a \
	libengine.a $(DATASET_LIBS) $(SQLITE_LIBS) $(TEST_LIBS)
tests_test_import_formats_SOURCES = tests/test_import_formats.c
tests_test_import_formats_LDADD = $(tests_test_import_LDADD)
tests_test_export_SOURCES = tests/test_export.c
tests_test_export_LDADD = $(tests_test_import_LDADD)
tests_test_merge_SOURCES = tests/test_merge.c
tests_test_merge_LDADD = $(tests_test_import_LDADD)
tests_test_npy_SOURCES = tests/test_npy.c
tests_test_npy_LDADD = libprobes.a libengine.a $(TEST_LIBS)

IMPORT_TESTS = tests/cli/import.sh tests/cli/imported.sh \
	tests/cli/links.sh tests/cli/malformed.sh tests/cli/mpi.sh tests/cli/shards.sh
dist_check_SCRIPTS += $(IMPORT_TESTS)
TESTS += $(IMPORT_TESTS)
