"""Groups of test faces whose figures are told apart: what hides a face, who is in it, heads that are turned."""

import torch.nn.functional as F

from facelib.data import ATTRIBUTES

FEWEST = 10         # faces of a group whose mean is worth telling
TENTH = 10          # the most asymmetric one in so many
# name -> attributes with the value that any one of must hold (CelebA's labels, given by annotators: "Male" and
# "Pale_Skin" are what they saw in a photograph, not what people are)
LABELLED = {
    "eyeglasses": (("Eyeglasses", 1),), "hat": (("Wearing_Hat", 1),), "bangs": (("Bangs", 1),),
    "beard or moustache": (("No_Beard", 0), ("Mustache", 1)), "bald": (("Bald", 1),), "blurry": (("Blurry", 1),),
    "male": (("Male", 1),), "not male": (("Male", 0),), "young": (("Young", 1),), "not young": (("Young", 0),),
    "pale skin": (("Pale_Skin", 1),),
}
ASYMMETRIC = "asymmetric tenth"
NOTE = ("the labels are CelebA's; the asymmetric tenth are the faces that differ most from their mirror image, most of them "
        "heads turned aside, some with a hand, hair or shadow over one half: a stand-in, since no landmarks are known")


def groups(split, truth):
    """The groups of a split's faces -> name -> bool (N,), those of FEWEST faces or more.

    truth: the same faces, (N, 3, H, W) in [-1, 1]. Attributes that are not known put a face into no group.
    """
    found = {}
    if split.attributes is not None:
        for name, labels in LABELLED.items():
            found[name] = sum(split.attributes[:, ATTRIBUTES.index(label)] == value for label, value in labels) > 0
    order = asymmetry(truth).argsort(descending=True)
    found[ASYMMETRIC] = (order.argsort() < len(truth) // TENTH).numpy()
    return {name: members for name, members in found.items() if members.sum() >= FEWEST}


def asymmetry(images):
    """How far the middle of a face is from its mirror image, light and contrast apart: (N, 3, H, W) -> (N,).

    Grey, the middle three quarters of it; each pixel less the mean of its neighbourhood, so that light from one side
    counts little, over their standard deviation; then the mean absolute difference from the mirrored picture.
    """
    h, w = images.shape[-2:]
    grey = images.float().mean(1, keepdim=True)[:, :, h // 8:h - h // 8, w // 8:w - w // 8]
    reach = max(h // 8, 1)
    detail = grey - F.avg_pool2d(grey, 2 * reach + 1, 1, reach, count_include_pad=False)
    detail = detail / detail.std((1, 2, 3), keepdim=True).clamp_min(1e-6)
    return (detail - detail.flip(3)).abs().mean((1, 2, 3))
