noinst_LIBRARIES += libengine.a
libengine_a_SOURCES = \
	%D%/base/available.c %D%/base/available.h \
	%D%/base/cli.c %D%/base/cli.h \
	%D%/base/clones.h \
	%D%/base/clock.c %D%/base/clock.h \
	%D%/base/digest.c %D%/base/digest.h \
	%D%/base/endian.h \
	%D%/base/error.c %D%/base/error.h \
	%D%/base/json.c %D%/base/json.h \
	%D%/base/log.c %D%/base/log.h \
	%D%/base/map.c %D%/base/map.h \
	%D%/base/mem.c %D%/base/mem.h \
	%D%/base/pool.c %D%/base/pool.h \
	%D%/base/progress.c %D%/base/progress.h \
	%D%/base/random.h \
	%D%/base/utf8.c %D%/base/utf8.h

include engine/weights/local.mk
include engine/tokenizer/local.mk
include engine/arch/local.mk
include engine/core.mk
