"""One training step of each default network in PyTorch: the work of benches/nets.rs.

Usage: python nets_bench.py [THREADS [STEPS [WARM-UP]]]; needs torch and numpy.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional

BATCH, ROWS, FEATURES, HIDDEN, HEADS, LAYERS = 64, 32, 16, 64, 4, 2
threads, steps, warm_up = ([int(arg) for arg in sys.argv[1:]] + [2, 60, 10][len(sys.argv) - 1 :])[:3]
torch.set_num_threads(threads)
torch.manual_seed(1)


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.value = nn.Linear(HIDDEN, 1)
        self.logits = nn.Linear(HIDDEN, 3)

    def forward(self, hidden):
        return self.value(hidden).square().mean() + self.logits(hidden).square().mean()


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(FEATURES, HIDDEN, batch_first=True)
        self.heads = Heads()

    def forward(self, x):
        states, _ = self.layer(x)
        return self.heads(states[:, -1])


half = HIDDEN // HEADS // 2
angles = torch.arange(ROWS)[:, None] * 10000.0 ** (-torch.arange(half) / half)[None, :]
COS = torch.cat([angles.cos(), angles.cos()], 1)[None, None]
SIN = torch.cat([-angles.sin(), angles.sin()], 1)[None, None]


def rope(x):
    first, second = x.chunk(2, -1)
    return x * COS + torch.cat([second, first], -1) * SIN


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.rows_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.qkv, self.mix = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.widen, self.narrow = nn.Linear(HIDDEN, 4 * HIDDEN), nn.Linear(4 * HIDDEN, HIDDEN)

    def forward(self, x, queries):
        q, k, v = (
            part.view(BATCH, ROWS, HEADS, -1).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, -1)
        )
        answers = functional.scaled_dot_product_attention(rope(q)[:, :, -queries:], rope(k), v)
        x = x[:, -queries:] + self.mix(answers.transpose(1, 2).reshape(BATCH, queries, HIDDEN))
        return x + self.narrow(functional.silu(self.widen(self.rows_norm(x))))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(FEATURES, HIDDEN)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(HIDDEN)
        self.heads = Heads()

    def forward(self, x):
        x = self.embed(x)
        for index, block in enumerate(self.blocks):
            x = block(x, 1 if index + 1 == LAYERS else ROWS)
        return self.heads(self.norm(x)[:, 0])


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Linear(3, 32, bias=False)
        self.series = nn.Conv1d(1, 32, 3, padding=1)
        self.classes = nn.Conv1d(32, 32, 3, padding=1)
        self.joint = nn.Conv1d(64, 128, 3, padding=1)
        self.first, self.second, self.logit = nn.Linear(128, 220), nn.Linear(220, 220), nn.Linear(220, 1)

    def forward(self, pair):
        series, classes = pair
        rectify = lambda x: functional.leaky_relu(x, 0.2)
        series = rectify(self.series(series[:, None]))
        classes = rectify(self.classes(self.embedding(classes).transpose(1, 2)))
        joint = rectify(self.joint(torch.cat([series, classes], 1))).mean(2)
        return self.logit(rectify(self.second(rectify(self.first(joint))))).square().mean()


x = torch.randn(BATCH, ROWS, FEATURES)
pair = (torch.randn(BATCH, ROWS), torch.randn(BATCH, ROWS, 3))
for name, network, data in [
    ("Gru", Recurrent(nn.GRU), x),
    ("Lstm", Recurrent(nn.LSTM), x),
    ("Transformer", Transformer(), x),
    ("Discriminator", Discriminator(), pair),
]:
    adam = torch.optim.Adam(network.parameters(), lr=1e-3)
    times = []
    for step in range(warm_up + steps):
        if step == warm_up:
            busy = time.process_time()
        start = time.perf_counter()
        adam.zero_grad()
        network(data).backward()
        adam.step()
        if step >= warm_up:
            times.append((time.perf_counter() - start) * 1e3)
    cpu = (time.process_time() - busy) * 1e3 / steps
    times.sort()
    print(f"{name:<14} median {times[len(times) // 2]:7.2f} ms, least {times[0]:7.2f} ms, CPU {cpu:7.2f} ms")
