noinst_LIBRARIES += libprobes.a
libprobes_a_SOURCES = \
	%D%/facts.c %D%/facts.h \
	%D%/recorder.c %D%/recorder.h \
	%D%/trace.h %D%/trace_check.c %D%/trace_code.c \
	%D%/trace_db.c %D%/trace_internal.h \
	%D%/trace_cursor.c %D%/trace_opened.h \
	%D%/trace_encode.c %D%/trace_encode.h \
	%D%/trace_read.c %D%/trace_read.h \
	%D%/trace_rows.c %D%/trace_rows.h \
	%D%/trace_schema.c \
	%D%/trace_verify.c \
	%D%/trace_write.c %D%/trace_write.h \
	%D%/tracer.c %D%/tracer.h
moetrace_SOURCES += %D%/cmd_generate.c %D%/cmd_info.c %D%/cmd_trace.c
dist_man_MANS += %D%/moetrace-generate.1 %D%/moetrace-info.1 \
	%D%/moetrace-schema.7 %D%/moetrace-trace.1
include probes/import.mk
