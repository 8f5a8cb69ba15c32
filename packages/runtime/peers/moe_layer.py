"""Layers of experts as others run them, forward and backward in bf16, timed when asked.

    python3 moe_layer.py '{"tokens": 8192, "hidden": 4096, "ffn": 14336, "experts": 8, "picks": 2}'

Reads lines of JSON: {"prepare": NAME} or {"time": NAME, "milliseconds": LENGTH_OF_A_RUN}; answers each with one line
of JSON. A run follows one of the same length that is not timed.
Peers: transformers' own block with its grouped_mm experts, eager and compiled; and PyTorch by hand, a product an
expert, no autograd.
"""

import json
import sys

import torch


def uniform(*size, scale):
    return torch.empty(*size, device="cuda", dtype=torch.bfloat16).uniform_(-scale, scale)


WEIGHTS = 0.0346  # uniform with a standard deviation of 0.02


class Transformers:
    """MixtralSparseMoeBlock: softmax over all experts, the picks' probabilities divided by their sum."""

    def __init__(self, shape, compiled):
        from transformers.models.mixtral.configuration_mixtral import MixtralConfig
        from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

        config = MixtralConfig(
            hidden_size=shape["hidden"],
            intermediate_size=shape["ffn"],
            num_local_experts=shape["experts"],
            num_experts_per_tok=shape["picks"],
        )
        config._experts_implementation = "grouped_mm"
        with torch.device("cuda"):
            self.block = MixtralSparseMoeBlock(config).to(torch.bfloat16)
        for parameter in self.block.parameters():
            parameter.data.uniform_(-WEIGHTS, WEIGHTS)
        self.call = torch.compile(self.block) if compiled else self.block
        self.x = uniform(1, shape["tokens"], shape["hidden"], scale=1).requires_grad_()
        self.dy = uniform(1, shape["tokens"], shape["hidden"], scale=1)

    def step(self):
        for parameter in self.block.parameters():
            parameter.grad = None
        self.x.grad = None
        self.call(self.x).backward(self.dy)


class ByHand:
    """A product an expert through cuBLAS, buffers kept, the combine's weights folded into the activation.

    What PyTorch can do without autograd."""

    def __init__(self, shape):
        self.shape = shape
        h, f, e = shape["hidden"], shape["ffn"], shape["experts"]
        self.router = uniform(e, h, scale=WEIGHTS)
        self.gate_up = uniform(e, 2 * f, h, scale=WEIGHTS)
        self.down = uniform(e, h, f, scale=WEIGHTS)
        self.gradients = [torch.empty_like(weight) for weight in (self.router, self.gate_up, self.down)]
        self.x = uniform(shape["tokens"], h, scale=1)
        self.dy = uniform(shape["tokens"], h, scale=1)
        rows = shape["tokens"] * shape["picks"]
        new = lambda columns: torch.empty(rows, columns, device="cuda", dtype=torch.bfloat16)
        self.gu, self.dact, self.rows = new(2 * f), new(f), new(h)
        self.activate = torch.compile(self._activate)
        self.activate_backward = torch.compile(self._activate_backward)

    @staticmethod
    def _activate(gu, weight):
        gate, up = gu.float().chunk(2, -1)
        return (weight[:, None] * torch.nn.functional.silu(gate) * up).bfloat16()

    @staticmethod
    def _activate_backward(gu, dact, weight):
        gate, up = gu.float().chunk(2, -1)
        d = dact.float()
        sigmoid = torch.sigmoid(gate)
        silu = gate * sigmoid
        dweight = (silu * up * d).sum(-1)
        dgate = weight[:, None] * d * up * sigmoid * (1 + gate * (1 - sigmoid))
        return torch.cat([dgate, weight[:, None] * d * silu], -1).bfloat16(), dweight

    def step(self):
        with torch.no_grad():
            self._step()

    def _step(self):
        k, e, tokens = self.shape["picks"], self.shape["experts"], self.shape["tokens"]
        drouter, dgate_up, ddown = self.gradients
        probabilities = torch.softmax((self.x @ self.router.t()).float(), -1)
        top, ids = probabilities.topk(k, -1)
        weights = top / top.sum(-1, keepdim=True)
        order = torch.argsort(ids.flatten(), stable=True)
        counts = torch.bincount(ids.flatten(), minlength=e).tolist()
        token, weight = order // k, weights.flatten()[order]
        back = torch.empty_like(order)
        back[order] = torch.arange(order.numel(), device="cuda")
        x = self.x[token]
        ranges, start = [], 0
        for count in counts:
            ranges.append(slice(start, start + count))
            start += count
        for i, r in enumerate(ranges):
            torch.mm(x[r], self.gate_up[i].t(), out=self.gu[r])
        act = self.activate(self.gu, weight)
        for i, r in enumerate(ranges):
            torch.mm(act[r], self.down[i].t(), out=self.rows[r])
        y = self.rows[back].view(tokens, k, -1).sum(1)
        dy = self.dy[token]
        for i, r in enumerate(ranges):
            torch.mm(dy[r], self.down[i], out=self.dact[r])
            torch.mm(dy[r].t(), act[r], out=ddown[i])
        dgu, dweight = self.activate_backward(self.gu, self.dact, weight)
        for i, r in enumerate(ranges):
            torch.mm(dgu[r], self.gate_up[i], out=self.rows[r])
            torch.mm(dgu[r].t(), x[r], out=dgate_up[i])
        dpicked = dweight[back].view(tokens, k)
        total = top.sum(-1, keepdim=True)
        dtop = (dpicked - (dpicked * weights).sum(-1, keepdim=True)) / total
        dprobabilities = torch.zeros_like(probabilities).scatter_(1, ids, dtop)
        dlogits = probabilities * (dprobabilities - (probabilities * dprobabilities).sum(-1, keepdim=True))
        dlogits = dlogits.bfloat16()
        torch.mm(dlogits.t(), self.x, out=drouter)
        self.dx = self.rows[back].view(tokens, k, -1).sum(1) + dlogits @ self.router
        return y


PEERS = {
    "transformers grouped_mm": lambda shape: Transformers(shape, False),
    "transformers grouped_mm, compiled": lambda shape: Transformers(shape, True),
    "PyTorch by hand, cuBLAS loop": ByHand,
}


def milliseconds(step, calls):
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(calls):
        step()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / calls


def main():
    shape = json.loads(sys.argv[1])
    torch.manual_seed(1)
    prepared, peaks = {}, {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "prepare" in request:
                name = request["prepare"]
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
                prepared[name] = PEERS[name](shape)
                for _ in range(3):
                    prepared[name].step()
                torch.cuda.synchronize()
                peaks[name] = torch.cuda.max_memory_allocated() - before
                answer = {"peakBytes": peaks[name], "torch": torch.__version__}
            else:
                step = prepared[request["time"]].step
                once = milliseconds(step, 2)
                calls = max(2, round(request["milliseconds"] / once))
                milliseconds(step, calls)
                answer = {"milliseconds": milliseconds(step, calls)}
        except Exception as error:  # the other side says which peer could not run, and why
            answer = {"error": f"{type(error).__name__}: {error}"[:2000]}
        print(json.dumps(answer), flush=True)


main()
