#!/usr/bin/env python3
"""Writes the golden files beside this script: inputs and results of the ops that are easy to get subtly wrong,
computed by PyTorch on the CPU in float64. tests/kernels/golden.cpp and tests/transform/optimizer.cpp compare Heddle's references with them.

    python3 -m venv VENV && VENV/bin/pip install torch==2.4.1 "numpy<2" && VENV/bin/python make_golden.py

A file is a list of cases: op, why the case exists, attributes, inputs (null: absent), outputs. Inputs are short binary
fractions, so that every dtype used here holds them exactly; outputs carry 17 significant digits. A case whose inputs
are 16-bit or float32 still holds float64 results: the reference rounds once, at the end.
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F

HERE = pathlib.Path(__file__).resolve().parent
INF = float("inf")


def draw(seed, *shape, scale=1.0, step=1 / 64):
    """Normal numbers rounded to multiples of `step`, at most 8 significant bits: exact in bfloat16."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, generator=generator, dtype=torch.float64) * scale
    x = torch.round(x / step) * step
    return x.to(torch.bfloat16).to(torch.float64)


def number(v):
    if math.isnan(v):
        return "nan"
    if math.isinf(v):
        return "inf" if v > 0 else "-inf"
    return int(v) if v == int(v) and abs(v) < 2**53 else float(f"{v:.17g}")


def tensor(t, dtype="float64"):
    if t is None:
        return None
    t = t.detach()
    values = [number(float(v)) for v in t.double().reshape(-1).tolist()]
    return {"dtype": dtype, "shape": list(t.shape), "values": values}


def case(op, why, attributes, inputs, outputs):
    """inputs and outputs: tensors, (tensor, dtype name) pairs, or None."""
    pack = lambda x: tensor(*x) if isinstance(x, tuple) else tensor(x)
    return {"op": op, "why": why, "attributes": attributes, "inputs": [pack(x) for x in inputs],
            "outputs": [pack(x) for x in outputs]}


def write(name, cases):
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    (HERE / name).write_text("[\n" + lines + "\n]\n")


def softmax():
    cases = []

    def add(why, x, axis, dtype="float64"):
        x.requires_grad_()
        y, logy = F.softmax(x, axis), F.log_softmax(x, axis)
        cases.append(case("softmax", why, {"axis": axis}, [(x, dtype)], [(y, dtype)]))
        cases.append(case("log_softmax", why, {"axis": axis}, [(x, dtype)], [(logy, dtype)]))
        if dtype == "float64":
            dy = draw(9, *x.shape)
            (dx,) = torch.autograd.grad(y, x, dy)
            cases.append(case("softmax_grad", why, {"axis": axis}, [y, dy], [dx]))

    add("last axis", draw(1, 2, 5), 1)
    add("middle axis", draw(2, 2, 3, 2), 1)
    add("large and shifted values must not overflow", draw(3, 2, 4) * 64 + 1024, 1)
    add("minus infinity is weight 0", torch.tensor([[0.5, -INF, 1.0], [-INF, 2.0, -INF]], dtype=torch.float64), 1)
    add("a row of minus infinities is NaN", torch.full((1, 2), -INF, dtype=torch.float64), 1)
    add("bfloat16", draw(4, 1, 6), 1, "bfloat16")
    write("softmax.json", cases)


def normalize():
    cases = []
    for why, x, epsilon in [
        ("plain", draw(1, 3, 6), 1e-5),
        ("rank 3", draw(2, 2, 2, 4), 1e-6),
        ("a large mean beside a small spread", draw(3, 2, 5) + 4096, 1e-5),
        ("a constant row: epsilon alone under the root", torch.full((1, 4), 3.0, dtype=torch.float64), 1e-3),
    ]:
        d = x.shape[-1]
        scale, bias, dy = draw(11, d) + 1, draw(12, d), draw(13, *x.shape)
        leaves = [t.requires_grad_() for t in (x, scale, bias)]
        y, mean, rstd = torch.native_layer_norm(x, [d], scale, bias, epsilon)
        grads = torch.autograd.grad(y, leaves, dy)
        cases.append(case("layer_norm", why, {"epsilon": epsilon}, [x, scale, bias], [y, mean, rstd]))
        cases.append(case("layer_norm_grad", why, {}, [dy, x, scale, mean, rstd], grads))

        y = F.rms_norm(x, [d], scale, epsilon)
        rstd = torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)
        grads = torch.autograd.grad(y, [x, scale], dy)
        cases.append(case("rms_norm", why, {"epsilon": epsilon}, [x, scale], [y, rstd]))
        cases.append(case("rms_norm_grad", why, {}, [dy, x, scale, rstd], grads))
    write("normalize.json", cases)


