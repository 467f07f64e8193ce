"""Storage nodes that are all out of service for damage: what is whole of their logs mends the others'."""

import pytest
from borealis_engine.main.storage import AGAIN
from borealis_engine.net.testing import StorageNodes, WriterDriver

from .test_net_healing import logged, nodes, rot
from .test_net_volume import log_of, written

__all__ = ["nodes"]  # a fixture

pytestmark = pytest.mark.slow  # six processes for each test


@pytest.mark.parametrize("same_place", [False, True])
async def test_members_that_all_start_with_damaged_log_mend_each_other(nodes: StorageNodes, same_place: bool) -> None:
    """None of them is in service; what all have lost is named, and nobody is elected."""
    async with WriterDriver(nodes) as driver:
        elected = await driver.reign()
        data = await written(driver, 40, 4)
        end = elected.end + len(data)
        for number in range(6):
            await nodes.reaches(number, flush=end)
    for number in range(6):
        await nodes.stop(number)
    for number in range(6):
        for path, offset, upto in logged(nodes, number)[4 if same_place else 4 + number : 34 : 6]:
            rot(path, offset + 20, upto - offset - 30)
    for number in range(6):
        await nodes.start(number, format_disk=False)
    if same_place:
        for number in range(6):
            await nodes.shows(number, lambda status: "no other member has mended yet" in status.message)
        return
    for number in range(6):
        assert await nodes.ends(number) == AGAIN
        await nodes.start(number, format_disk=False)  # as a kubelet does
    async with WriterDriver(nodes) as successor:
        again = await successor.reign()
        assert again.end == end
        for number in range(6):
            await nodes.reaches(number, epoch=again.epoch, flush=end)
            assert await log_of(successor, nodes, number, end, again.epoch) == data
