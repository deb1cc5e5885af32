# what serving a model needs to know: load, caches, ranks, confidence
libanalysis_a_SOURCES += \
	%D%/an_balance.c \
	%D%/an_cache.c \
	%D%/an_confidence.c \
	%D%/an_parallel.c \
	%D%/an_segments.c \
	%D%/compare.c %D%/compare.h \
	%D%/losses.c %D%/losses.h \
	%D%/means.c %D%/means.h \
	%D%/placement.c %D%/placement.h \
	%D%/saturation.c \
	%D%/shift.c %D%/shift.h \
	%D%/spread.c %D%/spread.h \
	%D%/stacks.c %D%/stacks.h \
	%D%/tally.c %D%/tally.h \
	%D%/ties.c %D%/ties.h \
	%D%/twin.c %D%/twin.h
moetrace_SOURCES += %D%/cmd_compare.c
dist_man_MANS += %D%/moetrace-compare.1
