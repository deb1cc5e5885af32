# sources of engine/arch
