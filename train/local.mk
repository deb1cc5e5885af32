# pre-training: parameters, one step of forward and backward, the optimiser
noinst_LIBRARIES += libtrain.a
# Only then are square roots turned into vector code; no result changes.
libtrain_a_CFLAGS = $(AM_CFLAGS) -fno-math-errno
libtrain_a_SOURCES = \
	%D%/adamw.c %D%/adamw.h \
	%D%/attention.c \
	%D%/back_attention.c \
	%D%/back_experts.c \
	%D%/back_layers.c \
	%D%/back_ops.c %D%/back_ops.h \
	%D%/back_router.c \
	%D%/bigram.c %D%/bigram.h \
	%D%/checkpoint.c %D%/checkpoint.h \
	%D%/experts.c \
	%D%/groups.c %D%/groups.h \
	%D%/head.c \
	%D%/journal.c %D%/journal.h \
	%D%/layers.c \
	%D%/net.c %D%/net.h \
	%D%/pieces.c %D%/pieces.h \
	%D%/router_loss.c \
	%D%/step.c %D%/step.h %D%/step_internal.h \
	%D%/tile.c %D%/tile_internal.h \
	%D%/trainer.c %D%/trainer.h \
	%D%/windows.c %D%/windows.h

moetrace_SOURCES += %D%/cmd_train.c
dist_man_MANS += %D%/moetrace-train.1
