# import, export, merge, and runs by several processes
libprobes_a_SOURCES += \
	%D%/export.h %D%/export_field.c %D%/export_folder.c \
	%D%/export_internal.h %D%/export_routes.c \
	%D%/import.c %D%/import.h %D%/imports.def \
	%D%/import_cells.c %D%/import_cells.h \
	%D%/import_cells_internal.h %D%/import_cells_write.c \
	%D%/import_arrays.c %D%/import_arrays.h \
	%D%/import_csv.c %D%/import_hf_logits.c %D%/import_jsonl.c \
	%D%/import_llamacpp.c %D%/import_vllm.c \
	%D%/mpi.h \
	%D%/npy.c %D%/npy.h \
	%D%/ranks.c %D%/ranks.h \
	%D%/trace_merge.c %D%/trace_merge.h \
	%D%/trace_publish.c %D%/trace_publish.h
if MPI
libprobes_a_SOURCES += %D%/mpi.c
libprobes_a_CPPFLAGS = $(AM_CPPFLAGS) $(MPI_CFLAGS)
else
libprobes_a_SOURCES += %D%/mpi_none.c
endif
moetrace_SOURCES += %D%/cmd_export.c %D%/cmd_import.c %D%/cmd_merge.c
dist_man_MANS += %D%/moetrace-export.1 %D%/moetrace-import.1 \
	%D%/moetrace-merge.1
