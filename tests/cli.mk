# tests of cli
CLI_TESTS = \
	tests/cli/layers.sh \
	tests/cli/headers.sh \
	tests/cli/contributing.sh \
	tests/cli/lists.sh \
	tests/cli/format.sh \
	tests/cli/pages.sh \
	tests/cli/demo.sh \
	tests/cli/published.sh tests/cli/notebooks.sh \
	tests/cli/readme.sh \
	tests/cli/demo_study.sh \
	tests/cli/analyze.sh tests/cli/compare.sh \
	tests/cli/trace.sh \
	tests/cli/resume.sh tests/cli/sample.sh
dist_check_SCRIPTS += $(CLI_TESTS)
EXTRA_DIST += tests/cli/begin.sh
TESTS += $(CLI_TESTS)
