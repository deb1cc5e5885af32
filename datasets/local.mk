noinst_LIBRARIES += libdatasets.a
libdatasets_a_SOURCES = %D%/corpus.h
include datasets/demo/local.mk
