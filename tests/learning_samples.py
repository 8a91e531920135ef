"""A small learnable problem that the tests of `cbirkit.learning` share."""

import torch

INPUTS = torch.randn(120, 8, generator=torch.Generator().manual_seed(1))
TARGETS = (INPUTS @ torch.randn(8, 4, generator=torch.Generator().manual_seed(2))).argmax(dim=1)


def make_network(seed=0, dropout=0.3):
    """A network with batch normalisation and dropout: both have a state or draw random numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [
            torch.nn.Linear(8, 16),
            torch.nn.BatchNorm1d(16),
            torch.nn.ReLU(),
            torch.nn.Dropout(dropout),
            torch.nn.Linear(16, 4),
        ]
        return torch.nn.Sequential(*layers)


def make_batches(batch_size=20):
    """A shuffled loader, which takes its order from torch's own generator."""
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(INPUTS, TARGETS), batch_size=batch_size, shuffle=True
    )


def cross_entropy(network, batch):
    inputs, targets = batch
    logits = network(inputs)
    return torch.nn.functional.cross_entropy(logits, targets), {
        "accuracy": (logits.argmax(dim=1) == targets).float().mean()
    }


def accuracy(network):
    return (network(INPUTS).argmax(dim=1) == TARGETS).float().mean()


def weights(network):
    """A copy of all weights and statistics."""
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(first, second):
    """Whether two copies are equal to the bit."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )
