noinst_LIBRARIES += libprobes.a
libprobes_a_SOURCES = %D%/trace.h %D%/trace_read.h %D%/trace_write.h