def attention_in_torch(q, k, v, visible, bias, scale):
    """bhsd. Fully masked rows give 0; everything else is scaled_dot_product_attention, asserted below."""
    groups = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    scores = q @ k.transpose(-1, -2) * scale
    if bias is not None:
        scores = scores + bias
        visible = visible & torch.isfinite(bias)
    some = visible.any(-1, keepdim=True)
    scores = scores.masked_fill(~visible, -INF)
    lse = torch.logsumexp(scores, -1)
    p = torch.softmax(scores.masked_fill(~some, 0.0), -1) * some
    out = p @ v
    library = F.scaled_dot_product_attention(q, k, v, attn_mask=torch.zeros_like(scores).masked_fill(~visible, -INF)
                                             + (bias.nan_to_num(neginf=0.0) if bias is not None else 0), scale=scale)
    assert torch.allclose(torch.where(some, library, torch.zeros_like(library)), out, rtol=1e-12, atol=1e-13)
    return out, lse


def attention():
    cases = []
    for why, (b, h, hk, s, t, d, dv), options in [
        ("plain", (1, 2, 2, 3, 3, 4, 4), {}),
        ("causal", (1, 1, 1, 4, 4, 2, 2), {"causal": True}),
        ("causal with more keys than queries: the last query sees every key", (1, 1, 1, 2, 5, 2, 2), {"causal": True}),
        ("causal with fewer keys than queries: the first queries see nothing", (1, 1, 1, 4, 2, 2, 3), {"causal": True}),
        ("grouped queries, values of another size, own scale", (2, 4, 2, 2, 3, 2, 3), {"scale": 0.5}),
        ("boolean mask with a row that sees nothing", (1, 2, 1, 3, 4, 2, 2), {"mask": "bool"}),
        ("added mask with minus infinity, over heads", (1, 2, 2, 3, 4, 2, 2), {"mask": "float"}),
        ("causal and masked, positions before heads", (1, 2, 1, 3, 3, 2, 2), {"mask": "bool", "causal": True,
                                                                            "layout": "bshd"}),
    ]:
        q, k, v = draw(1, b, h, s, d), draw(2, b, hk, t, d), draw(3, b, hk, t, dv)
        dout = draw(4, b, h, s, dv)
        causal, scale = options.get("causal", False), options.get("scale", 0.0)
        layout = options.get("layout", "bhsd")
        visible, bias, mask = torch.ones(b, h, s, t, dtype=torch.bool), None, None
        if causal:
            visible = visible & torch.ones(s, t, dtype=torch.bool).tril(diagonal=t - s)
        if options.get("mask") == "bool":
            m = torch.rand(s, t, generator=torch.Generator().manual_seed(5)) < 0.6
            m[0, :] = False
            m[1, 0] = True
            visible, mask = visible & m, (m, "bool")
        if options.get("mask") == "float":
            bias = draw(6, h, 1, t)
            bias[0, 0, 1] = -INF
            mask = (bias, "float64")
        leaves = [x.requires_grad_() for x in (q, k, v)]
        out, lse = attention_in_torch(q, k, v, visible, bias, scale or 1 / math.sqrt(d))
        dq, dk, dv_ = torch.autograd.grad(out, leaves, dout)
        lay = (lambda x: x) if layout == "bhsd" else (lambda x: x.transpose(1, 2))
        attributes = {"causal": causal, "scale": float(scale), "layout": layout}
        cases.append(case("attention", why, attributes, [lay(q), lay(k), lay(v), mask], [lay(out), lse]))
        cases.append(case("attention_grad", why, attributes, [lay(q), lay(k), lay(v), mask, lay(out), lse, lay(dout)],
                          [lay(dq), lay(dk), lay(dv_)]))
    write("attention.json", cases)


