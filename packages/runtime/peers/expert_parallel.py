"""One layer of experts over several cards as PyTorch runs it: all_to_all_single of tokens, grouped products, and back.

    python3 expert_parallel.py '{"ranks": 8, "tokens": 8192, "hidden": 2048, "ffn": 768, "experts": 128, "picks": 8,
                                 "steps": 10}'

A process a card, forward and backward in bf16; tokens are those of one rank. Prints one line of JSON: milliseconds of
every step, the slowest rank's, and what computed: where there is no card, processes compute by loops over gloo, only to
see that it runs.
"""

import json
import os
import socket
import sys
import threading
import time

import torch
import torch.distributed as dist
import torch.multiprocessing as processes

WEIGHTS = 0.0346  # uniform with a standard deviation of 0.02
WARM_STEPS = 5


class Exchange(torch.autograd.Function):
    """Rows to other ranks; their gradients go back the same way."""

    @staticmethod
    def forward(ctx, rows, received, sent):
        ctx.counts = received, sent
        out = rows.new_empty(sum(received), rows.shape[1])
        dist.all_to_all_single(out, rows, received, sent)
        return out

    @staticmethod
    def backward(ctx, gradient):
        received, sent = ctx.counts
        back = gradient.new_empty(sum(sent), gradient.shape[1])
        dist.all_to_all_single(back, gradient.contiguous(), sent, received)
        return back, None, None


class Spread(torch.autograd.Function):
    """A row for every pick, in another order. Its backward sums without atomics."""

    @staticmethod
    def forward(ctx, x, order, inverse, picks):
        ctx.save_for_backward(inverse)
        ctx.picks = picks
        return x.index_select(0, order // picks)

    @staticmethod
    def backward(ctx, gradient):
        (inverse,) = ctx.saved_tensors
        rows = gradient.index_select(0, inverse)
        return rows.view(-1, ctx.picks, gradient.shape[1]).sum(1), None, None, None


class Permute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows, order, inverse):
        ctx.save_for_backward(inverse)
        return rows.index_select(0, order)

    @staticmethod
    def backward(ctx, gradient):
        (inverse,) = ctx.saved_tensors
        return gradient.index_select(0, inverse), None, None


def inverse_of(order):
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(order.numel(), device=order.device)
    return inverse


def grouped(rows, weights, ends):
    """A product an expert; weights are [experts, outputs, inputs], as transformers keeps them."""
    weights = weights.transpose(-2, -1)
    if rows.is_cuda:
        return torch._grouped_mm(rows, weights, offs=ends)
    starts = [0, *ends.tolist()]
    return torch.cat([rows[a:b] @ weights[i] for i, (a, b) in enumerate(zip(starts, starts[1:]))])


class Layer:
    def __init__(self, shape, ranks, device, dtype):
        h, f, experts = shape["hidden"], shape["ffn"], shape["experts"]
        self.picks, self.experts, self.ranks, self.local = shape["picks"], experts, ranks, experts // ranks
        new = lambda *size, scale: (
            torch.empty(*size, device=device, dtype=dtype).uniform_(-scale, scale).requires_grad_()
        )
        self.router = new(experts, h, scale=WEIGHTS)
        self.gate_up = new(self.local, 2 * f, h, scale=WEIGHTS)
        self.down = new(self.local, h, f, scale=WEIGHTS)
        self.x = new(shape["tokens"], h, scale=1)
        self.dy = new(shape["tokens"], h, scale=1).detach()

    def forward(self):
        probabilities = torch.softmax((self.x @ self.router.t()).float(), -1)
        top, ids = probabilities.topk(self.picks, -1)
        weights = (top / top.sum(-1, keepdim=True)).to(self.x.dtype)
        order = torch.argsort(ids.flatten(), stable=True)
        inverse = inverse_of(order)
        counts = torch.bincount(ids.flatten(), minlength=self.experts)
        theirs = torch.empty_like(counts)
        dist.all_to_all_single(theirs, counts)
        theirs = theirs.view(self.ranks, self.local)
        # The only wait of the host.
        sent, received = torch.stack([counts.view(self.ranks, self.local).sum(1), theirs.sum(1)]).tolist()
        rows = Exchange.apply(Spread.apply(self.x, order, inverse, self.picks), received, sent)
        expert = torch.arange(self.local, device=rows.device).repeat(self.ranks)
        by_expert = torch.argsort(
            expert.repeat_interleave(theirs.flatten(), output_size=sum(received)), stable=True
        )
        by_source = inverse_of(by_expert)
        ends = theirs.sum(0).cumsum(0).to(torch.int32)
        gate, up = grouped(Permute.apply(rows, by_expert, by_source), self.gate_up, ends).chunk(2, -1)
        out = grouped(torch.nn.functional.silu(gate) * up, self.down, ends)
        back = Exchange.apply(Permute.apply(out, by_source, by_expert), sent, received)
        picked = Permute.apply(back, inverse, order).view(-1, self.picks, back.shape[1])
        return (picked * weights[..., None]).sum(1)

    def step(self):
        for one in (self.x, self.router, self.gate_up, self.down):
            one.grad = None
        self.forward().backward(self.dy)


def end_with(parent):
    """A rank does not outlive the process that started it, however that ends."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def run(rank, request, port, parent):
    threading.Thread(target=end_with, args=(parent,), daemon=True).start()
    cuda = torch.cuda.is_available()
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    device = torch.device("cuda", rank) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo", rank=rank, world_size=request["ranks"])
    torch.manual_seed(1 + rank)
    layer = Layer(request, request["ranks"], device, torch.bfloat16 if cuda else torch.float32)
    everything_done = torch.cuda.synchronize if cuda else lambda: None
    milliseconds = []
    for number in range(WARM_STEPS + request["steps"]):
        dist.barrier()
        everything_done()
        start = time.perf_counter()
        layer.step()
        everything_done()
        took = torch.tensor([1000 * (time.perf_counter() - start)], device=device)
        dist.all_reduce(took, op=dist.ReduceOp.MAX)
        if number >= WARM_STEPS:
            milliseconds.append(float(took))
    if rank == 0:
        answer = {"milliseconds": milliseconds, "torch": torch.__version__, "device": device.type}
        print(json.dumps(answer), flush=True)
    dist.destroy_process_group()


def main():
    request = json.loads(sys.argv[1])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.spawn(run, args=(request, port, os.getpid()), nprocs=request["ranks"])


if __name__ == "__main__":
    main()
