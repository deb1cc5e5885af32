# tests of train
check_PROGRAMS += tests/test_net tests/test_adamw
tests_test_net_SOURCES = tests/test_net.c
tests_test_net_LDADD = libtrain.a libengine.a $(TEST_LIBS)
tests_test_adamw_SOURCES = tests/test_adamw.c
tests_test_adamw_LDADD = libtrain.a libengine.a $(TEST_LIBS)
check_PROGRAMS += tests/test_windows tests/test_checkpoint
tests_test_windows_SOURCES = tests/test_windows.c tests/allocations.c \
	tests/allocations.h tests/spm_toy.c tests/spm_toy.h
tests_test_windows_LDADD = libtrain.a libdatasets.a libengine.a \
	$(DATASET_LIBS) $(TEST_LIBS)
tests_test_windows_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)
tests_test_checkpoint_SOURCES = tests/test_checkpoint.c tests/spm_toy.c \
	tests/spm_toy.h
tests_test_checkpoint_LDADD = libtrain.a libengine.a $(TEST_LIBS)
