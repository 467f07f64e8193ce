"""A member's disk that holds something of everything."""

import hashlib
import random

from borealis_engine.contract.volume import Epoch, Generation, Lsn, VolumeConfig
from borealis_engine.core.journal import Committed, Entered, Logged, Promised
from borealis_engine.core.messages import Reign
from borealis_engine.proto.image import ImageDescription, render_head
from borealis_engine.store.disk import Disk
from borealis_engine.store.journal import Sizes
from borealis_engine.store.member import Store, open_store

from .journal_model import START, random_batch

MEMBER, CLUSTER, OWNER = "00112233aabbccdd", "cluster-uid", "instance-0"
SMALL = Sizes(file=8192, ahead=2048, step=1024)
VOLUME = VolumeConfig(cluster_uid=CLUSTER, generation=Generation(4), revision=7, sealed=True, members=())


def stored_image(store: Store) -> str:
    """Store an image and give its digest."""
    came = ImageDescription(
        system_identifier=1, major=17, segment_size=1 << 24, wal_start=START, wal_end=Lsn(START + 9)
    )
    blob = render_head(came) + bytes(9) + random.Random(1).randbytes(4000)
    image = hashlib.sha256(blob).hexdigest()
    upload = store.images.begin(image, len(blob))
    upload.add(0, blob)
    upload.finish()
    return image


def filled(disk: Disk, seed: int = 1, batches: int = 80) -> Store:
    """Make a member with an image, two reigns, and several journal files of random records."""
    store = open_store(disk, member=MEMBER, cluster_uid=CLUSTER, allow_format=True, sizes=SMALL)
    chance, journal = random.Random(seed), store.journal
    first = Reign(epoch=Epoch(1), start=START, image=stored_image(store))
    journal.append([Promised(epoch=Epoch(2), owner=OWNER), Entered(history=(first,), end=START)])
    journal.append([Logged(lsn=START, data=bytes(500)), Committed(epoch=Epoch(1), lsn=Lsn(START + 500))])
    end = journal.state.flush
    journal.append([Entered(history=(first, Reign(epoch=Epoch(2), start=end)), end=end)])
    for _ in range(batches):
        journal.append(random_batch(journal.state, chance))
        while journal.wants_fill and chance.random() < 0.5:
            journal.fill()
    store.remember_volume(VOLUME.to_json())
    return store
