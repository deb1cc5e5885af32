"""The tables of analyses.sh with pandas, from the views of a trace."""
import sqlite3
import sys

import pandas

run = sqlite3.connect(sys.argv[1])
route = pandas.read_sql("SELECT document, position, layer, rank, expert FROM selection", run)
token = pandas.read_sql("SELECT document, position, window, vocab, phase FROM token", run)
document = pandas.read_sql("SELECT document, domain FROM document", run)
token = token[token.phase != "bos"].merge(document)
for column in ("domain", "phase"):
    token[column] = token[column].astype("category")
route = route.merge(token)


def show(name, table):
    for key, value in table.items():
        print(name, *key, value, sep=",")


by = {"sort": False, "observed": True}
show("share", route.groupby(["layer", "domain", "rank", "expert"], **by).size())

first = route[route["rank"] == 0].sort_values(["layer", "document", "position"])
before = first.groupby(["layer", "document", "window"], **by).expert.shift()
repeats = (first.expert == before).groupby([first.layer, first.domain], observed=True).sum()
pairs = before.notna().groupby([first.layer, first.domain], observed=True).sum()
for (layer, domain), n in pairs.items():
    print("repeat", layer, domain, "-", "-", f"{repeats[layer, domain]}/{n}", sep=",")

count = route.groupby(["layer", "vocab", "expert"], **by).size()
most = count.groupby(["layer", "vocab"]).max().groupby("layer").sum()
total = count.groupby("layer").sum()
for layer, n in total.items():
    print("special", layer, "-", "-", "-", f"{most[layer]}/{n}", sep=",")

second = route[route["rank"] == 1][["document", "position", "layer", "expert"]]
pair = first.merge(second, on=["document", "position", "layer"], suffixes=("", "_2"))
pair["low"] = pair[["expert", "expert_2"]].min(axis=1)
pair["high"] = pair[["expert", "expert_2"]].max(axis=1)
show("pair", pair.groupby(["layer", "domain", "low", "high"], **by).size())
