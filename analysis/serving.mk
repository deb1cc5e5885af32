# what serving a model needs to know: load, caches, ranks, confidence
libanalysis_a_SOURCES += \
	%D%/an_balance.c \
	%D%/tally.c %D%/tally.h
