noinst_LIBRARIES += libdatasets.a
libdatasets_a_SOURCES = %D%/corpus.h \
	%D%/csv_rows.c %D%/csv_rows.h
include datasets/demo/local.mk
