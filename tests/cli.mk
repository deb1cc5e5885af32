# tests of cli
CLI_TESTS = \
	tests/cli/demo.sh \
	tests/cli/published.sh
dist_check_SCRIPTS += $(CLI_TESTS)
TESTS += $(CLI_TESTS)
