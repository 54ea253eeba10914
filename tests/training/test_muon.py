import copy

import torch
from torch import nn

from hangtag.training.muon import Muon, muon_groups, orthogonalised

RATES = {"clip": 0.1, "projector": 0.1, "decoder": 0.1}


def test_every_singular_value_ends_near_one():
    torch.manual_seed(0)
    for shape in [(1, 8, 8), (3, 32, 8), (2, 8, 40)]:
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_the_direction_is_the_polar_factors():
    torch.manual_seed(0)
    matrix = torch.randn(1, 16, 6)
    u, _, v = torch.linalg.svd(matrix[0], full_matrices=False)
    cosine = torch.nn.functional.cosine_similarity(orthogonalised(matrix).flatten(), (u @ v).flatten(), dim=0)
    assert cosine > 0.98


def test_its_adamw_is_torchs():
    torch.manual_seed(0)
    ours, theirs = nn.Linear(5, 3), nn.Linear(5, 3)
    theirs.load_state_dict(ours.state_dict())
    one = Muon([{"params": list(ours.parameters()), "parts": 0, "weight_decay": 0.1}], lr=0.01)
    two = torch.optim.AdamW(theirs.parameters(), lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
    for _ in range(5):
        inputs = torch.randn(4, 5)
        for model, optimizer in ((ours, one), (theirs, two)):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv_proj, self.norm = nn.Linear(8, 24, bias=False), nn.LayerNorm(8)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens, self.lm_head = nn.Embedding(10, 8), nn.Linear(8, 10, bias=False)
        self.layers = nn.ModuleList([Layer(), Layer()])


def test_layer_matrices_are_muons_fused_ones_in_parts_and_the_rest_is_adamws():
    net = Net()
    groups = muon_groups(net, 0.1, RATES)
    assert [(len(each["params"]), each["parts"], each["weight_decay"]) for each in groups] == [(2, 3, 0.1), (6, 0, 0.0)]
    optimizer = Muon(groups, lr=0.1)
    before = net.layers[0].qkv_proj.weight.detach().clone()
    for each in net.parameters():
        each.grad = torch.randn_like(each)
    optimizer.param_groups[0]["weight_decay"] = 0.0
    optimizer.step()
    moved = (net.layers[0].qkv_proj.weight - before).view(3, 8, 8)
    assert torch.linalg.svdvals(moved).min() > 0.6 * 0.1 * 0.2 * 8**0.5


def test_its_state_survives_saving():
    nets = [Net(), Net()]
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers = [Muon(muon_groups(net, 0.0, RATES), lr=0.1) for net in nets]

    def step(index):
        torch.manual_seed(5)
        for each in nets[index].parameters():
            each.grad = torch.randn_like(each)
        optimizers[index].step()

    step(0)
    nets[1].load_state_dict(nets[0].state_dict())
    optimizers[1].load_state_dict(copy.deepcopy(optimizers[0].state_dict()))
    step(0)
    step(1)
    for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
        assert torch.equal(a, b)
