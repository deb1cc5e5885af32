noinst_LIBRARIES += libdatasets.a
libdatasets_a_SOURCES = %D%/corpus.h
