"""Where faces come from: rendered ones, CelebA, a folder of pictures, digits, generated ones."""

from facelib.data.faces import ATTRIBUTES, FaceData, Split, join, to_float, to_uint8

__all__ = ["ATTRIBUTES", "FaceData", "Split", "join", "load_faces", "to_float", "to_uint8"]


def load_faces(name="synthetic", root=None, size=64, box=None, download=False, verify=False):
    """Load a data set as FaceData: splits train, val and test of uint8 faces with what is known about them.

    name: "synthetic" (the rendered faces that ship with the package), "generated" (256 faces of nobody that ship, all
    of them in each split), "celeba", "folder" (any folder of pictures) or "digits". root: the source's folder, or its
    name inside one of the folders of the environment variable FACELIB_DATA. size: an int or (height, width), pixels; 64
    is only the default, and a method that is to be trained says in `cfg.size` what it needs.
    box: a crop of each picture before it is scaled, as fractions (left, top, right, bottom). download: fetch "celeba" or
    "digits" through torchvision into root.
    verify: compare a packed copy with its source by content, not only by sizes and times.

    "celeba" and "folder" are packed into the folder FACELIB_CACHE on first use and memory-mapped from there.

    "synthetic" ships with 64x64 pixels. Larger faces are not enlarged but rendered: this call takes a second, and a face is
    rendered when its pixels are first asked for, and kept in FACELIB_CACHE. A processor core renders one or two faces of
    128x128 pixels in a second. So the few faces of a page take seconds, and all 4,096 take most of an hour, once; a GPU is
    used where there is one. "generated" faces larger than they ship are enlarged, and so no sharper.
    Raises ValueError for arguments that do not fit, FileNotFoundError for a source that is not there.
    """
    from facelib.data.images import check_box, pair

    pair(size)
    if box is not None:
        box = check_box(box)
    if name == "synthetic":
        from facelib.data import synthetic

        faces = synthetic.load()
        if synthetic.side_of(size, box) > faces.size[0]:
            return synthetic.rendered(faces, size, box)
        return _resized(faces, size, box)
    if name == "generated":
        from facelib.data import generated

        return _resized(generated.load(), size, box)
    if name == "celeba":
        from facelib.data import celeba

        return celeba.load(root, size, box, download, verify)
    if name == "folder":
        from facelib.data import folder

        return folder.load(root, size, box, verify)
    if name == "digits":
        from facelib.data import digits

        return digits.load(root, size, box, download)
    raise ValueError(f'name must be "synthetic", "generated", "celeba", "folder" or "digits", got {name!r}')


def _resized(faces, size, box):
    """The same faces at another size or cut to a box."""
    from dataclasses import replace

    import numpy as np
    from PIL import Image

    from facelib.data.images import cut, pair

    if pair(size) == faces.size and box is None:
        return faces

    def resize(split):
        images = np.empty((len(split), 3, *pair(size)), np.uint8)
        for out, image in zip(images, split.images, strict=True):
            out[:] = cut(Image.fromarray(image.transpose(1, 2, 0)), size, box)
        return replace(split, images=images)

    return replace(faces, train=resize(faces.train), val=resize(faces.val), test=resize(faces.test), _mean=[])
