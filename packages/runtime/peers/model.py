"""A Mixtral trained by transformers in bf16 on one card: AdamW (fused), clipping to norm 1, constant rate.

    python3 model.py '{"config": {...}, "sequence": 2048, "sequences": 8, "steps": 40,
                      "compiled": false, "tokens": FILE, "optimizer": {...}}'

Weights, gradients and moments are bf16: less memory traffic than fp32 masters. Prints one line of JSON: losses,
seconds of each step, peak bytes.
"""

import json
import sys
import time

import torch


def main():
    request = json.loads(sys.argv[1])
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(**{k: v for k, v in request["config"].items() if k not in ("architectures", "model_type")})
    config._attn_implementation = "sdpa"
    config._experts_implementation = "grouped_mm"
    config.output_router_logits = True
    config.use_cache = False
    torch.manual_seed(1)
    with torch.device("cuda"):
        model = MixtralForCausalLM(config).to(torch.bfloat16)
    given = request["optimizer"]
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=given["learningRate"],
        betas=(given["beta1"], given["beta2"]),
        eps=given["epsilon"],
        weight_decay=given["weightDecay"],
        fused=True,
    )
    call = torch.compile(model) if request["compiled"] else model
    size = request["steps"] * request["sequence"] * request["sequences"]
    tokens = torch.from_file(request["tokens"], size=size, dtype=torch.int32)
    batches = tokens.long().view(request["steps"], request["sequences"], request["sequence"]).cuda()
    losses, seconds = [], []
    for ids in batches:
        torch.cuda.synchronize()
        start = time.perf_counter()
        out = call(input_ids=ids, labels=ids)
        out.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), given["maxNorm"])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(out.loss - config.router_aux_loss_coef * out.aux_loss))
        seconds.append(time.perf_counter() - start)
    print(json.dumps({"losses": losses, "seconds": seconds, "peakBytes": torch.cuda.max_memory_allocated()}))


main()
