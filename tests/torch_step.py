#!/usr/bin/python3
"""The training step once more in PyTorch, on what tests/step_once left in DIR.

    torch_step.py DIR check [TOLERANCE]  loss and gradients equal?
    torch_step.py DIR time STEPS [bf16]  tokens a second of forward, backward, AdamW

Experts run one after the other, each on the rows that chose it, as Hugging Face's
Mixtral does it; losses are those of train/step.h. With bf16 the products of the
layers run in that type (torch.autocast), the rest in float32.
"""
import math
import sys
import time

import numpy
import torch
import torch.nn.functional as F


def read_shape(folder):
    with open(folder + "/shape.txt") as f:
        pairs = [line.split() for line in f]
    return {k: float(v) if k in ("theta", "eps", "balance", "z") else int(v)
            for k, v in pairs}


def read_arena(folder, name):
    """Tensors by their names, [rows, cols], norms [cols]."""
    data = torch.from_numpy(numpy.fromfile(folder + "/" + name, numpy.float32))
    tensors = {}
    with open(folder + "/tensors.txt") as f:
        for line in f:
            key, offset, rows, cols = line.split()
            offset, rows, cols = int(offset), int(rows), int(cols)
            t = data[offset:offset + rows * cols].clone()
            norm = key.endswith("norm.weight")
            tensors[key] = t if norm else t.view(rows, cols)
    return tensors


def norm(x, w, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def rotate(x, cosine, sine):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cosine - b * sine, b * cosine + a * sine), -1)


class Net:
    def __init__(self, shape, weights):
        self.s = shape
        self.w = {k: v.requires_grad_() for k, v in weights.items()}
        n, half = shape["length"], shape["d_head"] // 2
        turn = shape["theta"] ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = torch.arange(n, dtype=torch.float64)[:, None] * turn
        self.cosine, self.sine = angle.cos().float(), angle.sin().float()
        self.mask = torch.full((n, n), -math.inf).triu(1)

    def attention(self, x, at):
        s, w = self.s, self.w
        b, n, _ = x.shape

        def heads(name, count):
            y = F.linear(x, w[at + name + "_proj.weight"])
            return y.view(b, n, count, s["d_head"]).transpose(1, 2)

        q = rotate(heads("q", s["heads"]), self.cosine, self.sine)
        k = rotate(heads("k", s["kv_heads"]), self.cosine, self.sine)
        v = heads("v", s["kv_heads"])
        group = s["heads"] // s["kv_heads"]
        if group > 1:
            k = k.repeat_interleave(group, 1)
            v = v.repeat_interleave(group, 1)
        score = q @ k.transpose(2, 3) / math.sqrt(s["d_head"]) + self.mask
        mixed = score.float().softmax(-1).to(v.dtype) @ v
        mixed = mixed.transpose(1, 2).reshape(b, n, -1)
        return F.linear(mixed, w[at + "o_proj.weight"])

    def experts(self, h, at, logits):
        s, w = self.s, self.w
        kept, chosen = logits.topk(s["top_k"], -1)
        gates = kept.softmax(-1)
        out = torch.zeros_like(h)
        for e in range(s["experts"]):
            row, rank = torch.where(chosen == e)
            name = "%sexperts.%d." % (at, e)
            x = h.index_select(0, row)
            y = F.silu(F.linear(x, w[name + "w1.weight"]))
            y = y * F.linear(x, w[name + "w3.weight"])
            y = F.linear(y, w[name + "w2.weight"])
            y = y.to(out.dtype) * gates[row, rank, None]
            out = out.index_add(0, row, y)
        return out, chosen

    def losses(self, ids, target):
        """Cross-entropy, load-balancing loss, z-loss."""
        s, w = self.s, self.w
        x = F.embedding(ids, w["model.embed_tokens.weight"])
        counts = target.flatten() >= 0
        all_logits, all_chosen = [], []
        for layer in range(s["layers"]):
            at = "model.layers.%d." % layer
            h = norm(x, w[at + "input_layernorm.weight"], s["eps"])
            x = x + self.attention(h, at + "self_attn.")
            h = norm(x, w[at + "post_attention_layernorm.weight"], s["eps"])
            h = h.view(-1, s["dim"])
            at += "block_sparse_moe."
            with torch.autocast("cpu", enabled=False):
                logits = F.linear(h, w[at + "gate.weight"])
            y, chosen = self.experts(h, at, logits)
            x = x + y.view(x.shape)
            all_logits.append(logits[counts])
            all_chosen.append(chosen[counts])
        x = norm(x, w["model.norm.weight"], s["eps"])
        score = F.linear(x, w.get("lm_head.weight",
                                  w["model.embed_tokens.weight"]))
        loss = F.cross_entropy(score.view(-1, s["vocab"]).float(),
                               target.flatten(), ignore_index=-1)
        logits = torch.cat(all_logits)
        probability = logits.softmax(-1).mean(0)
        shares = F.one_hot(torch.cat(all_chosen), s["experts"])
        shares = shares.to(logits.dtype).mean(0)
        balance = s["experts"] * (shares * probability).sum()
        return loss, balance, logits.logsumexp(-1).pow(2).mean()

    def total(self, ids, target):
        loss, balance, z = self.losses(ids, target)
        return loss + self.s["balance"] * balance + self.s["z"] * z


def check(folder, net, ids, target, tolerance):
    want = numpy.fromfile(folder + "/loss.bin", numpy.float64)
    got = net.losses(ids, target)
    bad = 0
    for name, a, b in zip(("loss", "balance", "z"), want, got):
        if abs(a - b.item()) > tolerance * abs(a):
            print("%s: %.9g, here %.9g" % (name, a, b.item()))
            bad += 1
    net.total(ids, target).backward()
    for name, mine in read_arena(folder, "grad.bin").items():
        theirs = net.w[name].grad
        error = ((mine - theirs).norm() / (theirs.norm() + 1e-12)).item()
        if not error < tolerance:
            print("%s: gradients differ by %.3g of their norm" % (name, error))
            bad += 1
    return 1 if bad else 0


def clock(net, ids, target, steps, half):
    weights = list(net.w.values())
    groups = [{"params": [w for w in weights if w.dim() > 1], "weight_decay": 0.1},
              {"params": [w for w in weights if w.dim() == 1], "weight_decay": 0}]
    adam = torch.optim.AdamW(groups, 1e-3, (0.9, 0.95), foreach=True)
    times = []
    for _ in range(steps + 1):
        begin = time.perf_counter()
        adam.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            total = net.total(ids, target)
        total.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1)
        adam.step()
        times.append(time.perf_counter() - begin)
    n = ids.numel()
    times = times[1:]  # the first one finds its memory
    print("loss %.6f; %.0f tokens a second, %.0f in the quickest step"
          % (total.item(), n * len(times) / sum(times), n / min(times)))


def main(argv):
    folder, what = argv[1], argv[2]
    shape = read_shape(folder)
    net = Net(shape, read_arena(folder, "param.bin"))
    ids = numpy.fromfile(folder + "/ids.bin", numpy.int32).astype(numpy.int64)
    ids, target = torch.from_numpy(ids).view(2, shape["windows"], -1)
    if what == "check":
        return check(folder, net, ids, target,
                     float(argv[3]) if len(argv) > 3 else 1e-4)
    clock(net, ids, target, int(argv[3]), "bf16" in argv[4:])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
