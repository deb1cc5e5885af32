# cmocka programs speak TAP. Each folder's tests stand in a list of their own.
TEST_EXTENSIONS = .sh
LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
# Shell tests print nothing when all is well and exit 77 when skipped.
# Sanitizers report as errors what the tests ask for: memory that is refused.
AM_TESTS_ENVIRONMENT = \
	ASAN_OPTIONS=allocator_may_return_null=1:$$ASAN_OPTIONS; \
	UBSAN_OPTIONS=print_stacktrace=1:$$UBSAN_OPTIONS; \
	CMOCKA_MESSAGE_OUTPUT=TAP; \
	export ASAN_OPTIONS UBSAN_OPTIONS CMOCKA_MESSAGE_OUTPUT; \
	TOP_SRCDIR='$(abs_top_srcdir)' TOP_BUILDDIR='$(abs_top_builddir)' \
	GOLDEN='$(GOLDEN)' MODEL='$(MODEL)' CC='$(CC)' SLOW='$(SLOW)'; \
	export TOP_SRCDIR TOP_BUILDDIR GOLDEN MODEL CC SLOW;

# Each allocation of the archives can be made to fail (allocations.h).
ALLOCATION_FLAGS = -Wl,--wrap=moe_calloc,--wrap=moe_reallocarray \
	-Wl,--wrap=moe_strdup,--wrap=moe_path_join
TEST_LIBS = $(CMOCKA_LIBS) $(ENGINE_LIBS)
EXTRA_DIST += %D%/cmocka.h %D%/near.h

# Comparisons with files that the project may not contain; skipped without them.
GOLDEN_TESTS =

if TESTS_ENABLED
include tests/base.mk
include tests/weights.mk
include tests/tokenizer.mk
include tests/datasets.mk
include tests/core.mk
include tests/probes.mk
include tests/import.mk
include tests/analysis.mk
include tests/report.mk
include tests/serving.mk
include tests/train.mk
include tests/cli.mk
TESTS += $(check_PROGRAMS)
endif

# What tests/cli/browser.sh needs, from npm: axe-core (MPL-2.0) and
# playwright-core (Apache-2.0). Nothing of it is built in or installed.
EXTRA_DIST += tests/browser/page.cjs tests/browser/package.json \
	tests/browser/package-lock.json
browser-tools:
	$(MKDIR_P) tests/browser
	test "$(srcdir)" = . || cp $(srcdir)/tests/browser/package.json \
	  $(srcdir)/tests/browser/package-lock.json tests/browser
	cd tests/browser && npm ci --no-audit --no-fund
clean-local:
	rm -rf tests/browser/node_modules

.PHONY: check-golden bench-analyses browser-tools
check-golden:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(GOLDEN_TESTS)'

# Analyses beside SQL and pandas; never part of a check.
EXTRA_DIST += %D%/bench/analyses.sh %D%/bench/analyses.sql \
	%D%/bench/analyses.py %D%/bench/analyses.awk
bench-analyses: moetrace$(EXEEXT) tests/plant_large$(EXEEXT) \
  tests/peak$(EXEEXT)
	TOP_SRCDIR='$(abs_top_srcdir)' TOP_BUILDDIR='$(abs_top_builddir)' \
	  $(SHELL) $(srcdir)/tests/bench/analyses.sh
