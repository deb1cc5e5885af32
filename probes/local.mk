noinst_LIBRARIES += libprobes.a
libprobes_a_SOURCES = \
	%D%/export.h %D%/export_field.c %D%/export_folder.c \
	%D%/export_internal.h %D%/export_routes.c \
	%D%/import.c %D%/import.h %D%/imports.def \
	%D%/import_cells.c %D%/import_cells.h \
	%D%/import_csv.c \
	%D%/npy.c %D%/npy.h \
	%D%/recorder.c %D%/recorder.h \
	%D%/trace.h %D%/trace_code.c \
	%D%/trace_db.c %D%/trace_internal.h \
	%D%/trace_publish.c %D%/trace_publish.h \
	%D%/trace_read.c %D%/trace_read.h \
	%D%/trace_schema.c \
	%D%/trace_text.c \
	%D%/trace_write.c %D%/trace_write.h \
	%D%/tracer.c %D%/tracer.h
moetrace_SOURCES += %D%/cmd_export.c %D%/cmd_import.c %D%/cmd_trace.c
dist_man_MANS += %D%/moetrace-export.1 %D%/moetrace-import.1 \
	%D%/moetrace-schema.7 %D%/moetrace-trace.1
