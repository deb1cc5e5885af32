# tests of import, export and merge
check_PROGRAMS += tests/test_import
tests_test_import_SOURCES = tests/test_import.c
tests_test_import_LDADD = tests/libplanted.a libprobes.a libdatasets.a \
	libengine.a $(DATASET_LIBS) $(SQLITE_LIBS) $(TEST_LIBS)
