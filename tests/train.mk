# tests of train
check_PROGRAMS += tests/test_net tests/test_adamw
tests_test_net_SOURCES = tests/test_net.c
tests_test_net_LDADD = libtrain.a libengine.a $(TEST_LIBS)
tests_test_adamw_SOURCES = tests/test_adamw.c
tests_test_adamw_LDADD = libtrain.a libengine.a $(TEST_LIBS)
