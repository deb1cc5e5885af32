noinst_LIBRARIES += libprobes.a
libprobes_a_SOURCES = \
	%D%/trace.h %D%/trace_code.c \
	%D%/trace_db.c %D%/trace_internal.h \
	%D%/trace_read.c %D%/trace_read.h \
	%D%/trace_schema.c \
	%D%/trace_write.c %D%/trace_write.h
