noinst_LIBRARIES += libanalysis.a
libanalysis_a_SOURCES = %D%/analysis.h %D%/table.h
