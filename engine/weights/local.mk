# sources of engine/weights
