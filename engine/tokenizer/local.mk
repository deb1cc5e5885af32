# sources of engine/tokenizer
libengine_a_SOURCES += \
	%D%/spm.c \
	%D%/spm_file.c \
	%D%/spm_gguf.c \
	%D%/spm_proto.c \
	%D%/tokenizer.h \
	%D%/vocab.c %D%/vocab_internal.h

moetrace_SOURCES += engine/cmd_tokenize.c
dist_man_MANS += engine/moetrace-tokenize.1
