#!/bin/sh
# moetrace inspect: known figures, all three outputs, errors that name the file.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
moetrace=$TOP_BUILDDIR/moetrace
tiny=$TOP_BUILDDIR/tests/tiny
fail()
{
    echo "$*"
    exit 1
}
has()
{
    grep -qF -- "$2" "$dir/$1" || fail "$1 lacks: $2
$(cat "$dir/$1")"
}

# Mixtral 8x7B, by its configuration alone.
mkdir "$dir/8x7b"
cat >"$dir/8x7b/config.json" <<'END'
{"architectures": ["MixtralForCausalLM"], "model_type": "mixtral",
 "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
 "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8,
 "num_experts_per_tok": 2, "vocab_size": 32000, "rope_theta": 1000000.0,
 "rms_norm_eps": 1e-05, "max_position_embeddings": 32768, "sliding_window": null}
END
"$moetrace" inspect "$dir/8x7b" >"$dir/text"
has text '46,702,792,704'
has text '12,879,925,248'
has text 'none in this folder'
"$moetrace" inspect --json "$dir/8x7b" >"$dir/json"
has json '"parameters": 46702792704'
has json '"active_parameters": 12879925248'
has json '"window": null'
has json '"weights": null'

# The same weights in one file or three: the same digest.
"$tiny" -o "$dir/one" --type BF16
"$tiny" -o "$dir/three" --type BF16 --shards 3
"$moetrace" inspect --digest "$dir/one" >"$dir/a"
"$moetrace" inspect --digest "$dir/three" >"$dir/b"
has a '1 file,'
has b '3 files,'
[ "$(grep ^digest "$dir/a")" = "$(grep ^digest "$dir/b")" ] || fail 'digests differ'
has a 'tokenizer     512 pieces'
"$moetrace" inspect --json --tensors "$dir/three" >"$dir/json"
has json '"main_type": "BF16"'
has json 'model-00002-of-00003.safetensors'

# Every tensor, once.
"$tiny" -o "$dir/m.gguf" --layout gguf --dim 256 --type Q4_K --layers 3
"$moetrace" inspect --tensors --csv "$dir/m.gguf" >"$dir/csv"
[ "$(wc -l <"$dir/csv")" = $((1 + 3 + 3 * 10)) ] || fail "rows: $(wc -l <"$dir/csv")"
has csv '"blk.2.ffn_gate_exps.weight",Q4_K,8 x 96 x 256,'
"$moetrace" inspect -t "$dir/m.gguf" >"$dir/text"
has text 'gguf files'
has text 'Q4_K'

# One clear line, and its exit status.
refused()
{
    rc=0
    "$moetrace" inspect $2 >"$dir/out" 2>"$dir/err" || rc=$?
    [ "$rc" = "$1" ] || fail "inspect $2: exit $rc"
    [ ! -s "$dir/out" ] || fail "inspect $2 printed"
    [ "$(wc -l <"$dir/err")" = 1 ] || fail "inspect $2: $(cat "$dir/err")"
    has err "$3"
}
refused 2 "--csv $dir/one" 'goes with --tensors'
refused 1 "$dir/none" "$dir/none: No such file"
refused 1 "$dir/8x7b --digest" 'no weights to digest'
rm "$dir/three/model-00002-of-00003.safetensors"
refused 1 "$dir/three" 'model-00002-of-00003.safetensors: missing'
sed -i 's/"vocab_size": 512/"vocab_size": 500/' "$dir/one/config.json"
refused 1 "$dir/one" 'is [512, 64], the configuration says [500, 64]'
head -c 5000 "$dir/m.gguf" >"$dir/short.gguf"
refused 1 "$dir/short.gguf" 'short.gguf: '
