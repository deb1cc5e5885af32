libengine_a_SOURCES += \
	%D%/arch.c %D%/arch.h %D%/archs.def \
	%D%/mixtral.c
