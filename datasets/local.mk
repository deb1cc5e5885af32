noinst_LIBRARIES += libdatasets.a
libdatasets_a_SOURCES = \
	%D%/corpus.c %D%/corpus.h %D%/corpus_internal.h \
	%D%/csv.c \
	%D%/csv_rows.c %D%/csv_rows.h \
	%D%/files.c \
	%D%/gz.c \
	%D%/jsonl.c \
	%D%/lines.c %D%/lines.h \
	%D%/sample.c %D%/sample.h \
	%D%/stream.c \
	%D%/text.c \
	%D%/zst.c
include datasets/demo/local.mk
