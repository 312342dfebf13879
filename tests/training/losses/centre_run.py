"""A short training with the centre loss, alone or as one of two processes: ``RANK MEET OUT``."""

import sys

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from training.losses.metric import CenterLoss


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.loss = nn.Linear(4, 3), CenterLoss(3, 3)

    def forward(self, x, labels):
        return self.loss(self.layer(x), labels)


def train(rank=None):
    """State dict after five steps; each of two processes sees one person only, alone one sees both."""
    torch.manual_seed(0)
    model, steps = Model(), torch.randn(5, 6, 4)
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    trained, part = model, slice(None)
    if rank is not None:
        trained, part = DistributedDataParallel(model), slice(3 * rank, 3 * rank + 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in steps:
        optimizer.zero_grad()
        trained(batch[part], labels[part]).backward()
        optimizer.step()
    return model.state_dict()


if __name__ == "__main__":
    torch.set_num_threads(1)
    number = int(sys.argv[1])
    distributed.init_process_group("gloo", init_method=sys.argv[2], rank=number, world_size=2)
    torch.save(train(number), sys.argv[3])
    distributed.destroy_process_group()
