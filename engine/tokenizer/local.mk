# sources of engine/tokenizer
