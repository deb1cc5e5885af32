libengine_a_SOURCES += \
	engine/dequant.c \
	engine/tensor.c engine/tensor.h
