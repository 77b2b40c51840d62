"""The LSTM reads a clip's own frames: what its batch puts behind them counts for nothing."""

import pytest
import torch

from benchmark.networks.lstm import AttentiveLstm

LENGTHS = torch.tensor([33, 64, 7])


@pytest.fixture(params=[True, False], ids=["stem", "no stem"])
def network(request) -> AttentiveLstm:
    torch.manual_seed(0)
    return AttentiveLstm(8, 4, units=6, layers=2, dropout=0.3, stem=request.param).eval()


def clips() -> torch.Tensor:
    return torch.randn(3, 64, 8, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("behind", [0.0, -1.3, 1e4, float("nan")])
def test_what_follows_a_clips_end_does_not_count(network, behind):
    x = clips()
    expected = network(x, LENGTHS)
    for row, length in enumerate(LENGTHS):
        x[row, length:] = behind
    torch.testing.assert_close(network(x, LENGTHS), expected, atol=1e-6, rtol=0)
    longer = torch.nn.functional.pad(x, (0, 0, 0, 32), value=behind)
    torch.testing.assert_close(network(longer, LENGTHS), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_the_backward_direction_begins_at_the_clips_own_last_frame(network):
    x = clips()
    alone = torch.cat([network(x[[row], :length], length[None]) for row, length in enumerate(LENGTHS)])
    torch.testing.assert_close(network(x, LENGTHS), alone, atol=1e-6, rtol=0)
    changed = x.clone()
    changed[0, 32] += 3.0  # the last frame of the first clip
    assert (network(changed, LENGTHS)[0] - alone[0]).abs().max() > 1e-4
