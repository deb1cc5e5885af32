# ops, router, policy, backends, forward pass and their commands

libengine_a_SOURCES += \
	%D%/attention.c \
	%D%/backend/amx.c %D%/backend/amx_dense.c \
	%D%/backend/amx_internal.h %D%/backend/amx_pack.c %D%/backend/amx_tiles.c \
	%D%/backend/backend.c %D%/backend/backend.h \
	%D%/backend/backend_internal.h %D%/backend/backends.def \
	%D%/backend/onednn.c \
	%D%/backend/openblas.c \
	%D%/backend/panels.c %D%/backend/panels.h \
	%D%/backend/ref.c \
	%D%/cache.c %D%/cache.h \
	%D%/cases.c %D%/cases.h \
	%D%/experts.c \
	%D%/forward.c %D%/forward.h %D%/forward_internal.h \
	%D%/generate.c %D%/generate.h \
	%D%/head.c \
	%D%/hook.h \
	%D%/ids.c %D%/ids.h \
	%D%/llama_bench.c %D%/llama_bench.h \
	%D%/ops.c %D%/ops.h \
	%D%/policy/model.c %D%/policy/policy.h \
	%D%/router.c %D%/router.h \
	%D%/sampling.c %D%/sampling.h \
	%D%/synthetic.c %D%/synthetic.h

moetrace_SOURCES += %D%/cmd_bench.c %D%/cmd_dump.c %D%/cmd_verify.c
dist_man_MANS += %D%/moetrace-bench.1 %D%/moetrace-dump.1 %D%/moetrace-verify.1
