# pre-training: parameters, one step of forward and backward, the optimiser
noinst_LIBRARIES += libtrain.a
# Only then are square roots turned into vector code; no result changes.
libtrain_a_CFLAGS = $(AM_CFLAGS) -fno-math-errno
libtrain_a_SOURCES = \
	%D%/adamw.c %D%/adamw.h \
	%D%/bigram.c %D%/bigram.h \
	%D%/checkpoint.c %D%/checkpoint.h \
	%D%/groups.c %D%/groups.h \
	%D%/journal.c %D%/journal.h \
	%D%/net.c %D%/net.h \
	%D%/pieces.c %D%/pieces.h \
	%D%/random.h \
	%D%/step.h \
	%D%/windows.c %D%/windows.h
