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
check_PROGRAMS += tests/test_gradients
tests_test_gradients_SOURCES = tests/test_gradients.c tests/plain.c tests/plain.h
tests_test_gradients_LDADD = libtrain.a libengine.a $(TEST_LIBS)
check_PROGRAMS += tests/test_step
tests_test_step_SOURCES = tests/test_step.c tests/allocations.c tests/allocations.h
tests_test_step_LDADD = libtrain.a libengine.a $(TEST_LIBS)
tests_test_step_LDFLAGS = $(AM_LDFLAGS) $(ALLOCATION_FLAGS)
noinst_PROGRAMS += tests/step_once
tests_step_once_SOURCES = tests/step_once.c
tests_step_once_LDADD = libtrain.a libengine.a $(ENGINE_LIBS)

dist_check_SCRIPTS += tests/cli/train.sh
TESTS += tests/cli/train.sh
check_PROGRAMS += tests/test_trainer
tests_test_trainer_SOURCES = tests/test_trainer.c
tests_test_trainer_LDADD = libtrain.a libdatasets.a libengine.a \
	$(DATASET_LIBS) $(TEST_LIBS)
dist_check_SCRIPTS += tests/cli/torch.sh
TESTS += tests/cli/torch.sh
EXTRA_DIST += tests/torch_step.py
