libengine_a_SOURCES += \
	engine/dequant.c engine/dequant_internal.h engine/dequant_wide.c \
	engine/model.c engine/model.h \
	engine/tensor.c engine/tensor.h \
	%D%/gguf.c %D%/gguf_internal.h %D%/gguf_meta.c \
	%D%/reader.c %D%/reader.h \
	%D%/safetensors.c \
	%D%/weights.c %D%/weights.h %D%/weights_internal.h

moetrace_SOURCES += engine/cmd_inspect.c
dist_man_MANS += engine/moetrace-inspect.1