def rope():
    cases = []
    b, h, s, d = 1, 2, 3, 4
    angle = torch.outer(torch.arange(s, dtype=torch.float64), 100.0 ** -(torch.arange(0, d, 2) / d))
    # The tables are inputs: keep few digits, exact in float32.
    cos, sin = (torch.round(f(angle) * 256) / 256 for f in (torch.cos, torch.sin))
    x = draw(1, b, h, s, d)
    for layout in ("bhsd", "bshd"):
        for interleaved in (False, True):
            for inverse in (False, True):
                sine = -sin if inverse else sin
                if interleaved:  # as complex numbers
                    pairs = torch.view_as_complex(x.reshape(b, h, s, d // 2, 2).contiguous())
                    y = torch.view_as_real(pairs * torch.complex(cos, sine)).reshape(b, h, s, d)
                else:  # rotate_half
                    full = lambda table: torch.cat([table, table], -1)
                    half = torch.cat([-x[..., d // 2:], x[..., : d // 2]], -1)
                    y = x * full(cos) + half * full(sine)
                lay = (lambda t: t) if layout == "bhsd" else (lambda t: t.transpose(1, 2))
                cases.append(case("rope", f"{layout}, {'interleaved' if interleaved else 'half-split'}"
                                  f"{', inverse' if inverse else ''}",
                                  {"layout": layout, "interleaved": interleaved, "inverse": inverse},
                                  [lay(x), (cos, "float32"), (sin, "float32")], [lay(y)]))
    write("rope.json", cases)


def loss():
    cases = []
    for why, logits, targets, ignore in [
        ("plain", draw(1, 3, 5), [1, 0, 4], -100),
        ("ignored positions have loss and gradient 0", draw(2, 2, 2, 3), [[2, -100], [-100, 0]], -100),
        ("a class may be the ignored one", draw(3, 3, 4), [0, 3, 1], 3),
        ("large values must not overflow", draw(4, 2, 3) * 256, [0, 2], -100),
    ]:
        targets = torch.tensor(targets)
        logits.requires_grad_()
        c = logits.shape[-1]
        loss_ = F.cross_entropy(logits.reshape(-1, c), targets.reshape(-1), ignore_index=ignore,
                                reduction="none").reshape(targets.shape)
        lse = torch.logsumexp(logits, -1)
        dloss = draw(7, *targets.shape)
        (dlogits,) = torch.autograd.grad(loss_, logits, dloss)
        attributes = {"ignore_index": ignore}
        cases.append(case("cross_entropy", why, attributes, [logits, (targets, "int64")], [loss_, lse]))
        cases.append(case("cross_entropy_grad", why, attributes, [dloss, logits, (targets, "int64"), lse], [dlogits]))
    write("loss.json", cases)


def optimizer():
    cases = []
    lr = 0.0078125

    def scalar(v):
        return (torch.tensor(float(v)), "float32")

    def run(op, make, names, attributes, why, with_step):
        params = [draw(1, 2, 3).requires_grad_(), draw(2, 4).requires_grad_()]
        torch_optimizer = make(params)
        state = {n: [torch.zeros_like(p) for p in params] for n in names}
        for step in range(1, 4):
            before = [p.detach().clone() for p in params]
            grads = [draw(10 * step + i, *p.shape) for i, p in enumerate(params)]
            if step == 2:
                grads[1] = torch.zeros_like(grads[1])
            old = {n: [t.clone() for t in ts] for n, ts in state.items()}
            for p, g in zip(params, grads):
                p.grad = g.clone()
            torch_optimizer.step()
            for n in names:
                state[n] = [torch_optimizer.state[p][n].detach().clone() for p in params]
            head = [scalar(lr)] + ([scalar(step)] if with_step else [])
            cases.append(case(op, f"{why}, step {step}", {**attributes, "count": 2},
                              head + before + grads + [t for n in names for t in old[n]],
                              [p.detach() for p in params] + [t for n in names for t in state[n]]))

    sgd = lambda **o: lambda params: torch.optim.SGD(params, lr=lr, **o)
    run("sgd", sgd(weight_decay=0.25), [], {"momentum": 0.0, "weight_decay": 0.25, "nesterov": False},
        "weight decay alone", False)
    run("sgd", sgd(momentum=0.875, weight_decay=0.25), ["momentum_buffer"],
        {"momentum": 0.875, "weight_decay": 0.25, "nesterov": False}, "momentum", False)
    run("sgd", sgd(momentum=0.875, nesterov=True), ["momentum_buffer"],
        {"momentum": 0.875, "weight_decay": 0.0, "nesterov": True}, "Nesterov", False)
    for op, make in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)):
        run(op, lambda params, m=make: m(params, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.125),
            ["exp_avg", "exp_avg_sq"],
            {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8, "weight_decay": 0.125}, "weight decay", True)

    for why, limit in [("above the limit", 1.0), ("below the limit: unchanged", 100.0)]:
        grads = [draw(1, 2, 3), draw(2, 4)]
        held = [torch.nn.Parameter(torch.zeros_like(g)) for g in grads]
        for p, g in zip(held, grads):
            p.grad = g.clone()
        norm = torch.nn.utils.clip_grad_norm_(held, limit)
        cases.append(case("global_norm", why, {}, grads, [norm]))
        cases.append(case("clip_by_global_norm", why, {"max_norm": limit}, grads, [p.grad for p in held] + [norm]))
    write("optimizer.json", cases)


def activation():
    x = torch.cat([torch.linspace(-6, 6, 13, dtype=torch.float64), torch.tensor([-40.0, 0.125, 30.0])]).double()
    cases = []
    for op, f in [
        ("gelu_erf", lambda t: F.gelu(t)),
        ("gelu_tanh", lambda t: F.gelu(t, approximate="tanh")),
        ("silu", F.silu),
        ("softplus", F.softplus),
        ("relu", F.relu),
        ("sigmoid", torch.sigmoid),
    ]:
        leaf = x.clone().requires_grad_()
        # F.softplus turns linear above 20; the difference is below float64's rounding there.
        y = f(leaf)
        cases.append(case(op, "scalar step", {}, [x], [y]))
        if op in ("gelu_erf", "gelu_tanh", "silu"):
            (dx,) = torch.autograd.grad(y, leaf, torch.ones_like(y))
            cases.append(case(op + "_grad", "scalar step", {}, [x], [dx]))
    write("activation.json", cases)


def movement():
    """Ops that move, choose or add elements. Values repeat, so that ties and their order show."""
    cases = []
    x = draw(1, 3, 4, 5, step=0.5)
    i64 = "int64"

    def add(op, why, attributes, inputs, outputs):
        cases.append(case(op, why, attributes, inputs, outputs))

    for kind, f in [("sum", torch.sum), ("mean", torch.mean), ("max", torch.amax), ("min", torch.amin)]:
        for axes in ([1], [0, 2], [0, 1, 2]):
            for keepdims in (False, True):
                add("reduce", "floats", {"kind": kind, "axes": axes, "keepdims": keepdims}, [x], [f(x, axes, keepdims)])
    add("reduce", "floats", {"kind": "prod", "axes": [2]}, [x], [torch.prod(x, 2)])
    n = torch.tensor([[100, 100, -3], [7, -128, 127]], dtype=torch.int8)
    add("reduce", "int8 wraps", {"kind": "sum", "axes": [1]}, [(n, "int8")], [(torch.sum(n, 1, dtype=torch.int8), "int8")])
    nan = torch.tensor([[1.0, math.nan, 3.0], [2.0, 2.0, 1.0], [-INF, 0.0, INF]], dtype=torch.float64)
    add("reduce", "NaN wins", {"kind": "max", "axes": [1]}, [nan], [torch.amax(nan, 1)])
    add("reduce", "NaN wins", {"kind": "min", "axes": [1]}, [nan], [torch.amin(nan, 1)])
    for axis in range(3):
        for keepdims in (False, True):
            for kind, f in [("max", torch.argmax), ("min", torch.argmin)]:
                add("argmax", "ties take the first", {"axis": axis, "keepdims": keepdims, "kind": kind}, [x],
                    [(f(x, axis, keepdims), i64)])
        for descending in (False, True):
            values, indices = torch.sort(x, dim=axis, descending=descending, stable=True)
            add("sort", "ties keep their order", {"axis": axis, "descending": descending}, [x], [values, (indices, i64)])
        for largest in (False, True):
            values, indices = torch.sort(x, dim=axis, descending=largest, stable=True)  # torch.topk leaves the order of ties open
            add("topk", "ties take the first", {"axis": axis, "k": 2, "largest": largest}, [x],
                [values.narrow(axis, 0, 2), (indices.narrow(axis, 0, 2), i64)])
            assert torch.equal(torch.topk(x, 2, axis, largest).values, values.narrow(axis, 0, 2))
        flipped = torch.flip(torch.cumsum(torch.flip(x, [axis]), axis), [axis])
        add("cumsum", "forward", {"axis": axis}, [x], [torch.cumsum(x, axis)])
        add("cumsum", "backward", {"axis": axis, "reverse": True}, [x], [flipped])
        add("cumsum", "exclusive", {"axis": axis, "exclusive": True}, [x], [torch.cumsum(x, axis) - x])
        add("cumsum", "exclusive, backward", {"axis": axis, "exclusive": True, "reverse": True}, [x], [flipped - x])
    for descending in (False, True):
        values, indices = torch.sort(nan, dim=1, descending=descending, stable=True)
        add("sort", "NaN is the largest", {"axis": 1, "descending": descending}, [nan], [values, (indices, i64)])
    add("argmax", "NaN is the largest", {"axis": 1}, [nan], [(torch.argmax(nan, 1), i64)])

    add("transpose", "three axes", {"order": [2, 0, 1]}, [x], [x.permute(2, 0, 1)])
    add("slice", "begin, end and step", {"begin": [0, 1, 1], "end": [3, 4, 5], "step": [2, 1, 3]}, [x], [x[0:3:2, 1:4, 1:5:3]])
    add("pad", "both sides of two axes", {"before": [1, 0, 2], "after": [0, 0, 1], "value": -7.0}, [x],
        [F.pad(x, (2, 1, 0, 0, 1, 0), value=-7.0)])
    y = draw(2, 3, 2, 5, step=0.5)
    add("concat", "three parts", {"axis": 1}, [x, y, x], [torch.cat([x, y, x], 1)])
    add("broadcast", "a new axis and a stretched one", {"shape": [2, 3, 4]}, [y[:, :1, 0]], [y[:, :1, 0].expand(2, 3, 4)])

    rows = torch.tensor([[2, 0], [1, 2]])
    for axis in range(3):
        flat = torch.index_select(x, axis, rows.reshape(-1))
        shape = x.shape[:axis] + rows.shape + x.shape[axis + 1:]
        add("gather", "rows of any axis", {"axis": axis}, [x, (rows, i64)], [flat.reshape(shape)])
        updates = draw(3 + axis, *shape, step=0.5)
        flat_updates = updates.reshape(flat.shape)
        add("scatter", "equal rows add up", {"axis": axis, "mode": "add"}, [x, (rows, i64), updates],
            [torch.index_add(x, axis, rows.reshape(-1), flat_updates)])
        once = torch.tensor([2, 0])
        part = flat_updates.narrow(axis, 0, 2)
        add("scatter", "rows are replaced", {"axis": axis, "mode": "set"}, [x, (once, i64), part],
            [torch.index_copy(x, axis, once, part)])
    table = draw(8, 6, 3, step=0.5)
    add("embedding", "rows", {}, [table, (rows, i64)], [F.embedding(rows, table)])
    dy = draw(9, 2, 2, 3, step=0.5)
    leaf = table.clone().requires_grad_()
    (grad,) = torch.autograd.grad(F.embedding(rows, leaf), leaf, dy)
    add("embedding_grad", "rows", {"rows": 6}, [dy, (rows, i64)], [grad])
    add("one_hot", "depth 4", {"depth": 4}, [(rows, i64)], [(F.one_hot(rows, 4), "float32")])

    a, b = draw(10, 2, 1, 3, 4), draw(11, 3, 4, 2)
    add("matmul", "batches broadcast", {}, [a, b], [a @ b])
    add("matmul", "both transposed", {"transpose_a": True, "transpose_b": True}, [a.mT.contiguous(), b.mT.contiguous()], [a @ b])
    m, k = torch.tensor([[127, -128], [5, 6]]), torch.tensor([[127, 1], [-128, 2]])
    add("matmul", "int8 gives int32", {}, [(m, "int8"), (k, "int8")], [(m @ k, "int32")])
    write("movement.json", cases)


def train():
    """Whole training steps of gelu(x @ w1 + b1) @ w2 + b2 under cross entropy: losses before each update, and the
    parameters after the last."""
    runs = []
    w = {"w1": draw(1, 3, 4), "b1": draw(2, 4), "w2": draw(3, 4, 3), "b2": draw(4, 3)}
    batches = [(draw(10 + i, 4, 3), torch.tensor([0, 2, -100, i % 3])) for i in range(6)]
    peak, warmup, total = 0.0625, 2, 5

    def cosine(t):
        if t < warmup:
            return peak * t / warmup
        share = min(1.0, (t - warmup) / (total - warmup))
        return peak * 0.5 * (1 + math.cos(math.pi * share))

    def run(name, make, rate=lambda t: peak, clip=0.0, accumulate=1, frozen=(), bias_scale=1.0):
        p = {k: v.clone().requires_grad_(k not in frozen) for k, v in w.items()}
        weights = [v for k, v in p.items() if k[0] == "w" and v.requires_grad]
        biases = [v for k, v in p.items() if k[0] == "b" and v.requires_grad]
        optimizer = make([{"params": weights}, {"params": biases, "weight_decay": 0.0}])
        losses, norms, t = [], [], 1
        for i, (x, targets) in enumerate(batches):
            logits = F.gelu(x @ p["w1"] + p["b1"]) @ p["w2"] + p["b2"]
            loss = F.cross_entropy(logits, targets)
            losses.append(loss)
            (loss / accumulate).backward()
            if (i + 1) % accumulate:
                continue
            if clip:
                norms.append(torch.nn.utils.clip_grad_norm_(weights + biases, clip))
            optimizer.param_groups[0]["lr"] = rate(t)
            optimizer.param_groups[1]["lr"] = rate(t) * bias_scale
            optimizer.step()
            optimizer.zero_grad()
            t += 1
        runs.append({"name": name, "losses": tensor(torch.stack(losses)),
                     "norms": tensor(torch.stack(norms)) if norms else None,
                     "after": {k: tensor(v) for k, v in p.items()}})

    run("sgd", lambda g: torch.optim.SGD(g, lr=peak, momentum=0.875, nesterov=True, weight_decay=0.125))
    run("adam", lambda g: torch.optim.Adam(g, lr=peak, weight_decay=0.125), frozen=("b1",))
    run("adamw", lambda g: torch.optim.AdamW(g, lr=peak, weight_decay=0.125), rate=cosine, clip=0.25, bias_scale=0.5)
    run("accumulate", lambda g: torch.optim.AdamW(g, lr=peak, weight_decay=0.125), clip=0.25, accumulate=2)
    golden = {"parameters": {k: tensor(v) for k, v in w.items()},
              "batches": [{"x": tensor(x), "targets": tensor(t, "int64")} for x, t in batches], "runs": runs}
    (HERE / "train.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    for make in (softmax, normalize, attention, rope, loss, optimizer, activation, movement, train):
        make()
