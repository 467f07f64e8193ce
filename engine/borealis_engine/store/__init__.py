"""What a storage node keeps on its disk: one append-only journal and the image blobs."""
