"""The work of benches/training.rs in PyTorch: one training step of each default network, and adversarial epochs.

Usage: python training_bench.py THREADS STEPS EPOCHS SAMPLES FEATURES; needs torch. Prints for each step and epoch: what it
was, wall and CPU milliseconds. What warms up is left out.
"""

import sys
import time

import torch
from torch import nn
from torch.nn import functional

THREADS, STEPS, EPOCHS, SAMPLES, FEATURES = (int(arg) for arg in sys.argv[1:6])
torch.set_num_threads(THREADS)
torch.manual_seed(1)
BATCH, HIDDEN, HEADS, LAYERS = 64, 64, 4, 2


class Generator(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body, self.value, self.logits = body, nn.Linear(HIDDEN, 1), nn.Linear(HIDDEN, 3)

    def forward(self, x):
        hidden = self.body(x)
        return self.value(hidden), self.logits(hidden)


class Recurrent(nn.Module):
    def __init__(self, kind, features):
        super().__init__()
        self.layer = kind(features, HIDDEN, batch_first=True)

    def forward(self, x):
        return self.layer(x)[0][:, -1]


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm, self.rows_norm = nn.LayerNorm(HIDDEN), nn.LayerNorm(HIDDEN)
        self.qkv, self.mix = nn.Linear(HIDDEN, 3 * HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.widen, self.narrow = nn.Linear(HIDDEN, 4 * HIDDEN), nn.Linear(4 * HIDDEN, HIDDEN)

    def forward(self, x, queries, turn):
        n, rows, _ = x.shape
        q, k, v = (
            part.view(n, rows, HEADS, -1).transpose(1, 2) for part in self.qkv(self.attention_norm(x)).chunk(3, -1)
        )
        answers = functional.scaled_dot_product_attention(turn(q)[:, :, -queries:], turn(k), v)
        x = x[:, -queries:] + self.mix(answers.transpose(1, 2).reshape(n, queries, HIDDEN))
        return x + self.narrow(functional.silu(self.widen(self.rows_norm(x))))


class Transformer(nn.Module):
    def __init__(self, features, rows):
        super().__init__()
        self.embed, self.norm = nn.Linear(features, HIDDEN), nn.LayerNorm(HIDDEN)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        half = HIDDEN // HEADS // 2
        angles = torch.arange(rows)[:, None] * 10000.0 ** (-torch.arange(half) / half)[None, :]
        self.cos, self.sin = torch.cat([angles.cos()] * 2, 1), torch.cat([-angles.sin(), angles.sin()], 1)

    def turn(self, x):
        first, second = x.chunk(2, -1)
        return x * self.cos + torch.cat([second, first], -1) * self.sin

    def forward(self, x):
        rows, x = x.shape[1], self.embed(x)
        for index, block in enumerate(self.blocks):
            x = block(x, 1 if index + 1 == LAYERS else rows, self.turn)
        return self.norm(x)[:, 0]


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Linear(3, 32, bias=False)
        self.series = nn.Conv1d(1, 32, 3, padding=1)
        self.classes = nn.Conv1d(32, 32, 3, padding=1)
        self.joint = nn.Conv1d(64, 128, 3, padding=1)
        self.first, self.second, self.logit = nn.Linear(128, 220), nn.Linear(220, 220), nn.Linear(220, 1)

    def forward(self, series, classes):
        rectify = lambda x: functional.leaky_relu(x, 0.2)
        series = rectify(self.series(series[:, None]))
        classes = rectify(self.classes(self.embedding(classes).transpose(1, 2)))
        joint = rectify(self.joint(torch.cat([series, classes], 1))).mean(2)
        return self.logit(rectify(self.second(rectify(self.first(joint)))))


def report(name, work):
    """Runs `work` and prints its time; an empty name prints nothing."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if name:
        print(name, (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3)


def steps():
    rows, features = 32, 16
    x = torch.randn(BATCH, rows, features)
    pair = (torch.randn(BATCH, rows), torch.randn(BATCH, rows, 3))
    answer = lambda net: sum(part.square().mean() for part in net(x))
    for name, net, loss in [
        ("gru", Generator(Recurrent(nn.GRU, features)), answer),
        ("lstm", Generator(Recurrent(nn.LSTM, features)), answer),
        ("transformer", Generator(Transformer(features, rows)), answer),
        ("discriminator", Discriminator(), lambda net: net(*pair).square().mean()),
    ]:
        adam = torch.optim.Adam(net.parameters(), lr=1e-3)

        def step():
            adam.zero_grad()
            loss(net).backward()
            adam.step()

        for count in range(10 + STEPS):
            report(name if count >= 10 else "", step)


WINDOWS = (16, 24, 32)
bce = functional.binary_cross_entropy_with_logits
share = 1.0 / len(WINDOWS)


def discriminate(net, bars, past, past_classes, candidates):
    series = [torch.cat([past[:, -bars:-1], value], 1) for value, _ in candidates]
    labels = [torch.cat([past_classes[:, -bars:-1], label[:, None]], 1) for _, label in candidates]
    return net(torch.cat(series), torch.cat(labels)).chunk(len(candidates))


def update(nets, optimisers, loss):
    for optimiser in optimisers:
        optimiser.zero_grad()
    loss.backward()
    for net, optimiser in zip(nets, optimisers):
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()


def epochs():
    bodies = [Recurrent(nn.GRU, FEATURES), Recurrent(nn.LSTM, FEATURES), Transformer(FEATURES, WINDOWS[2])]
    generators, discriminators = [Generator(body) for body in bodies], [Discriminator() for _ in WINDOWS]
    adams = lambda nets, rate: [torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=1e-4) for net in nets]
    generator_adams, discriminator_adams = adams(generators, 1e-3), adams(discriminators, 2e-4)
    rows, targets = torch.randn(SAMPLES, max(WINDOWS), FEATURES), torch.randn(SAMPLES, max(WINDOWS))
    classes = functional.one_hot(torch.randint(0, 3, (SAMPLES, max(WINDOWS))), 3).float()

    def step(chunk):
        x, past, labels = rows[chunk], targets[chunk], classes[chunk]
        target, label = past[:, -1:], labels[:, -1]
        answers = [net(x[:, -bars:]) for net, bars in zip(generators, WINDOWS)]
        candidates = [(value, functional.gumbel_softmax(logits, hard=True)) for value, logits in answers]
        given = [(value.detach(), drawn.detach()) for value, drawn in candidates]
        total = 0.0
        for net, bars in zip(discriminators, WINDOWS):
            real, *fakes = discriminate(net, bars, past, labels, [(target, label), *given])
            total = total + bce(real, torch.ones_like(real))
            total = total + sum(share * bce(fake, torch.zeros_like(fake)) for fake in fakes)
        update(discriminators, discriminator_adams, total)
        for net in discriminators:
            net.requires_grad_(False)
        total = sum(
            functional.mse_loss(value, target) + functional.cross_entropy(logits, label) for value, logits in answers
        )
        for net, bars in zip(discriminators, WINDOWS):
            fakes = discriminate(net, bars, past, labels, candidates)
            total = total + sum(share * bce(fake, torch.ones_like(fake)) for fake in fakes)
        update(generators, generator_adams, total)
        for net in discriminators:
            net.requires_grad_(True)

    def epoch():
        for chunk in torch.randperm(SAMPLES).split(BATCH):
            step(chunk)

    for count in range(1 + EPOCHS):
        report("epoch" if count else "", epoch)


steps()
epochs()
